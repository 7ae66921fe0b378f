/**
 * H.264 in RTP (RFC 6184), single and non-interleaved mode: single NAL units, STAP-A, FU-A. A frame is an access unit as a file holds it
 * (ISO 14496-15): each NAL unit behind its length in four bytes.
 *
 * Every key frame carries its parameter sets: a sender may have sent them once, and players seek, layers switch and sizes change. Those of the
 * first key frame are the file's avcC.
 */
import { makeBitReader } from "./BitReader.ts"
import type { Depacketizer, DropReason, Fragment, Picture } from "./Frame.ts"
import { avcC, parseSps } from "./h264Parameters.ts"

export interface H264Fragment extends Fragment {
  /** Whole NAL units. */
  readonly units: ReadonlyArray<Uint8Array>
  /** A share of one: with its first share comes its header byte. */
  readonly share?: {
    readonly header: number
    readonly first: boolean
    readonly last: boolean
    readonly data: Uint8Array
  }
}

const nalType = { slice: 1, idr: 5, sps: 7, pps: 8, stapA: 24, fuA: 28 } as const
const typeOf = (unit: Uint8Array): number => (unit[0] ?? 0) & 0x1f

/** The first slice of a picture says that it begins at macroblock 0; what may stand before it does not follow a slice. */
const beginsWith = (type: number, content: number | undefined): Fragment["begins"] => {
  const firstMacroblock = type >= 1 && type <= 5 && ((content ?? 0) & 0x80) !== 0
  return firstMacroblock || (type >= 6 && type <= 9) || (type >= 14 && type <= 18) ? "maybe" : "never"
}

export const parseH264Payload = (payload: Uint8Array): H264Fragment | DropReason => {
  const [header = 0, second = 0] = payload
  const type = header & 0x1f
  // The highest bit says that the unit is known to be damaged.
  if ((header & 0x80) !== 0) return "malformedFrame"
  if (type >= 1 && type <= 23) return { begins: beginsWith(type, second), units: [payload] }
  if (type === nalType.stapA) return parseAggregate(payload)
  if (type === nalType.fuA) {
    const first = (second & 0x80) !== 0
    const last = (second & 0x40) !== 0
    const inner = second & 0x1f
    if (payload.length < 3 || inner === 0 || inner > 23 || (first && last)) return "malformedFrame"
    return {
      begins: first ? beginsWith(inner, payload[2]) : "never",
      units: [],
      share: { header: (header & 0xe0) | inner, first, last, data: payload.subarray(2) }
    }
  }
  return type >= 25 && type <= 29 ? "interleaved" : "malformedFrame"
}

const parseAggregate = (payload: Uint8Array): H264Fragment | DropReason => {
  const units: Array<Uint8Array> = []
  for (let at = 1; at < payload.length;) {
    const size = ((payload[at] ?? 0) << 8) | (payload[at + 1] ?? 0)
    const unit = payload.subarray(at + 2, at + 2 + size)
    const type = typeOf(unit)
    if (size === 0 || unit.length < size || type === 0 || type > 23) return "malformedFrame"
    units.push(unit)
    at += 2 + size
  }
  const [first] = units
  if (first === undefined) return "malformedFrame"
  return { begins: beginsWith(typeOf(first), first[1]), units }
}

/** Larger ones are rubbish; they are remembered, so their number and size have a limit. */
const maxParameterBytes = 1024
const maxParameterSets = 64

/** `sprop`: parameter sets in base64, separated by commas, as a session description gives them. */
export const makeH264Depacketizer = (sprop = ""): Depacketizer<H264Fragment> => {
  /** The latest of each, by type and id. */
  const known = new Map<string, Uint8Array>()
  /** Some key frame came with parameter sets: then one without, after a loss, has lost them. */
  let inBand = false

  const remember = (unit: Uint8Array): void => {
    const type = typeOf(unit)
    if ((type !== nalType.sps && type !== nalType.pps) || unit.length > maxParameterBytes) return
    const id = type === nalType.sps ? parseSps(unit)?.id : makeBitReader(unit.subarray(1)).exp()
    if (id === undefined) return
    const name = `${type}/${id}`
    if (known.size >= maxParameterSets && !known.has(name)) return
    // A copy: a packet keeps all of what was read with it in memory.
    known.set(name, Uint8Array.from(unit))
  }
  for (const set of sprop.split(",")) remember(Buffer.from(set, "base64"))

  const ofType = (units: Iterable<Uint8Array>, type: number) =>
    [...units].filter((unit) => typeOf(unit) === type)

  const keyPicture = (
    units: ReadonlyArray<ReadonlyArray<Uint8Array>>,
    own: ReadonlyArray<Uint8Array>,
    afterLoss: boolean
  ): Picture | DropReason => {
    const ownSps = ofType(own, nalType.sps)
    if (ownSps.length === 0 && inBand && afterLoss) return "incompleteFrame"
    inBand ||= ownSps.length > 0
    const sps = ownSps.length > 0 ? ownSps : ofType(known.values(), nalType.sps)
    const ownPps = ofType(own, nalType.pps)
    const pps = ownPps.length > 0 ? ownPps : ofType(known.values(), nalType.pps)
    const [first] = sps
    const size = first === undefined ? undefined : parseSps(first)
    if (size === undefined || pps.length === 0) return "missingParameters"
    const added = [...(ownSps.length > 0 ? [] : sps), ...(ownPps.length > 0 ? [] : pps)]
    return {
      key: true,
      shown: true,
      width: size.width,
      height: size.height,
      data: [...added.map((unit) => [unit]), ...units].flatMap(withLength),
      codecPrivate: avcC(sps, pps, size)
    }
  }

  return {
    parse: parseH264Payload,
    assemble: (fragments, afterLoss) => {
      const units = joinShares(fragments)
      if (units === undefined) return "malformedFrame"
      const whole = units.flatMap(([first, ...more]) =>
        first === undefined || more.length > 0 ? [] : [first]
      )
      const own = whole.filter((unit) => typeOf(unit) === nalType.sps || typeOf(unit) === nalType.pps)
      own.forEach(remember)
      const types = units.map(([first]) => (first === undefined ? 0 : typeOf(first)))
      if (types.includes(nalType.idr)) return keyPicture(units, own, afterLoss)
      if (!types.some((type) => type >= nalType.slice && type < nalType.idr)) return "noPicture"
      return { key: false, shown: true, width: 0, height: 0, data: units.flatMap(withLength) }
    }
  }
}

/** Each NAL unit in pieces, or undefined when shares do not fit together. */
const joinShares = (
  fragments: ReadonlyArray<H264Fragment>
): ReadonlyArray<ReadonlyArray<Uint8Array>> | undefined => {
  const units: Array<ReadonlyArray<Uint8Array>> = []
  let open: { readonly header: number; readonly pieces: Array<Uint8Array> } | undefined
  for (const { share, units: whole } of fragments) {
    if (share === undefined) {
      if (open !== undefined) return undefined
      for (const unit of whole) units.push([unit])
      continue
    }
    if (share.first !== (open === undefined)) return undefined
    open ??= { header: share.header, pieces: [Uint8Array.of(share.header)] }
    if (open.header !== share.header) return undefined
    open.pieces.push(share.data)
    if (!share.last) continue
    units.push(open.pieces)
    open = undefined
  }
  return open === undefined ? units : undefined
}

const withLength = (pieces: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(pieces.reduce((sum, piece) => sum + piece.length, 0))
  return [length, ...pieces]
}
