import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as path from "node:path"
import * as IncarnationFolder from "../../src/recording/IncarnationFolder.ts"
import { recover } from "../../src/recording/Recovery.ts"
import type { PartOutcome } from "../../src/recording/Recovery.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { keepRemovingExpired, removeExpired } from "../../src/recording/Retention.ts"
import { temporaryFolder, writePart } from "./fixtures.ts"

const setUp = Effect.gen(function* () {
  const dataDir = yield* temporaryFolder
  const partAt = (incarnation: string, recordingId: string) =>
    path.join(dataDir, "incarnations", incarnation, recordingId)
  return {
    dataDir,
    partAt,
    write: (incarnation: string, recordingId: string) =>
      writePart({
        folder: partAt(incarnation, recordingId),
        manifest: { incarnation, recordingId },
        tracks: {},
        events: []
      }),
    recover: (onOutcome?: (outcome: PartOutcome) => Effect.Effect<void>) =>
      recover(dataDir, { computedBy: "test", ...(onOutcome === undefined ? {} : { onOutcome }) }).pipe(
        Effect.provide(RecordingStore.folder(path.join(dataDir, "results")))
      )
  }
})

/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

describe("recover", () => {
  it.live(
    "has one outcome for every part, whatever its state, and throws nothing away",
    () =>
      Effect.gen(function* () {
        const { dataDir, partAt, recover, write } = yield* setUp
        yield* write("a", "fine")
        yield* write("a", "journal-gone")
        fs.rmSync(path.join(partAt("a", "journal-gone"), "journal.ebbj"))
        yield* write("a", "manifest-gone")
        fs.rmSync(path.join(partAt("a", "manifest-gone"), "manifest.json"))
        fs.mkdirSync(partAt("b", "unborn"), { recursive: true })
        fs.writeFileSync(path.join(partAt("b", "unborn"), "journal.ebbj"), "")
        yield* write("c", "living")
        yield* IncarnationFolder.acquire(dataDir, { incarnation: "c", nodeId: "me" })

        const told: Array<string> = []
        const outcomes = yield* recover((outcome) => Effect.sync(() => void told.push(outcome.folder)))
        const summary = outcomes.map((outcome) => [
          path.basename(outcome.folder),
          outcome._tag === "Failed" ? outcome.error._tag : outcome._tag
        ])
        assert.deepStrictEqual(summary, [
          ["fine", "Recovered"],
          ["journal-gone", "JournalMissing"],
          ["manifest-gone", "ManifestMissing"],
          ["unborn", "NothingCaptured"],
          ["living", "Held"]
        ])
        assert.deepStrictEqual(
          told,
          outcomes.map((outcome) => outcome.folder)
        )
        assert.isTrue(fs.existsSync(path.join(partAt("a", "manifest-gone"), "journal.ebbj")))
        assert.strictEqual((yield* recover())[0]?._tag, "AlreadyDone")
      }),
    patience
  )

  it.live(
    "finds nothing in a data folder that is not there",
    () =>
      Effect.gen(function* () {
        const { recover } = yield* setUp
        assert.deepStrictEqual(yield* recover(), [])
      }),
    patience
  )
})

describe("removeExpired", () => {
  it.live(
    "removes a journal when its receipt is old enough, and never one without a receipt",
    () =>
      Effect.gen(function* () {
        const { dataDir, partAt, recover, write } = yield* setUp
        yield* write("a", "done")
        yield* recover()
        yield* write("b", "waiting")
        // A removal that was cut short.
        fs.mkdirSync(path.join(dataDir, "incarnations", "b", ".removed-old"))

        assert.deepStrictEqual(yield* removeExpired(dataDir), [])
        assert.isTrue(fs.existsSync(partAt("a", "done")))
        assert.deepStrictEqual(yield* removeExpired(dataDir, { keepMs: -1 }), [partAt("a", "done")])
        assert.deepStrictEqual(fs.readdirSync(path.join(dataDir, "incarnations")), ["b"])
        assert.deepStrictEqual(fs.readdirSync(path.join(dataDir, "incarnations", "b")).toSorted(), [
          "lock",
          "waiting"
        ])
        assert.isTrue(fs.existsSync(path.join(dataDir, "results", "done", "receipt.json")))
      }),
    patience
  )

  it.live(
    "cleans the caller's own folder and leaves other living processes' alone",
    () =>
      Effect.gen(function* () {
        const { dataDir, partAt, recover, write } = yield* setUp
        yield* write("own", "done")
        yield* write("other", "done")
        yield* recover()
        const own = yield* IncarnationFolder.acquire(dataDir, { incarnation: "own", nodeId: "me" })
        yield* IncarnationFolder.acquire(dataDir, { incarnation: "other", nodeId: "you" })
        assert.deepStrictEqual(yield* removeExpired(dataDir, { keepMs: -1, own }), [partAt("own", "done")])
        assert.isTrue(fs.existsSync(partAt("other", "done")))
        assert.isTrue(fs.existsSync(own.path))
      }),
    patience
  )

  it.effect(
    "is done again every hour",
    () =>
      Effect.gen(function* () {
        const { dataDir, partAt, recover, write } = yield* setUp
        yield* write("a", "done")
        const [outcome] = yield* TestClock.withLive(recover())
        yield* TestClock.setTime(outcome?._tag === "Recovered" ? outcome.receipt.computedAt : 0)
        const keeping = yield* keepRemovingExpired(dataDir, { keepMs: 3_600_000 }).pipe(
          Effect.forkChild({ startImmediately: true })
        )
        assert.isTrue(fs.existsSync(partAt("a", "done")))
        while (fs.existsSync(partAt("a", "done"))) {
          yield* TestClock.adjust("1 hour")
          yield* TestClock.withLive(Effect.sleep("10 millis"))
        }
        yield* Fiber.interrupt(keeping)
      }),
    patience
  )
})
