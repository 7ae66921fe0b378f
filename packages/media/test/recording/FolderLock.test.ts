import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import * as IncarnationFolder from "../../src/recording/IncarnationFolder.ts"
import { recover } from "../../src/recording/Recovery.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { readAll, temporaryFolder } from "./fixtures.ts"
import { startProgram } from "./processes.ts"

const capture = (dataDir: string, incarnation: string, recordingId: string) =>
  startProgram("test/recording/programs/capture.ts", [dataDir, incarnation, recordingId])

/** How many processes wait for a lock on behalf of this one. */
const locksWaiting = () =>
  fs
    .readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8")
    .split(" ")
    .filter((pid) => pid !== "" && fs.readFileSync(`/proc/${pid}/comm`, "utf8") === "flock\n").length

/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

describe("an incarnation's folder", () => {
  it.live(
    "is refused to others while its process lives, also while it is stopped, and free after kill -9",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryFolder
        const captor = yield* capture(dataDir, "one", "rec")
        yield* captor.until((line) => line === "10")
        const [folder = ""] = yield* IncarnationFolder.listIncarnations(dataDir)
        const adopt = Effect.scoped(IncarnationFolder.tryAdopt(folder))

        const living = yield* Effect.flip(adopt)
        assert.strictEqual(living._tag, "FolderHeld")
        assert.include(living.message, `"pid":${captor.pid}`)
        captor.kill("SIGSTOP")
        assert.strictEqual((yield* Effect.flip(adopt))._tag, "FolderHeld")
        captor.kill("SIGKILL")
        yield* captor.exited
        assert.strictEqual((yield* adopt).incarnation, "one")
      })
  )

  it.live(
    "is held by one of many that want to adopt it at once",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryFolder
        yield* Effect.scoped(IncarnationFolder.acquire(dataDir, { incarnation: "dead", nodeId: "n" }))
        const folder = path.join(dataDir, "incarnations", "dead")
        const outcomes = yield* Effect.all(
          Array.from({ length: 8 }, () => Effect.result(IncarnationFolder.tryAdopt(folder))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Success").length, 1)
      }),
    patience
  )

  it.live(
    "is locked by its name, also when it is removed and made again while somebody waits for it",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryFolder
        const folder = path.join(dataDir, "incarnations", "one")
        const acquire = IncarnationFolder.acquire(dataDir, { incarnation: "one", nodeId: "n" })
        const cleaner = yield* Scope.make()
        yield* Scope.provide(acquire, cleaner)
        const waiting = yield* Effect.forkChild(acquire)
        yield* Effect.repeat(Effect.sync(locksWaiting), {
          schedule: Schedule.spaced("10 millis"),
          until: (count) => count === 1
        })
        fs.rmSync(folder, { recursive: true })
        yield* Scope.close(cleaner, Exit.void)
        yield* Fiber.join(waiting)
        const error = yield* Effect.flip(IncarnationFolder.tryAdopt(folder))
        assert.strictEqual(error._tag, "FolderHeld")
      }),
    patience
  )

  it.live(
    "keeps every packet that a process wrote before it was killed, and gives them to the next",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryFolder
        const captor = yield* capture(dataDir, "one", "rec")
        yield* captor.until((line) => Number(line) >= 2_000)
        captor.kill("SIGKILL")
        yield* captor.exited
        const said = Number(captor.lines.at(-1))

        const { records, stats } = yield* readAll(path.join(dataDir, "incarnations", "one", "rec"))
        const numbers = records.flatMap((record) =>
          record._tag === "Rtp" ? [Buffer.from(record.packet).readUInt32BE(196)] : []
        )
        assert.isAtLeast(numbers.length, said + 1)
        assert.deepStrictEqual(
          numbers,
          numbers.map((_, i) => i)
        )
        assert.strictEqual(stats.damaged, 0)
      }),
    patience
  )

  it.live(
    "a second process on the data folder takes nothing of the first, and all of it once that is dead",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* temporaryFolder
        const captor = yield* capture(dataDir, "one", "rec")
        yield* captor.until((line) => line === "500")
        const look = recover(dataDir, { computedBy: "second" }).pipe(
          Effect.provide(RecordingStore.folder(path.join(dataDir, "results")))
        )
        const beside = yield* look
        assert.deepStrictEqual(
          beside.map((outcome) => outcome._tag),
          ["Held"]
        )
        const seen = Number(captor.lines.at(-1))
        yield* captor.until((line) => Number(line) > seen + 100)
        captor.kill("SIGKILL")
        yield* captor.exited

        const [after, ...others] = yield* look
        assert.strictEqual(others.length, 0)
        assert.strictEqual(after?._tag, "Recovered")
        if (after?._tag !== "Recovered") return
        const [track] = after.receipt.tracks
        assert.isAtLeast(track?.frames ?? 0, Number(captor.lines.at(-1)) + 1)
        assert.strictEqual(track?.lostPackets, 0)
        assert.strictEqual(after.receipt.parts[0]?.sealed, undefined)
        assert.deepStrictEqual(
          (yield* look).map((outcome) => outcome._tag),
          ["AlreadyDone"]
        )
      })
  )
})
