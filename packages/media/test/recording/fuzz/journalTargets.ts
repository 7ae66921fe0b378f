/** What is read from disk by another process, perhaps of another version, after crashes and on bad disks: the journal and the manifest. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import {
  encodeMap,
  fileHeader,
  recordHeaderBytes,
  recordType,
  sealHeader
} from "../../../src/recording/JournalFormat.ts"
import { checkFileHeader, makeJournalParser } from "../../../src/recording/JournalParser.ts"
import { decodeManifest } from "../../../src/recording/Manifest.ts"
import { aManifest } from "../fixtures.ts"
import type { FuzzTarget } from "./fuzz.ts"
import type { Random } from "./mutate.ts"
import { anyBytes, below, mutate, oneOf } from "./mutate.ts"

const ensure = (kept: boolean, promise: string): void => {
  if (!kept) throw new Error(`not as promised: ${promise}`)
}

const record = (type: number, track: number, payload: Uint8Array): Buffer => {
  const target = Buffer.alloc(recordHeaderBytes + payload.length)
  target.set(payload, recordHeaderBytes)
  sealHeader(target, type, track, 1_250_000, payload.length)
  return target
}

const track = { producerId: "p", kind: "video", mimeType: "video/VP8", clockRate: 90_000, layer: 1 }
const maps: ReadonlyArray<readonly [number, object]> = [
  [recordType.anchor, { wallMs: 1, recordingId: "rec", incarnation: "inc", part: 0 }],
  [recordType.track, { ...track, parameters: { "profile-id": 0 } }],
  [recordType.senderReport, { ntpSeconds: 1, ntpFraction: 2, rtpTimestamp: 3 }],
  [recordType.gap, { packets: 3, reason: "ENOSPC" }],
  [recordType.data, { ppid: 51, payload: new Uint8Array(5) }],
  [recordType.pause, { by: "ada" }],
  [recordType.resume, {}],
  [recordType.seal, { reason: "stopped" }]
]

const someRecord = (random: Random): Buffer => {
  const choice = random()
  if (choice < 0.5) return record(recordType.rtp, 1, anyBytes(random, 60))
  if (choice < 0.6) return record(below(random, 256), below(random, 65_536), anyBytes(random, 30))
  const [type, map] = maps[below(random, maps.length)] ?? [recordType.seal, {}]
  const payload = encodeMap(map)
  // A map that decodes to something else, under a checksum that is right.
  return record(type, 1, choice < 0.75 ? mutate(random, payload) : payload)
}

/** Bytes as a disk gives them back: spoilt, cut off, or with a hole of zeros where a power cut left blocks without content. */
const onBadDisk = (random: Random, bytes: Buffer): Buffer => {
  const choice = random()
  if (choice < 0.2) return bytes
  if (choice < 0.4) return bytes.subarray(0, below(random, bytes.length + 1))
  if (choice < 0.5) {
    const from = below(random, bytes.length + 1)
    return Buffer.from(bytes).fill(0, from, Math.min(bytes.length, from + below(random, 200)))
  }
  const at = below(random, bytes.length + 1)
  return Buffer.concat([bytes.subarray(0, at), mutate(random, bytes.subarray(at))])
}

const parse = (bytes: Buffer, chunkOf: () => number) => {
  const parser = makeJournalParser()
  const records = []
  for (let at = 0; at < bytes.length;) {
    const next = at + chunkOf()
    records.push(...parser.push(Buffer.from(bytes.subarray(at, next))))
    at = next
  }
  records.push(...parser.end())
  return { records, stats: { ...parser.stats } }
}

const journal: FuzzTarget = {
  name: "journal",
  outcomes: new Set(["whole", "damaged", "torn", "damaged and torn"]),
  run: (random) => {
    const made = Array.from({ length: below(random, 12) }, () => someRecord(random))
    const spoilt = onBadDisk(random, Buffer.concat(made))
    const whole = parse(spoilt, () => spoilt.length)
    const pieces = parse(spoilt, () => 1 + below(random, 50))
    ensure(
      JSON.stringify(whole.stats) === JSON.stringify(pieces.stats) &&
        whole.records.length === pieces.records.length,
      "the same in chunks of any size"
    )
    const { bytes, damaged, damagedBytes, records, tornBytes, unknownRecords } = whole.stats
    ensure(bytes === spoilt.length && records === whole.records.length, "every byte and record is counted")
    ensure(damagedBytes + tornBytes + records * recordHeaderBytes <= bytes, "no byte is counted twice")
    const unknown = whole.records.filter(({ _tag }) => _tag === "Unknown").length
    ensure(unknown === unknownRecords, "what cannot be read is counted")
    for (const each of whole.records) {
      const isNumber = Number.isFinite(each.arrivalUs) && Number.isInteger(each.track)
      ensure(isNumber, "each has an arrival and a track")
    }
    return [damaged > 0 ? ["damaged"] : [], tornBytes > 0 ? ["torn"] : []].flat().join(" and ") || "whole"
  }
}

const header: FuzzTarget = {
  name: "journal-header",
  outcomes: new Set(["ok", "notAJournal", "newer"]),
  run: (random) => {
    const bytes = random() < 0.3 ? anyBytes(random, 12) : mutate(random, fileHeader)
    return checkFileHeader(bytes)._tag
  }
}

const words = ["null", "-1", "1e400", "{}", "[]", '""', "true", '"../../etc"', '"\\u0000"'] as const

/** Bytes flipped, or a value in the place of another. */
const someManifest = (random: Random): string => {
  const text = JSON.stringify(aManifest({ options: { result: "tracks", kinds: ["audio"], data: true } }))
  const choice = random()
  if (choice < 0.1) return text
  if (choice < 0.5) return mutate(random, Buffer.from(text)).toString("utf8")
  if (choice < 0.55) return "[".repeat(below(random, 50_000))
  if (choice < 0.6) return text.replace('"format":1', `"format":${below(random, 4)}`)
  return text.replace(/:("[^"]*"|[^,{}[\]]+)/g, (value) =>
    random() < 0.15 ? `:${oneOf(random, words)}` : value
  )
}

const manifest: FuzzTarget = {
  name: "manifest",
  outcomes: new Set(["read", "RecordingFileInvalid", "UnsupportedFormat"]),
  run: (random) => {
    const exit = Effect.runSyncExit(decodeManifest("manifest.json", someManifest(random)))
    if (Exit.isFailure(exit)) {
      const error = Cause.squash(exit.cause)
      if (Cause.hasDies(exit.cause)) throw error
      return error instanceof Error && "_tag" in error ? String(error._tag) : "untyped"
    }
    const { incarnation, nodeId, recordingId, roomId } = exit.value
    const names = [incarnation, nodeId, recordingId, roomId]
    ensure(
      names.every((name) => /^[A-Za-z0-9_-]{1,64}$/.test(name)),
      "its ids are names of files"
    )
    return "read"
  }
}

export const journalTargets: ReadonlyArray<FuzzTarget> = [journal, header, manifest]
