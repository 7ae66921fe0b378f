/**
 * Turns the bytes of a journal, in chunks of any size, back into records.
 *
 * Nothing is left out silently: a record whose CRC does not match is skipped by its length when another record (or the end)
 * follows there; otherwise the next intact record is searched for byte by byte; what remains after the last one is the torn
 * tail. All three are counted. Pure: it reads no file and no clock.
 */
import {
  checksum,
  decodeRecord,
  fileHeader,
  journalMajor,
  maxPayloadBytes,
  recordHeaderBytes,
  recordMarker
} from "./JournalFormat.ts"
import type { JournalRecord } from "./JournalFormat.ts"

export interface JournalStats {
  bytes: number
  records: number
  /** Records of unknown type, or with content that does not decode. */
  unknownRecords: number
  /** Places where a record was damaged, and the bytes left out there. */
  damaged: number
  damagedBytes: number
  /** Bytes after the last intact record: what a killed process had not finished writing. */
  tornBytes: number
}

export interface JournalParser {
  readonly stats: Readonly<JournalStats>
  /** Records share memory with `chunk`: it must not be written again. */
  readonly push: (chunk: Buffer) => Array<JournalRecord>
  /** No more bytes will come. */
  readonly end: () => Array<JournalRecord>
}

/** Set by the first eight bytes; anything but `ok` ends the parsing. */
export type HeaderVerdict =
  | { readonly _tag: "ok" }
  | { readonly _tag: "notAJournal" }
  | { readonly _tag: "newer"; readonly version: number }

/** `bytes` is the file's beginning. Fewer than eight bytes are a torn header: an empty journal, not a foreign file. */
export const checkFileHeader = (bytes: Uint8Array): HeaderVerdict => {
  for (let i = 0; i < Math.min(4, bytes.length); i++) {
    if (bytes[i] !== fileHeader[i]) return { _tag: "notAJournal" }
  }
  const major = bytes[4]
  return major === undefined || major <= journalMajor ? { _tag: "ok" } : { _tag: "newer", version: major }
}

/** Parses what follows the file header. */
export const makeJournalParser = (): JournalParser => {
  const stats: JournalStats = {
    bytes: 0,
    records: 0,
    unknownRecords: 0,
    damaged: 0,
    damagedBytes: 0,
    tornBytes: 0
  }
  let rest: Buffer = Buffer.alloc(0)
  /** Bytes passed over since the last intact record while searching; undefined when in step. */
  let searched: number | undefined

  const plausible = (at: number): boolean =>
    rest[at] === recordMarker && rest.readUInt32BE(at + 4) <= maxPayloadBytes
  const intact = (at: number, payloadBytes: number): boolean =>
    rest.readUInt32BE(at + 16) === checksum(rest, at, payloadBytes)
  /**
   * The end of a record whose length is what was damaged, by one bit: the length with which the checksum is right. To go by the damaged
   * one could end on a later record's beginning, and lose those between.
   */
  const trueEnd = (at: number, payloadBytes: number): number | undefined => {
    const header = Buffer.from(rest.subarray(at, at + 16))
    for (let bit = 1; bit <= maxPayloadBytes; bit *= 2) {
      const candidate = payloadBytes ^ bit
      const end = at + recordHeaderBytes + candidate
      if (candidate > maxPayloadBytes || end > rest.length) continue
      header.writeUInt32BE(candidate, 4)
      if (rest.readUInt32BE(at + 16) === checksum(rest, at, candidate, header)) return end
    }
    return undefined
  }

  const take = (final: boolean): Array<JournalRecord> => {
    const out: Array<JournalRecord> = []
    let at = 0
    const lookOneOn = () => {
      searched = (searched ?? 0) + 1
      at += 1
    }
    while (at < rest.length) {
      if (searched !== undefined && rest[at] !== recordMarker) {
        lookOneOn()
        continue
      }
      if (at + recordHeaderBytes > rest.length) {
        if (!final) break
        lookOneOn()
        continue
      }
      if (!plausible(at)) {
        lookOneOn()
        continue
      }
      const payloadBytes = rest.readUInt32BE(at + 4)
      const next = at + recordHeaderBytes + payloadBytes
      if (next > rest.length && !final) break
      if (next > rest.length || !intact(at, payloadBytes)) {
        if (searched !== undefined) {
          lookOneOn()
          continue
        }
        // What follows tells where this one ends, and the longest may end a mebibyte from here.
        if (!final && at + 2 * recordHeaderBytes + maxPayloadBytes > rest.length) break
        const after = trueEnd(at, payloadBytes) ?? next
        const followed =
          after === rest.length || (after + recordHeaderBytes <= rest.length && plausible(after))
        if (!followed) {
          lookOneOn()
          continue
        }
        stats.damaged += 1
        stats.damagedBytes += after - at
        at = after
        continue
      }
      if (searched !== undefined) {
        stats.damaged += 1
        stats.damagedBytes += searched
        searched = undefined
      }
      const record = decodeRecord(
        rest[at + 1] ?? 0,
        rest.readUInt16BE(at + 2),
        rest.readUInt32BE(at + 8) * 2 ** 32 + rest.readUInt32BE(at + 12),
        rest.subarray(at + recordHeaderBytes, next)
      )
      stats.records += 1
      if (record._tag === "Unknown") stats.unknownRecords += 1
      out.push(record)
      at = next
    }
    rest = rest.subarray(at)
    if (final) stats.tornBytes = searched ?? 0
    return out
  }

  return {
    stats,
    push: (chunk) => {
      stats.bytes += chunk.length
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      return take(false)
    },
    end: () => take(true)
  }
}
