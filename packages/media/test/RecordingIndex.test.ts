import { Registry, pack } from "@ebb/actors"
import { TestBus, TestRegistry } from "@ebb/actors/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Receipt } from "../src/recording/index.ts"
import { RecordingStore } from "../src/recording/index.ts"
import type { IndexedRecording } from "../src/RecordingIndex.ts"
import { RecordingIndex } from "../src/RecordingIndex.ts"
import { aManifest, temporaryFolder } from "./recording/fixtures.ts"

const recording = (changes: Partial<IndexedRecording> = {}): IndexedRecording => ({
  recordingId: "rec",
  roomId: "room",
  nodeId: "a",
  incarnation: "one",
  state: "Capturing",
  startedAt: 1,
  packets: 0,
  lostPackets: 0,
  tracks: 0,
  ...changes
})

const receipt = (
  incarnations: string | ReadonlyArray<string>,
  file: string,
  recordingId = "rec",
  computedAt = 2,
  sha256 = "00"
): Receipt => ({
  format: 1,
  recordingId,
  roomId: "room",
  state: "Computed",
  parts: [incarnations].flat().map((incarnation, part) => ({
    incarnation,
    nodeId: "a",
    part,
    startedAt: 1,
    packets: 7,
    orphanPackets: 0,
    gaps: 0,
    gapPackets: 0,
    damagedRecords: 0,
    damagedBytes: 0,
    unknownRecords: 0,
    tornBytes: 0
  })),
  tracks: [],
  file,
  sha256,
  bytes: 1,
  durationMs: 1,
  computedAt,
  computedBy: "a",
  software: "Ebb"
})

const setUp = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const registry = yield* TestRegistry.make(yield* TestBus.make())
  const services = yield* Layer.build(
    RecordingIndex.layer.pipe(
      Layer.provideMerge(registry.layer("p")),
      Layer.provideMerge(RecordingStore.folder(folder))
    )
  )
  const index = yield* Effect.provide(RecordingIndex, services)
  const bucket = yield* Effect.flatMap(Effect.provide(Registry, services), (open) => open.bucket("receipts"))
  const store = yield* Effect.provide(RecordingStore, services)
  return { bucket, folder, index, registry, store }
})

describe("RecordingIndex", () => {
  it.effect("has a recording from its start on, and its receipt in its place at the end", () =>
    Effect.gen(function* () {
      const { folder, index } = yield* setUp
      yield* index.begin(recording())
      // Sent again by the same process: its outcome may have been lost.
      yield* index.begin(recording())
      assert.deepStrictEqual(yield* index.list, [recording()])
      yield* index.note(recording({ state: "Failed", problem: "p" }))
      assert.deepInclude(yield* index.find("rec"), { state: "Failed", problem: "p" })
      yield* index.publish(receipt("one", "recording.webm"))
      assert.deepInclude(yield* index.find("rec"), {
        state: "Computed",
        incarnation: "one",
        packets: 7,
        file: path.join(folder, "rec/recording.webm")
      })
    })
  )

  it.effect("refuses another part, whatever became of the first", () =>
    Effect.gen(function* () {
      const { index } = yield* setUp
      const other = recording({ nodeId: "b", incarnation: "two", startedAt: 2 })
      yield* index.begin(recording())
      const conflict = yield* Effect.flip(index.begin(other))
      assert.deepInclude(conflict, { _tag: "Conflict", id: "rec", retry: "never" })
      yield* index.publish(receipt("one", "recording.webm"))
      assert.deepInclude(yield* Effect.flip(index.begin(other)), { _tag: "Conflict" })
    })
  )

  it.effect("never replaces what is computed by another part, nor by an older word of its own", () =>
    Effect.gen(function* () {
      const { index } = yield* setUp
      yield* index.publish(receipt("one", "recording.webm"))
      const computed = yield* index.find("rec")
      yield* index.publish(receipt("two", "recording-0-two.webm"))
      yield* index.note(recording({ state: "Failed" }))
      yield* index.withdraw(recording())
      assert.deepStrictEqual(yield* index.find("rec"), computed)
    })
  )

  it.effect(
    "keeps what is computed when a copy of its part is found in another store, unless that has more parts",
    () =>
      Effect.gen(function* () {
        const { folder, index, registry } = yield* setUp
        const services = yield* Layer.build(
          RecordingIndex.layer.pipe(
            Layer.provideMerge(registry.layer("q")),
            Layer.provideMerge(RecordingStore.folder(yield* temporaryFolder))
          )
        )
        const elsewhere = yield* Effect.provide(RecordingIndex, services)
        yield* index.publish(receipt("one", "recording.webm"))
        const computed = yield* index.find("rec")
        yield* elsewhere.publish(receipt("one", "recording.webm"))
        // Computed there once more, by another ffmpeg.
        yield* elsewhere.publish(receipt("one", "recording.webm", "rec", 9, "11"))
        assert.deepStrictEqual(yield* index.find("rec"), computed)
        // In its own store it is.
        yield* index.publish(receipt("one", "recording.webm", "rec", 9, "11"))
        assert.deepInclude(yield* index.find("rec"), {
          sha256: "11",
          file: path.join(folder, "rec/recording.webm")
        })
        const both = receipt(["one", "two"], "both.webm", "rec", 2, "22")
        yield* elsewhere.publish(both)
        const joined = yield* index.find("rec")
        assert.deepInclude(joined, { sha256: "22" })
        yield* index.publish(both)
        assert.deepStrictEqual(yield* index.find("rec"), joined)
      })
  )

  it.effect(
    "says who gave a part up and why, keeps the id taken, and has its receipt once there is one",
    () =>
      Effect.gen(function* () {
        const { index } = yield* setUp
        const givenUp = { by: "ada", at: 9, reason: "r" }
        const part = {
          folder: "/d/incarnations/one/rec",
          givenUp: { format: 1, ...givenUp },
          manifest: undefined
        }
        // Nobody knows of what room and node it was.
        yield* index.giveUp(part)
        assert.isUndefined(yield* index.find("rec"))

        yield* index.begin(recording({ packets: 7 }))
        yield* index.note(recording({ state: "Failed", packets: 7, problem: "p" }))
        yield* index.giveUp({ ...part, folder: "/d/incarnations/two/rec" })
        assert.notProperty(yield* index.find("rec"), "givenUp")
        yield* index.giveUp(part)
        yield* index.giveUp(part)
        const expected = {
          state: "Failed",
          packets: 7,
          folder: part.folder,
          givenUp,
          problem: "given up by ada: r; it had failed: p"
        }
        assert.deepInclude(yield* index.find("rec"), expected)
        // Its process tells of it once more.
        yield* index.note(recording({ state: "Failed" }))
        assert.deepInclude(yield* index.find("rec"), { state: "Failed", givenUp })
        const other = recording({ nodeId: "b", incarnation: "two", startedAt: 2 })
        assert.deepInclude(yield* Effect.flip(index.begin(other)), { _tag: "Conflict" })

        yield* index.publish(receipt("one", "recording.webm"))
        assert.notProperty(yield* index.find("rec"), "givenUp")
        yield* index.giveUp(part)
        assert.deepInclude(yield* index.find("rec"), { state: "Computed" })
      })
  )

  it.effect("enters what was given up anew from its manifest, when the store was lost", () =>
    Effect.gen(function* () {
      const { index } = yield* setUp
      const manifest = aManifest({ incarnation: "one" })
      yield* index.giveUp({
        folder: "/d/incarnations/one/rec",
        givenUp: { format: 1, by: "ada", at: 9, reason: "r" },
        manifest
      })
      assert.deepInclude(yield* index.find("rec"), {
        roomId: manifest.roomId,
        nodeId: manifest.nodeId,
        startedAt: manifest.startedAt,
        state: "Failed",
        problem: "given up by ada: r"
      })
    })
  )

  it.effect("is filled from the store when it was lost, and replaces nothing that is newer", () =>
    Effect.gen(function* () {
      const { bucket, folder, index, registry, store } = yield* setUp
      const put = (recordingId: string) =>
        store.putReceipt(recordingId, "receipt.json", receipt("one", "recording.webm", recordingId))
      yield* put("lost")
      // Computed first, and the first has the entry.
      yield* store.putReceipt("lost", "receipt-0-two.json", receipt("two", "second.webm", "lost", 3))
      // Computed alone first, and then together.
      yield* put("joined")
      yield* store.putReceipt(
        "joined",
        "receipt-joined-x.json",
        receipt(["one", "two"], "both.webm", "joined", 9)
      )
      yield* put("broken")
      fs.writeFileSync(path.join(folder, "broken", "receipt.json"), "{")
      fs.mkdirSync(path.join(folder, "nothing"))
      fs.writeFileSync(path.join(folder, "a file"), "")
      // Died between its receipt and the index.
      yield* put("open")
      yield* index.begin(recording({ recordingId: "open" }))
      // Begun by another process since.
      yield* put("anew")
      const anew = recording({ recordingId: "anew", incarnation: "two" })
      yield* index.begin(anew)
      yield* put("known")
      yield* index.publish(receipt("one", "other.webm", "known"))
      const known = yield* bucket.get("known")

      yield* registry.refuseWrites(true)
      const filling = yield* Effect.forkChild(index.refill)
      const passing = Effect.andThen(
        TestClock.adjust("1 second"),
        TestClock.withLive(Effect.sleep("2 millis"))
      )
      // It has come to a write by then, which is refused.
      yield* Effect.repeat(passing, { times: 20 })
      yield* registry.refuseWrites(false)
      yield* Effect.raceFirst(Fiber.join(filling), Effect.forever(passing))
      assert.deepInclude(yield* index.find("lost"), {
        state: "Computed",
        incarnation: "one",
        file: path.join(folder, "lost/recording.webm")
      })
      assert.deepInclude(yield* index.find("joined"), { file: path.join(folder, "joined/both.webm") })
      assert.deepInclude(yield* index.find("open"), { state: "Computed" })
      assert.deepStrictEqual(yield* index.find("anew"), anew)
      assert.deepStrictEqual(yield* bucket.get("known"), known)
      const all = yield* bucket.entries
      assert.deepStrictEqual(all.map(({ key }) => key).toSorted(), [
        "anew",
        "joined",
        "known",
        "lost",
        "open"
      ])
      yield* index.refill
      assert.deepStrictEqual(yield* bucket.entries, all)
    })
  )

  it.effect(
    "keeps a deleted one deleted: no receipt replaces it, and a lost index gets it back from the store",
    () =>
      Effect.gen(function* () {
        const { bucket, folder, index, store } = yield* setUp
        yield* store.putReceipt("rec", "receipt.json", receipt("one", "recording.webm"))
        yield* index.publish(receipt("one", "recording.webm"))
        const computed = yield* index.find("rec")
        assert(computed !== undefined)
        const deleted = { by: "ada", at: 3, reason: "asked to" }
        const entry = yield* index.markDeleted(computed, deleted)
        assert.deepInclude(entry, { state: "Deleted", deleted, sha256: "00" })
        assert.deepStrictEqual(yield* index.markDeleted(computed, { ...deleted, by: "bob" }), entry)
        yield* index.publish(receipt("one", "recording.webm"))
        yield* index.note(recording())
        yield* index.withdraw(recording())
        assert.strictEqual((yield* Effect.flip(index.begin(recording())))._tag, "Conflict")
        assert.deepStrictEqual(yield* index.find("rec"), entry)

        // Deleted while this store was away.
        yield* index.refill
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "rec")).toSorted(), [".lock", "deleted.json"])
        assert.deepInclude(yield* store.deletion("rec"), { ...deleted, roomId: "room", nodeId: "a" })

        // What is removed already is looked at, and not locked for it.
        fs.rmSync(path.join(folder, "rec", ".lock"))
        yield* index.refill
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "rec")), ["deleted.json"])

        // What came after it, of somebody who was killed before it looked again: media that has no receipt yet, and one that has.
        const media = path.join(folder, "rec", "late.webm")
        fs.writeFileSync(media, "")
        yield* index.refill
        assert.isFalse(fs.existsSync(media))
        yield* store.putReceipt("rec", "receipt-late.json", receipt("late", "late.webm"))
        yield* index.refill
        assert.strictEqual((yield* store.receipts("rec")).size, 0)

        // The index is lost, and whoever deleted it was killed at it.
        const stored = yield* bucket.get("rec")
        assert(stored !== undefined)
        yield* bucket.remove("rec", stored.revision)
        yield* store.putReceipt("rec", "receipt.json", receipt("one", "recording.webm"))
        yield* index.refill
        assert.deepInclude(yield* index.find("rec"), { state: "Deleted", deleted })
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "rec")).toSorted(), [".lock", "deleted.json"])
      })
  )

  it.effect("takes back one that could not begin, once the registry takes writes again", () =>
    Effect.gen(function* () {
      const { index, registry } = yield* setUp
      yield* index.begin(recording())
      yield* registry.refuseWrites(true)
      yield* index.withdraw(recording())
      assert.isDefined(yield* index.find("rec"))
      yield* registry.refuseWrites(false)
      yield* TestClock.adjust("2 seconds")
      assert.isUndefined(yield* index.find("rec"))
    })
  )

  it.effect("passes a later version's words on, and leaves alone what it cannot read", () =>
    Effect.gen(function* () {
      const { bucket, index } = yield* setUp
      const later = recording({ recordingId: "later", state: "Moved" })
      yield* bucket.create("later", pack({ v: 2, ...later, anew: true }))
      yield* bucket.create("rec", pack({ v: 3 }))
      assert.deepStrictEqual(yield* index.list, [later])
      assert.deepInclude(yield* Effect.flip(index.begin(recording())), { _tag: "Conflict" })
      yield* index.publish(receipt("one", "recording.webm"))
      assert.isUndefined(yield* index.find("rec"))
    })
  )
})
