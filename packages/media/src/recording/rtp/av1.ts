/**
 * AV1 in RTP (the Alliance's payload specification, 1.0). A frame is a temporal unit with all its layers, as a file holds it: no temporal
 * delimiter, and every unit with its size. A decoder shows the highest layer.
 *
 * The dependency descriptor, a header extension, says nothing that a recording needs. Every key frame carries its sequence header.
 */
import { av1C, isReducedStill, parseSequenceHeader } from "./av1Sequence.ts"
import type { Depacketizer, DropReason, Fragment } from "./Frame.ts"

export interface Av1Fragment extends Fragment {
  /** The first element continues the last one of the packet before; the last one goes on in the next packet. */
  readonly continues: boolean
  readonly goesOn: boolean
  readonly elements: ReadonlyArray<Uint8Array>
}

const obu = {
  sequence: 1,
  delimiter: 2,
  header: 3,
  tiles: 4,
  frame: 6,
  copy: 7,
  tileList: 8,
  padding: 15
} as const
const typeOf = (unit: Uint8Array): number => ((unit[0] ?? 0) >> 3) & 0x0f

/** Undefined for what is no AV1 payload. */
export const parseAv1Payload = (payload: Uint8Array): Av1Fragment | undefined => {
  const flags = payload[0] ?? 0
  const count = (flags >> 4) & 3
  const elements: Array<Uint8Array> = []
  for (let at = 1; at < payload.length;) {
    // With a count, the last element has no size.
    const size = count > 0 && elements.length === count - 1 ? undefined : readLeb128(payload, at)
    if (size === undefined && !(count > 0 && elements.length === count - 1)) return undefined
    const from = at + (size?.bytes ?? 0)
    const to = size === undefined ? payload.length : from + size.value
    if (to > payload.length) return undefined
    elements.push(payload.subarray(from, to))
    at = to
  }
  const [first] = elements
  if (first === undefined || (count > 0 && elements.length !== count)) return undefined
  const continues = (flags & 0x80) !== 0
  return { begins: beginsWith(first, continues), continues, goesOn: (flags & 0x40) !== 0, elements }
}

/** More tiles, a header's copy and a higher layer never come first. */
const beginsWith = (first: Uint8Array, continues: boolean): Fragment["begins"] => {
  const type = typeOf(first)
  const higherLayer = ((first[0] ?? 0) & 4) !== 0 && ((first[1] ?? 0) & 0x18) !== 0
  return continues || type === obu.tiles || type === obu.copy || higherLayer ? "never" : "maybe"
}

const readLeb128 = (bytes: Uint8Array, at: number): { value: number; bytes: number } | undefined => {
  let value = 0
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * 128 ** i
    if (byte < 0x80) return { value, bytes: i + 1 }
  }
  return undefined
}

const leb128 = (value: number): Uint8Array => {
  const bytes: Array<number> = []
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0))
  }
  return Uint8Array.from(bytes)
}

/** A unit taken apart: sizes are left out in RTP, and may be there. */
interface Unit {
  readonly type: number
  /** One byte, or two with layers. */
  readonly header: Uint8Array
  readonly content: Uint8Array
}

const parseUnit = (bytes: Uint8Array): Unit | undefined => {
  const first = bytes[0]
  if (first === undefined || (first & 0x80) !== 0) return undefined
  const headerBytes = (first & 4) === 0 ? 1 : 2
  const size = (first & 2) === 0 ? undefined : readLeb128(bytes, headerBytes)
  if (bytes.length < headerBytes || ((first & 2) !== 0 && size === undefined)) return undefined
  const from = headerBytes + (size?.bytes ?? 0)
  const to = size === undefined ? bytes.length : from + size.value
  if (to > bytes.length) return undefined
  return { type: typeOf(bytes), header: bytes.subarray(0, headerBytes), content: bytes.subarray(from, to) }
}

const withSize = ({ content, header }: Unit): ReadonlyArray<Uint8Array> => [
  Uint8Array.of((header[0] ?? 0) | 2, ...header.subarray(1)),
  leb128(content.length),
  content
]

/** Larger ones are rubbish; the latest is remembered. */
const maxSequenceBytes = 1024

export const makeAv1Depacketizer = (): Depacketizer<Av1Fragment> => {
  let known: Unit | undefined

  return {
    parse: (payload) => parseAv1Payload(payload) ?? "malformedFrame",
    assemble: (fragments, afterLoss) => {
      const units = joinElements(fragments)?.map(parseUnit)
      if (units === undefined || units.length === 0) return "malformedFrame"
      const kept: Array<Unit> = []
      for (const unit of units) {
        if (unit === undefined) return "malformedFrame"
        const left = unit.type === obu.delimiter || unit.type === obu.tileList || unit.type === obu.padding
        if (!left) kept.push(unit)
      }
      const own = kept.find((unit) => unit.type === obu.sequence)
      if (own !== undefined && own.content.length <= maxSequenceBytes) {
        // A copy: a packet keeps all of what was read with it in memory.
        known = { ...own, header: Uint8Array.from(own.header), content: Uint8Array.from(own.content) }
      }
      const frames = kept.filter((unit) => unit.type === obu.frame || unit.type === obu.header)
      if (frames.length === 0) return own === undefined ? "malformedFrame" : "noPicture"
      const still = known !== undefined && isReducedStill(known.content)
      const states = frames.map((unit) => frameState(unit.content, still))
      const key = states[0]?.key === true
      const shown = states.some((state) => state.shown)
      if (!key) return { key, shown, width: 0, height: 0, data: kept.flatMap(withSize) }
      if (own === undefined && afterLoss) return "incompleteFrame"
      const sequence = own ?? known
      const info = sequence === undefined ? undefined : parseSequenceHeader(sequence.content)
      if (sequence === undefined || info === undefined) return "missingParameters" satisfies DropReason
      const { height, width } = info
      const data = (own === undefined ? [sequence, ...kept] : kept).flatMap(withSize)
      const codecPrivate = av1C(info, Buffer.concat(withSize(sequence)))
      return { key, shown, width, height, data, codecPrivate }
    }
  }
}

/** From a frame header's first bits (5.9.2). A frame repeated is not a place to begin at, even if it is a key frame. */
const frameState = (
  content: Uint8Array,
  still: boolean
): { readonly key: boolean; readonly shown: boolean } => {
  if (still) return { key: true, shown: true }
  const first = content[0] ?? 0
  const repeats = (first & 0x80) !== 0
  const shown = repeats || (first & 0x10) !== 0
  return { key: !repeats && shown && (first & 0x60) === 0, shown }
}

/** Whole units, or undefined when the packets' elements do not fit together. */
const joinElements = (fragments: ReadonlyArray<Av1Fragment>): ReadonlyArray<Uint8Array> | undefined => {
  const units: Array<Uint8Array> = []
  let open: Array<Uint8Array> | undefined
  for (const { continues, elements, goesOn } of fragments) {
    if (continues !== (open !== undefined)) return undefined
    for (const [i, element] of elements.entries()) {
      open ??= []
      open.push(element)
      if (goesOn && i === elements.length - 1) break
      const [only] = open
      units.push(open.length === 1 && only !== undefined ? only : Buffer.concat(open))
      open = undefined
    }
  }
  return open === undefined ? units.filter((unit) => unit.length > 0) : undefined
}
