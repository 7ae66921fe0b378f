import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { recordHeaderBytes, recordType } from "../../src/recording/JournalFormat.ts"
import * as JournalWriter from "../../src/recording/JournalWriter.ts"
import { indexPart } from "../../src/recording/PartIndex.ts"
import type { CaptureEvent } from "./fixtures.ts"
import { aManifest, journalThread, opusTrack, temporaryFolder, writePart } from "./fixtures.ts"

const second = 1_000_000
const startUs = 1_000_000_000
const tracks = {
  audio: opusTrack(),
  chat: opusTrack({ producerId: "chat", kind: "data", mimeType: "text/plain", clockRate: 1000 })
}

/** 20 ms of Opus for each 20 ms from then till then, numbered by their time. */
const speech = (fromUs: number, toUs: number): ReadonlyArray<CaptureEvent> =>
  Array.from({ length: (toUs - fromUs) / 20_000 }, (_, i) => {
    const atUs = fromUs + i * 20_000
    const packet = Buffer.alloc(20, 1)
    packet.writeUInt16BE(0x806f)
    packet.writeUInt16BE(atUs / 20_000, 2)
    packet.writeUInt32BE((atUs / 20_000) * 960, 4)
    packet[12] = 0x78
    return { atUs, track: "audio", packet }
  })
const said = (atUs: number): CaptureEvent => ({
  atUs,
  track: "chat",
  data: { ppid: 51, payload: Buffer.from("so be it") }
})
const pause: CaptureEvent = { atUs: second, track: "audio", pause: {} }
const resume: CaptureEvent = { atUs: 2 * second, track: "audio", resume: {} }

/** Flips a bit in each record of that type. */
const damage = (file: string, type: number) => {
  const journal = fs.readFileSync(file)
  for (let at = 8; at < journal.length; at += recordHeaderBytes + journal.readUInt32BE(at + 4)) {
    if (journal[at + 1] === type) journal.writeUInt8(journal.readUInt8(at + 16) ^ 1, at + 16)
  }
  fs.writeFileSync(file, journal)
}

/** What a part of these events is known to be, when its resume cannot be read. */
const withoutResume = Effect.fnUntraced(function* (events: ReadonlyArray<CaptureEvent>) {
  const folder = path.join(yield* temporaryFolder, "rec")
  yield* writePart({ folder, tracks, events })
  const file = path.join(folder, "journal.ebbj")
  damage(file, recordType.resume)
  const { journal, pauses, tracks: indexed } = yield* indexPart(file, "keep", () => Effect.void)
  assert.strictEqual(journal.damaged, 1)
  const lost = indexed.map(({ track }) => track.sequencer.counts.lost)
  return {
    pauses: pauses.map(({ fromUs, toUs }) => [fromUs - startUs, toUs - startUs]),
    lost: lost.reduce((sum, packets) => sum + packets, 0)
  }
})

describe("a pause whose end is lost", () => {
  it.live("ends with the first packet, and nothing of it counts as lost", () =>
    Effect.gen(function* () {
      const events = [...speech(0, second), pause, resume, ...speech(2 * second + 20_000, 10 * second)]
      assert.deepStrictEqual(yield* withoutResume(events), {
        pauses: [[second, 2 * second + 20_000]],
        lost: 0
      })
    })
  )

  it.live("ends with the first message, and the next is one of its own", () =>
    Effect.gen(function* () {
      const again = { ...pause, atUs: 5 * second }
      const events = [...speech(0, second), pause, resume, said(3 * second), again, said(7 * second)]
      assert.deepStrictEqual((yield* withoutResume(events)).pauses, [
        [second, 3 * second],
        [5 * second, 7 * second]
      ])
    })
  )

  it.live("reaches to the last record when nothing came after it", () =>
    Effect.gen(function* () {
      const events = [...speech(0, second), pause, resume]
      assert.deepStrictEqual((yield* withoutResume(events)).pauses, [[second, 2 * second]])
    })
  )
})

it.live("a part has 65,535 tracks; what is of more is kept, and counted as of none", () =>
  Effect.gen(function* () {
    const folder = path.join(yield* temporaryFolder, "rec")
    const writer = yield* JournalWriter.make({ folder, manifest: aManifest(), thread: journalThread })
    for (let track = 1; track <= 65_535; track++) assert.strictEqual(writer.track(tracks.chat), track)
    const track = writer.track(tracks.audio)
    assert.strictEqual(track, 0)
    writer.rtp(track, Buffer.alloc(20, 1))
    writer.data(track, { ppid: 51, payload: Buffer.from("one more") })
    writer.endTrack(track)
    yield* writer.seal("stopped")
    const index = yield* indexPart(path.join(folder, "journal.ebbj"), "keep", () => Effect.void)
    assert.strictEqual(index.tracks.length, 65_535)
    assert.deepInclude(index.part, { orphanPackets: 2, gaps: 0, sealed: "stopped" })
  })
)
