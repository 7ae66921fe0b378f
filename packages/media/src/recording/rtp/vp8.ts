/** VP8 in RTP (RFC 7741) and the first bytes of a VP8 frame (RFC 6386, 9.1). */
import type { Depacketizer, Fragment } from "./Frame.ts"
import { bytesOf, headOf } from "./Frame.ts"

export interface Vp8Fragment extends Fragment {
  readonly data: Uint8Array
}

/** Undefined when the descriptor is truncated or nothing follows it. */
export const parseVp8Payload = (payload: Uint8Array): Vp8Fragment | undefined => {
  const first = payload[0]
  if (first === undefined) return undefined
  let at = 1
  if ((first & 0x80) !== 0) {
    const extension = payload[at++] ?? 0
    if ((extension & 0x80) !== 0) at += ((payload[at] ?? 0) & 0x80) !== 0 ? 2 : 1
    if ((extension & 0x40) !== 0) at += 1
    if ((extension & 0x30) !== 0) at += 1
  }
  if (at >= payload.length) return undefined
  const begins = (first & 0x10) !== 0 && (first & 0x07) === 0 ? "always" : "never"
  return { begins, data: payload.subarray(at) }
}

export interface Vp8FrameHeader {
  readonly key: boolean
  /** False for a frame that is decoded and not displayed. */
  readonly shown: boolean
  readonly width: number
  readonly height: number
}

/** `head` is at least the first ten bytes, or all of a shorter frame. Undefined for what no decoder would take. */
export const parseVp8Frame = (head: Uint8Array, frameBytes: number): Vp8FrameHeader | undefined => {
  const [a, b, c] = head
  if (a === undefined || b === undefined || c === undefined) return undefined
  const key = (a & 1) === 0
  const firstPartition = (a >> 5) | (b << 3) | (c << 11)
  if ((key ? 10 : 3) + firstPartition > frameBytes) return undefined
  const shown = (a & 0x10) !== 0
  if (!key) return { key, shown, width: 0, height: 0 }
  if (head.length < 10 || head[3] !== 0x9d || head[4] !== 0x01 || head[5] !== 0x2a) return undefined
  const width = ((head[6] ?? 0) | ((head[7] ?? 0) << 8)) & 0x3fff
  const height = ((head[8] ?? 0) | ((head[9] ?? 0) << 8)) & 0x3fff
  return width === 0 || height === 0 ? undefined : { key, shown, width, height }
}

export const vp8Depacketizer: Depacketizer<Vp8Fragment> = {
  parse: (payload) => parseVp8Payload(payload) ?? "malformedFrame",
  assemble: (fragments) => {
    const data = fragments.map((fragment) => fragment.data)
    const header = parseVp8Frame(headOf(data, 10), bytesOf(data))
    return header === undefined ? "malformedFrame" : { ...header, data }
  }
}
