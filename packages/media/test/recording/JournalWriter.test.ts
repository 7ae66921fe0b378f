import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as JournalThread from "../../src/recording/JournalThread.ts"
import * as JournalWriter from "../../src/recording/JournalWriter.ts"
import { readManifest } from "../../src/recording/Manifest.ts"
import { aManifest, opusTrack, readAll, temporaryFolder, vp8Track } from "./fixtures.ts"

describe("JournalWriter", () => {
  it.live("gives back everything that was written, in order, with monotonic arrivals", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      const writer = yield* JournalWriter.make({ folder, manifest: aManifest() })
      const audio = writer.track(opusTrack())
      const packets = Array.from({ length: 100 }, (_, i) => new Uint8Array(12 + i).fill(i))
      for (const packet of packets) writer.rtp(audio, packet)
      writer.senderReport(audio, { ntpSeconds: 3_900_000_000, ntpFraction: 4_000_000_000, rtpTimestamp: 7 })
      writer.endTrack(audio)
      const sealed = yield* writer.seal("stopped")

      const { records, stats } = yield* readAll(folder)
      assert.deepStrictEqual(
        records.filter((record) => record._tag !== "Rtp").map((record) => record._tag),
        ["Anchor", "Track", "SenderReport", "TrackEnd", "Seal"]
      )
      assert.deepStrictEqual(
        records.flatMap((record) => (record._tag === "Rtp" ? [new Uint8Array(record.packet)] : [])),
        packets
      )
      const arrivals = records.map((record) => record.arrivalUs)
      assert.deepStrictEqual(
        arrivals,
        arrivals.toSorted((a, b) => a - b)
      )
      assert.strictEqual(sealed.stats.packets, 100)
      assert.strictEqual(stats.tornBytes + stats.damaged, 0)
    })
  )

  it.live("seals once: every caller gets the first outcome, and nothing is written after", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      const writer = yield* JournalWriter.make({ folder, manifest: aManifest() })
      const [one, two] = yield* Effect.all([writer.seal("first"), writer.seal("second")], {
        concurrency: "unbounded"
      })
      writer.rtp(writer.track(opusTrack()), new Uint8Array(12))
      assert.strictEqual(one, two)
      assert.strictEqual(one.reason, "first")
      assert.strictEqual((yield* readManifest(folder))?.state, "Sealing")
      assert.strictEqual((yield* readAll(folder)).records.at(-1)?._tag, "Seal")
    })
  )

  it.live("refuses a folder that has a journal already, and leaves it as it is", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      yield* Effect.scoped(JournalWriter.make({ folder, manifest: aManifest() }))
      const before = fs.readFileSync(path.join(folder, "journal.ebbj"))
      const error = yield* Effect.flip(JournalWriter.make({ folder, manifest: aManifest() }))
      // Not the disk's fault: tried again, it is the same.
      assert.deepInclude(error, { _tag: "JournalExists", recordingId: "rec", retry: "never" })
      assert.deepStrictEqual(fs.readFileSync(path.join(folder, "journal.ebbj")), before)
    })
  )

  it.live("counts a full disk as a gap, tells it once, and goes on when there is room again", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      const writer = yield* JournalWriter.make({ folder, manifest: aManifest() })
      const audio = writer.track(opusTrack())
      yield* writer.written
      const restore = refuseWrites({ afterBytes: 5, file: path.join(folder, "journal.ebbj") })
      for (let i = 0; i < 10; i++) writer.rtp(audio, new Uint8Array(100))
      const video = writer.track(vp8Track())
      const error = yield* Effect.flip(writer.failed)
      assert.strictEqual((yield* Effect.flip(writer.written))._tag, "RecordingStorageError")
      restore()
      writer.rtp(video, new Uint8Array(100))
      yield* writer.seal("stopped")

      assert.deepInclude(error, { _tag: "RecordingStorageError", code: "EFBIG" })
      assert.deepInclude(writer.stats, { packets: 1, gaps: 1, lostPackets: 10 })
      const { records, stats } = yield* readAll(folder)
      assert.deepStrictEqual(
        records.map((record) => record._tag),
        ["Anchor", "Track", "Gap", "Track", "Rtp", "Seal"]
      )
      const gap = records.find((record) => record._tag === "Gap")
      assert.deepStrictEqual(gap?.gap, { packets: 10, reason: "EFBIG" })
      assert.strictEqual(stats.damaged, 0)
    })
  )

  it.live(
    "leaves nothing behind when the disk refuses its first byte, so that the same name can be tried again",
    () =>
      Effect.gen(function* () {
        const incarnation = yield* temporaryFolder
        const folder = path.join(incarnation, "rec")
        const make = Effect.scoped(JournalWriter.make({ folder, manifest: aManifest() }))
        const restore = refuseWrites({ afterBytes: 5, file: path.join(folder, "journal.ebbj") })
        assert.deepInclude(yield* Effect.flip(make), { code: "EFBIG" })
        restore()
        assert.deepStrictEqual(fs.readdirSync(incarnation), [])
        yield* make
        assert.strictEqual((yield* readManifest(folder))?.state, "Capturing")
      })
  )

  it.live("ends the capture when it cannot be sealed, and is sealed when there is room again", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      const writer = yield* JournalWriter.make({ folder, manifest: aManifest() })
      const audio = writer.track(opusTrack())
      yield* writer.written
      const restore = refuseWrites({ afterBytes: 5, file: path.join(folder, "journal.ebbj") })
      writer.rtp(audio, new Uint8Array(100))
      const error = yield* Effect.flip(writer.seal("stopped"))
      restore()
      assert.strictEqual(error.message.includes("EFBIG"), true)
      writer.rtp(audio, new Uint8Array(100))
      const sealed = yield* writer.seal("again")
      assert.strictEqual(sealed.reason, "stopped")
      assert.deepStrictEqual(
        (yield* readAll(folder)).records.map((record) => record._tag),
        ["Anchor", "Track", "Gap", "Seal"]
      )
    })
  )

  it.live("tells what a full disk cost also when its recording has been given up before there is room", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "rec")
      const thread = yield* JournalThread.make()
      const restore = yield* Effect.scoped(
        Effect.gen(function* () {
          const writer = yield* JournalWriter.make({ folder, manifest: aManifest(), thread })
          const audio = writer.track(opusTrack())
          yield* writer.written
          const restore = refuseWrites({ afterBytes: 5, file: path.join(folder, "journal.ebbj") })
          for (let i = 0; i < 10; i++) writer.rtp(audio, new Uint8Array(100))
          yield* Effect.flip(writer.seal("stopped"))
          return restore
        })
      )
      restore()
      const { records } = yield* Effect.repeat(readAll(folder), {
        until: ({ records }) => records.at(-1)?._tag === "Seal",
        schedule: Schedule.spaced("50 millis")
      })
      const gap = records.find((record) => record._tag === "Gap")
      assert.deepStrictEqual(gap?.gap, { packets: 10, reason: "EFBIG" })
    })
  )
})

/**
 * Makes the kernel refuse writes of this process, as a full disk does: the file may grow by some bytes, then the error comes. (`EFBIG`, where
 * a full disk says `ENOSPC`.)
 */
const refuseWrites = ({ afterBytes, file }: { readonly afterBytes: number; readonly file: string }) => {
  const limit = (bytes: string) =>
    execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${bytes}:`])
  limit(String((fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) + afterBytes))
  return () => void limit("unlimited")
}
