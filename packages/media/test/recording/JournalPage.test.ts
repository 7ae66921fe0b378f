import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileHeader } from "../../src/recording/JournalFormat.ts"
import { makeJournalParser } from "../../src/recording/JournalParser.ts"
import { bytesOfPage, exampleRtp, writeExample } from "./journalPage.ts"

describe("docs/journal-format.md", () => {
  it.effect("shows the bytes that are written", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* writeExample).toString("hex"), bytesOfPage().toString("hex"))
    })
  )

  it("shows bytes that are read as it says", () => {
    const parser = makeJournalParser()
    const records = [...parser.push(bytesOfPage().subarray(fileHeader.length)), ...parser.end()]
    assert.deepStrictEqual(
      records.map((record) =>
        record._tag === "Rtp" ? { ...record, packet: Buffer.from(record.packet) } : record
      ),
      [
        {
          _tag: "Anchor",
          track: 0,
          arrivalUs: 1_000_000,
          anchor: { wallMs: 1_795_000_000_000, recordingId: "rec", incarnation: "incarnation", part: 0 }
        },
        {
          _tag: "Track",
          track: 1,
          arrivalUs: 1_250_000,
          info: {
            producerId: "mic",
            peerId: "ada",
            kind: "audio",
            mimeType: "audio/opus",
            clockRate: 48_000,
            channels: 2,
            payloadType: 97,
            ssrc: 2222
          }
        },
        { _tag: "Rtp", track: 1, arrivalUs: 1_260_000, packet: exampleRtp },
        {
          _tag: "SenderReport",
          track: 1,
          arrivalUs: 1_260_000,
          report: { ntpSeconds: 3_900_000_000, ntpFraction: 2_147_483_648, rtpTimestamp: 960 }
        },
        { _tag: "TrackEnd", track: 1, arrivalUs: 1_300_000 },
        { _tag: "Seal", track: 0, arrivalUs: 1_300_000, seal: { reason: "stopped" } }
      ]
    )
    assert.strictEqual(parser.stats.damaged + parser.stats.tornBytes, 0)
  })
})
