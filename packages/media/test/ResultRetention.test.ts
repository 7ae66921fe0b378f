import { TestBus, TestRegistry } from "@ebb/actors/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Receipt } from "../src/recording/index.ts"
import { RecordingStore } from "../src/recording/index.ts"
import * as IncarnationFolder from "../src/recording/IncarnationFolder.ts"
import { RecordingIndex } from "../src/RecordingIndex.ts"
import { keepRemovingOldResults } from "../src/ResultRetention.ts"
import { temporaryFolder } from "./recording/fixtures.ts"

const aReceipt = (recordingId: string): Receipt => ({
  format: 1,
  recordingId,
  roomId: "room",
  state: "Computed",
  parts: [],
  tracks: [],
  bytes: 0,
  durationMs: 0,
  computedAt: 0,
  computedBy: "a",
  software: "Ebb"
})

it.effect(
  "a result that cannot be removed is tried again at the next hour, and is in nobody's way",
  () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryFolder
      const results = path.join(dataDir, "results")
      const registry = yield* TestRegistry.make(yield* TestBus.make())
      const services = yield* Layer.build(
        RecordingIndex.layer.pipe(
          Layer.provideMerge(registry.layer("p")),
          Layer.provideMerge(RecordingStore.folder(results))
        )
      )
      yield* Effect.gen(function* () {
        const store = yield* RecordingStore
        const index = yield* RecordingIndex
        for (const id of ["stuck", "taken"]) {
          yield* store.putReceipt(id, "receipt.json", aReceipt(id))
          yield* index.publish(aReceipt(id))
        }
        // What is noted of it cannot be read.
        const noted = path.join(results, "stuck", "deleted.json")
        fs.mkdirSync(noted)
        const own = yield* IncarnationFolder.acquire(dataDir, { incarnation: "own", nodeId: "a" })
        yield* keepRemovingOldResults({ nodeId: "a", keepMs: 3_600_000, dataDir, own }).pipe(
          Effect.forkScoped({ startImmediately: true })
        )
        const hoursUntil = (isReached: () => boolean) =>
          Effect.gen(function* () {
            for (let hours = 0; !isReached() && hours < 200; hours++) {
              yield* TestClock.adjust("1 hour")
              yield* TestClock.withLive(Effect.sleep("10 millis"))
            }
            assert.isTrue(isReached())
          })
        const isGone = (id: string) => !fs.existsSync(path.join(results, id, "receipt.json"))
        yield* hoursUntil(() => isGone("taken"))
        assert.isFalse(isGone("stuck"))
        fs.rmdirSync(noted)
        yield* hoursUntil(() => isGone("stuck"))
        assert.deepInclude(yield* store.deletion("stuck"), { by: "the policy of node a", policy: true })
      }).pipe(Effect.provide(services))
    }),
  20_000
)
