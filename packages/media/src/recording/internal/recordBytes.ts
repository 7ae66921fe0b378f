/**
 * The frame of a journal's record: header, type, checksum. Apart from what the records mean, because the thread that writes them starts with
 * this alone. docs/journal-format.md is the specification.
 */
import * as MessagePack from "@msgpack/msgpack"
import { crc32 } from "node:zlib"

export const recordMarker = 0xeb
export const recordHeaderBytes = 20
/** A length above this is damage, not a record. */
export const maxPayloadBytes = 1 << 20

export const recordType = {
  anchor: 1,
  track: 2,
  rtp: 3,
  senderReport: 4,
  gap: 5,
  trackEnd: 6,
  seal: 7,
  data: 8,
  pause: 9,
  resume: 10
} as const

/** Writes a record's 20 bytes of header into `target` at 0; the payload must already follow at 20. */
export const sealHeader = (
  target: Buffer,
  type: number,
  track: number,
  arrivalUs: number,
  payloadBytes: number
): void => {
  target[0] = recordMarker
  target[1] = type
  target.writeUInt16BE(track, 2)
  target.writeUInt32BE(payloadBytes, 4)
  target.writeUInt32BE(Math.floor(arrivalUs / 2 ** 32), 8)
  target.writeUInt32BE(arrivalUs % 2 ** 32, 12)
  target.writeUInt32BE(checksum(target, 0, payloadBytes), 16)
}

/** Over the header's first 16 bytes and the payload: a flipped length or track is noticed as well. */
export const checksum = (
  bytes: Buffer,
  at: number,
  payloadBytes: number,
  header: Buffer = bytes.subarray(at, at + 16)
): number =>
  crc32(bytes.subarray(at + recordHeaderBytes, at + recordHeaderBytes + payloadBytes), crc32(header))

export const encodeMap = (value: object): Uint8Array => MessagePack.encode(value, { ignoreUndefined: true })
