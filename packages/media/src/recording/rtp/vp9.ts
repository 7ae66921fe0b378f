/**
 * VP9 in RTP (RFC 9628). A picture is all spatial layers of one moment; in a file they are one superframe (bitstream specification, annex B),
 * whose index a decoder needs to find them, and whose last frame alone is shown.
 */
import type { Depacketizer, DropReason, Fragment } from "./Frame.ts"
import { bytesOf, headOf } from "./Frame.ts"
import type { References, Size, Vp9Header } from "./vp9Header.ts"
import { hideVp9Frame, maxHeaderBytes, parseVp9Header } from "./vp9Header.ts"

export interface Vp9Fragment extends Fragment {
  /** Of the frame of one spatial layer. */
  readonly first: boolean
  readonly last: boolean
  readonly data: Uint8Array
}

/** Undefined when the descriptor is truncated or nothing follows it. */
export const parseVp9Payload = (payload: Uint8Array): Vp9Fragment | undefined => {
  const flags = payload[0] ?? 0
  const has = (bit: number) => (flags & bit) !== 0
  let at = 1
  if (has(0x80)) at += ((payload[at] ?? 0) & 0x80) !== 0 ? 2 : 1
  let needsLower = false
  if (has(0x20)) {
    const layers = payload[at] ?? 0
    needsLower = (layers & 0x0e) !== 0 && (layers & 0x01) !== 0
    at += has(0x10) ? 1 : 2
  }
  if (has(0x10) && has(0x40)) {
    // At most three references, each but the last with a bit that says that another follows.
    for (let left = 3; left > 0 && ((payload[at++] ?? 0) & 0x01) !== 0; left--)
      if (left === 1) return undefined
  }
  if (has(0x02)) at = afterStructure(payload, at)
  if (at >= payload.length) return undefined
  const first = has(0x08)
  return {
    // Sent below the highest layer, a higher one may not begin a picture: then its lower one is missing.
    begins: first && !needsLower ? "maybe" : "never",
    first,
    last: has(0x04),
    data: payload.subarray(at)
  }
}

/** The scalability structure: sizes of the layers, and which picture refers to which. */
const afterStructure = (payload: Uint8Array, from: number): number => {
  const flags = payload[from] ?? 0
  let at = from + 1
  if ((flags & 0x10) !== 0) at += 4 * ((flags >> 5) + 1)
  if ((flags & 0x08) === 0) return at
  const pictures = payload[at++] ?? 0
  for (let i = 0; i < pictures; i++) at += 1 + (((payload[at] ?? 0) >> 2) & 3)
  return at
}

interface LayerFrame {
  readonly header: Vp9Header
  readonly data: ReadonlyArray<Uint8Array>
}

/** The index holds at most eight frames, and no codec has more layers. */
const maxFrames = 8

export const makeVp9Depacketizer = (): Depacketizer<Vp9Fragment> => {
  let references: References = []

  const read = (data: ReadonlyArray<Uint8Array>): LayerFrame | undefined => {
    const head = headOf(data, maxHeaderBytes)
    const header = parseVp9Header(head, references) ?? parseStart(head)
    if (header === undefined) return undefined
    references = refreshed(references, header)
    return { header, data }
  }

  return {
    parse: (payload) => parseVp9Payload(payload) ?? "malformedFrame",
    assemble: (fragments) => {
      const layers = splitLayers(fragments)
      if (layers === undefined || layers.length > maxFrames) return "malformedFrame"
      const frames: Array<LayerFrame> = []
      for (const data of layers) {
        const frame = read(data)
        if (frame === undefined) return "malformedFrame"
        frames.push(frame)
      }
      const [lowest] = frames
      if (lowest === undefined) return "malformedFrame"
      const { key } = lowest.header
      // The highest layer may repeat a frame, and then has no size of its own.
      const highest = frames.findLast(({ header }) => header.size.width > 0)
      const { width, height } = (key ? highest?.header.size : undefined) ?? { width: 0, height: 0 }
      const data = frames.length === 1 ? lowest.data : superframe(frames)
      if (typeof data === "string") return data
      const shown = frames.some(({ header }) => header.shown) || innerFrameShown(lowest.data)
      return { key, shown, width, height, data }
    }
  }
}

/** Kept from the headers alone: enough for a frame that needs no change, when its size cannot be known after a loss. */
const parseStart = (head: Uint8Array): Vp9Header | undefined => {
  const [first = 0, second = 0] = head
  const profile = (first >> 4) & 3
  if (first >> 6 !== 2 || head.length < 2) return undefined
  // Profile 3 has one bit more; its bits are in the order low, high.
  const flags = profile === 3 ? ((first << 1) & 0x0f) | (second >> 7) : first & 0x0f
  const key = (flags & 4) === 0
  if ((flags & 8) !== 0 || key) return undefined
  const shown = (flags & 2) !== 0
  const size = { width: 0, height: 0 }
  return { repeats: false, key, shown, size, refreshes: 0, bits: 0, hiddenBitAt: 0 }
}

const refreshed = (references: References, { refreshes, size }: Vp9Header): References =>
  refreshes === 0
    ? references
    : Array.from({ length: 8 }, (_, i): Size | undefined =>
        ((refreshes >> i) & 1) === 1 ? size : references[i]
      )

const splitLayers = (
  fragments: ReadonlyArray<Vp9Fragment>
): ReadonlyArray<ReadonlyArray<Uint8Array>> | undefined => {
  const layers: Array<Array<Uint8Array>> = []
  let open: Array<Uint8Array> | undefined
  for (const { data, first, last } of fragments) {
    if (first !== (open === undefined)) return undefined
    if (open === undefined) layers.push((open = []))
    open.push(data)
    if (last) open = undefined
  }
  return open === undefined ? layers : undefined
}

/** Only the highest layer is to be seen. */
const superframe = (frames: ReadonlyArray<LayerFrame>): ReadonlyArray<Uint8Array> | DropReason => {
  const kept: Array<ReadonlyArray<Uint8Array>> = []
  for (const [i, { data, header }] of frames.entries()) {
    if (i === frames.length - 1 || !header.shown) kept.push(data)
    else if (header.repeats) continue
    else if (header.bits === 0) return "incompleteFrame"
    else kept.push(hideVp9Frame(data, headOf(data, maxHeaderBytes), header))
  }
  const [only] = kept
  if (kept.length === 1 && only !== undefined) return only
  return [...kept.flat(), superframeIndex(kept.map(bytesOf))]
}

const superframeIndex = (sizes: ReadonlyArray<number>): Uint8Array => {
  const width = sizes.some((size) => size > 0xffffff) ? 4 : sizes.some((size) => size > 0xffff) ? 3 : 2
  const marker = 0xc0 | ((width - 1) << 3) | (sizes.length - 1)
  const index = Buffer.alloc(2 + width * sizes.length, marker)
  sizes.forEach((size, i) => index.writeUIntLE(size, 1 + i * width, width))
  return index
}

/** An encoder may itself have put a hidden frame before a shown one, in a superframe of its own. */
const innerFrameShown = (data: ReadonlyArray<Uint8Array>): boolean => {
  const whole = data.length === 1 ? data[0] : undefined
  const bytes = whole ?? Buffer.concat(data)
  const marker = bytes.at(-1) ?? 0
  const count = (marker & 7) + 1
  const width = ((marker >> 3) & 3) + 1
  const start = bytes.length - 2 - count * width
  if (marker >> 5 !== 6 || start < 0 || bytes[start] !== marker) return false
  let at = 0
  for (let i = 0; i < count; i++) {
    const first = bytes[at] ?? 0
    // Repeats a frame, or is shown.
    if (first >> 6 === 2 && (first & 0x0a) !== 0) return true
    for (let byte = width - 1, size = 0; byte >= 0; byte--) {
      size = size * 256 + (bytes[start + 1 + i * width + byte] ?? 0)
      if (byte === 0) at += size
    }
  }
  return false
}
