import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as path from "node:path"
import { lockFolder } from "../../src/recording/FolderLock.ts"
import * as IncarnationFolder from "../../src/recording/IncarnationFolder.ts"
import { readManifest } from "../../src/recording/Manifest.ts"
import { giveUp, recover, stillUnfinished } from "../../src/recording/Recovery.ts"
import type { PartOutcome } from "../../src/recording/Recovery.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { keepRemovingExpired, removeExpired } from "../../src/recording/Retention.ts"
import { temporaryFolder, writePart } from "./fixtures.ts"

const setUp = Effect.gen(function* () {
  const dataDir = yield* temporaryFolder
  const store = RecordingStore.folder(path.join(dataDir, "results"))
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
        Effect.provide(store)
      ),
    recoverGivenUp: Effect.provide(recover(dataDir, { computedBy: "test", givenUpToo: true }), store),
    giveUp: (recordingId: string, reason = "the disk died") =>
      Effect.provide(giveUp(dataDir, recordingId, { by: "ada", reason }), store),
    stillUnfinished: (folders: ReadonlyArray<string>) =>
      stillUnfinished(new Map(folders.map((folder) => [folder, "p"]))).pipe(
        Effect.map((left) => left.map(({ recordingId }) => recordingId)),
        Effect.provide(store)
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

describe("what is not Ebb's", () => {
  it.live(
    "is left as it is, and named as what it is",
    () =>
      Effect.gen(function* () {
        const { dataDir, giveUp, partAt, recover, write } = yield* setUp
        const files = {
          "photos/2026/a.jpg": "a picture",
          "photos/2026/lock": "somebody's",
          "locked/lock": "somebody's\n",
          "a/notes/text": "a text",
          README: "a file"
        }
        yield* write("a", "rec")
        fs.mkdirSync(path.join(dataDir, "incarnations", "starting"))
        for (const [name, text] of Object.entries(files)) {
          const file = path.join(dataDir, "incarnations", name)
          fs.mkdirSync(path.dirname(file), { recursive: true })
          fs.writeFileSync(file, text)
        }
        // Copied from elsewhere, without the lock, and with a journal that is none.
        yield* write("copied", "junk")
        const junk = path.join(partAt("copied", "junk"), "journal.ebbj")
        fs.writeFileSync(junk, Buffer.concat([fs.readFileSync(junk).subarray(0, 8), Buffer.alloc(5000, 7)]))

        const listed = () => fs.readdirSync(dataDir, { recursive: true, encoding: "utf8" }).toSorted()
        const before = listed()
        const outcomes = yield* recover()
        assert.deepStrictEqual(
          outcomes.map((outcome) => [
            path.relative(path.join(dataDir, "incarnations"), outcome.folder),
            outcome._tag === "Failed" ? outcome.error.message.replace(/^.* cannot/, "cannot") : outcome._tag
          ]),
          [
            ["locked", "Foreign"],
            ["photos", "Foreign"],
            ["a/notes", "Foreign"],
            ["a/rec", "Recovered"],
            ["copied/junk", "cannot be read: there is no intact record in its 5008 bytes"]
          ]
        )
        assert.strictEqual((yield* giveUp("notes"))[0]?._tag, "Foreign")
        assert.deepStrictEqual(yield* giveUp("2026"), [])
        assert.deepStrictEqual(yield* removeExpired(dataDir, { keepMs: -1 }), [partAt("a", "rec")])
        for (const [name, text] of Object.entries(files)) {
          assert.strictEqual(fs.readFileSync(path.join(dataDir, "incarnations", name), "utf8"), text)
        }
        const made = listed().filter((name) => !before.includes(name) && !name.startsWith("results"))
        assert.deepStrictEqual(made, [
          "incarnations/a/lock",
          "incarnations/copied/junk/compute.lock",
          "incarnations/copied/lock"
        ])
      }),
    patience
  )
})

describe("giveUp", () => {
  it.live(
    "says durably who gave a part up, and why: it is not computed again but by hand, and its journal is as it was",
    () =>
      Effect.gen(function* () {
        const { dataDir, giveUp, partAt, recover, recoverGivenUp, stillUnfinished, write } = yield* setUp
        const part = partAt("a", "rec")
        yield* write("a", "rec")
        yield* write("a", "other")
        const journal = fs.readFileSync(path.join(part, "journal.ebbj"))
        assert.deepStrictEqual(yield* stillUnfinished([part, partAt("a", "other")]), ["rec", "other"])

        const [given, ...more] = yield* giveUp("rec")
        assert.deepStrictEqual(more, [])
        assert.deepInclude(given, { _tag: "GivenUp", folder: part })
        assert.deepInclude(given?._tag === "GivenUp" ? given.givenUp : {}, {
          by: "ada",
          reason: "the disk died"
        })
        // The first word counts.
        assert.deepStrictEqual((yield* giveUp("rec", "no matter"))[0]?._tag === "GivenUp", true)
        assert.deepInclude(JSON.parse(fs.readFileSync(path.join(part, "given-up.json"), "utf8")), {
          format: 1,
          by: "ada",
          reason: "the disk died"
        })
        assert.strictEqual((yield* readManifest(part))?.state, "Failed")
        assert.deepStrictEqual(yield* stillUnfinished([part, partAt("a", "other")]), ["other"])

        assert.deepStrictEqual(
          (yield* recover()).map(({ _tag }) => _tag),
          ["Recovered", "GivenUp"]
        )
        assert.deepStrictEqual(yield* removeExpired(dataDir, { keepMs: -1 }), [partAt("a", "other")])
        assert.deepStrictEqual(fs.readFileSync(path.join(part, "journal.ebbj")), journal)
        // By its receipt in the store: its folder is gone.
        assert.deepStrictEqual(yield* stillUnfinished([partAt("a", "other")]), [])

        assert.deepStrictEqual(
          (yield* recoverGivenUp).map(({ _tag }) => _tag),
          ["Recovered"]
        )
        assert.strictEqual((yield* readManifest(part))?.state, "Computed")
        assert.deepStrictEqual(
          (yield* recover()).map(({ _tag }) => _tag),
          ["AlreadyDone"]
        )
        assert.strictEqual((yield* giveUp("rec"))[0]?._tag, "AlreadyDone")
      }),
    patience
  )

  it.live(
    "is for parts without a manifest, too",
    () =>
      Effect.gen(function* () {
        const { giveUp, partAt, recover, write } = yield* setUp
        yield* write("a", "rec")
        fs.writeFileSync(path.join(partAt("a", "rec"), "manifest.json"), "{")
        yield* write("b", "rec")
        fs.rmSync(path.join(partAt("b", "rec"), "manifest.json"))
        assert.deepStrictEqual(
          (yield* giveUp("rec")).map(({ _tag }) => _tag),
          ["GivenUp", "GivenUp"]
        )
        assert.deepStrictEqual(
          (yield* recover()).map(({ _tag }) => _tag),
          ["GivenUp", "GivenUp"]
        )
        assert.deepStrictEqual(yield* giveUp("unknown"), [])
      }),
    patience
  )

  it.live(
    "is done beside the living process that captured it once it is sealed, and not while it captures or computes",
    () =>
      Effect.gen(function* () {
        const { dataDir, giveUp, partAt } = yield* setUp
        const part = (recordingId: string) => ({
          folder: partAt("living", recordingId),
          manifest: { incarnation: "living", recordingId },
          tracks: {},
          events: []
        })
        yield* IncarnationFolder.acquire(dataDir, { incarnation: "living", nodeId: "me" })
        yield* writePart({ ...part("captured"), seal: false })
        yield* writePart(part("sealed"))
        yield* writePart(part("computing"))
        yield* lockFolder(partAt("living", "computing"), { name: "compute.lock", holder: {} })
        assert.deepInclude((yield* giveUp("captured"))[0], { _tag: "Held" })
        assert.deepInclude((yield* giveUp("computing"))[0], { _tag: "Held" })
        assert.deepInclude((yield* giveUp("sealed"))[0], { _tag: "GivenUp" })
        assert.isFalse(fs.existsSync(path.join(partAt("living", "captured"), "given-up.json")))
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
