/**
 * RTP packets (RFC 3550) as far as a recording needs them, and the arithmetic of counters that wrap around.
 *
 * Own code: the parser of werift-rtp reads past the end of truncated packets and decodes header extensions that nothing here uses;
 * a test compares the two on valid packets.
 */

export interface RtpPacket {
  readonly payloadType: number
  readonly marker: boolean
  readonly sequence: number
  readonly timestamp: number
  readonly ssrc: number
  /** Without header extension and padding; shares memory with the packet. May be empty: such packets only pad. */
  readonly payload: Uint8Array
}

/** Undefined for what is not a whole RTP packet. */
export const parseRtp = (bytes: Uint8Array): RtpPacket | undefined => {
  if (bytes.length < 12) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const first = view.getUint8(0)
  const second = view.getUint8(1)
  if (first >> 6 !== 2) return undefined
  let start = 12 + 4 * (first & 0x0f)
  if ((first & 0x10) !== 0) {
    if (start + 4 > bytes.length) return undefined
    start += 4 + 4 * view.getUint16(start + 2)
  }
  const padding = (first & 0x20) === 0 ? 0 : view.getUint8(bytes.length - 1)
  const end = bytes.length - padding
  if (start > end) return undefined
  return {
    payloadType: second & 0x7f,
    marker: (second & 0x80) !== 0,
    sequence: view.getUint16(2),
    timestamp: view.getUint32(4),
    ssrc: view.getUint32(8),
    payload: bytes.subarray(start, end)
  }
}

/** The number congruent to `value` modulo 2^bits that lies nearest to `expected`. */
export const unwrapNear = (expected: number, value: number, bits: 16 | 32): number => {
  const span = 2 ** bits
  const ahead = (((value - expected) % span) + span) % span
  return expected + (ahead >= span / 2 ? ahead - span : ahead)
}
