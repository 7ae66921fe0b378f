import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { encodeMap, recordHeaderBytes, recordType, sealHeader } from "../../src/recording/JournalFormat.ts"
import type { JournalRecord } from "../../src/recording/JournalFormat.ts"
import { checkFileHeader, makeJournalParser } from "../../src/recording/JournalParser.ts"

const record = (type: number, track: number, arrivalUs: number, payload: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(recordHeaderBytes + payload.length)
  bytes.set(payload, recordHeaderBytes)
  sealHeader(bytes, type, track, arrivalUs, payload.length)
  return bytes
}

const rtp = (i: number, payload: Uint8Array) => record(recordType.rtp, 1, i, payload)

const parse = (bytes: Buffer, cuts: ReadonlyArray<number> = []) => {
  const parser = makeJournalParser()
  const records: Array<JournalRecord> = []
  let from = 0
  for (const cut of [...cuts, bytes.length].toSorted((a, b) => a - b)) {
    records.push(...parser.push(bytes.subarray(from, cut)))
    from = cut
  }
  records.push(...parser.end())
  return { records, stats: parser.stats }
}

const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 })

describe("JournalParser", () => {
  it("gives the same records however the bytes are cut", () => {
    fc.assert(
      fc.property(payloads, fc.array(fc.nat()), (contents, cuts) => {
        const bytes = Buffer.concat(contents.map((content, i) => rtp(i, content)))
        const { records, stats } = parse(
          bytes,
          cuts.map((cut) => cut % bytes.length)
        )
        assert.deepStrictEqual(
          records.map((each) => (each._tag === "Rtp" ? Buffer.from(each.packet) : each)),
          contents.map((content) => Buffer.from(content))
        )
        assert.strictEqual(stats.tornBytes + stats.damaged, 0)
      })
    )
  })

  it("keeps every whole record before a torn end, and counts the rest", () => {
    fc.assert(
      fc.property(payloads, fc.nat(), (contents, at) => {
        const pieces = contents.map((content, i) => rtp(i, content))
        const bytes = Buffer.concat(pieces)
        const end = at % (bytes.length + 1)
        let whole = 0
        let wholeBytes = 0
        for (const piece of pieces) {
          if (wholeBytes + piece.length > end) break
          whole += 1
          wholeBytes += piece.length
        }
        const { records, stats } = parse(bytes.subarray(0, end))
        assert.strictEqual(records.length, whole)
        assert.strictEqual(stats.tornBytes, end - wholeBytes)
      })
    )
  })

  it("loses one record to one flipped bit, wherever it is, and accounts for every byte", () => {
    fc.assert(
      fc.property(payloads, fc.nat(), fc.nat(7), fc.array(fc.nat()), (contents, at, bit, cuts) => {
        const pieces = contents.map((content, i) => rtp(i, content))
        const bytes = Buffer.concat(pieces)
        const flipped = at % bytes.length
        bytes[flipped] = (bytes[flipped] ?? 0) ^ (1 << bit)
        const { records, stats } = parse(
          bytes,
          cuts.map((cut) => cut % bytes.length)
        )
        const before = pieces.map((_, i) => Buffer.concat(pieces.slice(0, i + 1)).length)
        const hit = before.findIndex((end) => flipped < end)
        assert.deepStrictEqual(
          records.map((each) => each.arrivalUs),
          contents.map((_, i) => i).filter((i) => i !== hit)
        )
        const kept = records.reduce(
          (sum, each) => sum + recordHeaderBytes + (each._tag === "Rtp" ? each.packet.length : 0),
          0
        )
        assert.strictEqual(kept + stats.damagedBytes + stats.tornBytes, bytes.length)
      }),
      { numRuns: 500 }
    )
  })

  it("loses no other record where the flipped bit is of a length that then ends where a later one begins", () => {
    const pieces = [16, 12, 5].map((size, i) => rtp(i, Buffer.alloc(size, 1)))
    const bytes = Buffer.concat(pieces)
    bytes[7] = (bytes[7] ?? 0) ^ 32
    const { records, stats } = parse(bytes)
    assert.deepStrictEqual(
      records.map((each) => each.arrivalUs),
      [1, 2]
    )
    assert.deepInclude(stats, { damaged: 1, damagedBytes: pieces[0]?.length ?? 0, tornBytes: 0 })
  })

  it("finds the next record after a hole of zeros, as a power cut leaves them", () => {
    const bytes = Buffer.concat([rtp(0, Buffer.from("one")), Buffer.alloc(4096), rtp(1, Buffer.from("two"))])
    const { records, stats } = parse(bytes)
    assert.deepStrictEqual(
      records.map((each) => each.arrivalUs),
      [0, 1]
    )
    assert.deepInclude(stats, { damaged: 1, damagedBytes: 4096, tornBytes: 0 })
  })

  it("hands on a record of a newer type, and a known one it cannot read, as Unknown", () => {
    const newer = record(99, 0, 1, Buffer.from("whatever"))
    const broken = record(recordType.track, 1, 2, encodeMap({ producerId: 7 }))
    const { records, stats } = parse(Buffer.concat([newer, broken, rtp(3, Buffer.from("x"))]))
    assert.deepStrictEqual(
      records.map((each) => each._tag),
      ["Unknown", "Unknown", "Rtp"]
    )
    assert.strictEqual(stats.unknownRecords, 2)
  })

  it("reads fields that it does not know in a map, and a kind that it does not know as Unknown", () => {
    const info = { producerId: "p", kind: "smell", mimeType: "smell/rose", clockRate: 1, colour: "red" }
    const { records } = parse(record(recordType.track, 1, 0, encodeMap(info)))
    const [track] = records
    assert.deepInclude(track?._tag === "Track" ? track.info : undefined, {
      producerId: "p",
      kind: "Unknown"
    })
  })

  it("refuses a newer major version and a foreign file, and takes a torn header as empty", () => {
    assert.deepStrictEqual(checkFileHeader(Buffer.from("EBBJ\x02\x00\x00\x00", "latin1")), {
      _tag: "newer",
      version: 2
    })
    assert.strictEqual(checkFileHeader(Buffer.from("EBBJ\x01\x09\x00\x00", "latin1"))._tag, "ok")
    assert.strictEqual(checkFileHeader(Buffer.from("RIFF....", "latin1"))._tag, "notAJournal")
    assert.strictEqual(checkFileHeader(Buffer.from("EB", "latin1"))._tag, "ok")
  })
})
