import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { ComputeProgress } from "../../src/recording/Compute.ts"
import { defaultAtOnce, makeComputeQueue } from "../../src/recording/ComputeQueue.ts"

/** Puts a recording in the line of `queue`; `ran` has those whose turn came, and `end` is what it waits for then. */
const stage = Effect.fnUntraced(function* (atOnce: number) {
  const queue = yield* makeComputeQueue(atOnce)
  const ran: Array<string> = []
  const put = Effect.fnUntraced(function* (recordingId: string, startedAt: number) {
    const end = yield* Deferred.make<string, string>()
    let told: (progress: ComputeProgress) => void = () => {}
    const fiber = yield* queue
      .inTurn({ recordingId, startedAt }, (tell) => {
        ran.push(recordingId)
        told = tell
        tell({ step: "mux", bytesRead: 50, journalBytes: 100 })
        return Deferred.await(end)
      })
      .pipe(Effect.exit, Effect.forkChild({ startImmediately: true }))
    const tells = (step: ComputeProgress["step"], bytesRead: number) =>
      Effect.sync(() => told({ step, bytesRead, journalBytes: 100 }))
    return { end, fiber, tells, ends: Effect.andThen(Deferred.succeed(end, recordingId), Fiber.join(fiber)) }
  })
  return { queue, ran, put }
})

describe("the line of recordings to be computed", () => {
  it("lets one run per two cores, and one on a single core", () => {
    assert.isAtLeast(defaultAtOnce, 1)
    assert.isTrue(Number.isInteger(defaultAtOnce))
  })

  it.effect("never lets more run at once than it may, and whoever waits knows the position", () =>
    Effect.gen(function* () {
      const { put, queue, ran } = yield* stage(2)
      const all = yield* Effect.forEach(["a", "b", "c", "d"], (id, i) => put(id, i))
      assert.deepStrictEqual(ran, ["a", "b"])
      assert.deepStrictEqual(
        queue.line().map(({ position, recordingId, step }) => [recordingId, step, position]),
        [
          ["a", "mux", undefined],
          ["b", "mux", undefined],
          ["c", "queued", 1],
          ["d", "queued", 2]
        ]
      )
      yield* all[1]?.ends ?? Effect.void
      assert.deepStrictEqual(ran, ["a", "b", "c"])
      assert.strictEqual(queue.progressOf("d")?.position, 1)
      assert.strictEqual(queue.progressOf("b"), undefined)
      for (const { ends } of all) yield* ends
      assert.deepInclude(queue.stats(), { waiting: 0, running: 0 })
      assert.strictEqual(queue.stats().ended.computed.count, 4)
    })
  )

  it.effect("takes the recording that began first, whoever came first to the line", () =>
    Effect.gen(function* () {
      const { put, ran } = yield* stage(1)
      const all = yield* Effect.forEach(
        [
          ["runs", 9],
          ["young", 8],
          ["old", 1],
          ["as old", 1]
        ] as const,
        ([id, startedAt]) => put(id, startedAt)
      )
      for (const { ends } of all) yield* Effect.forkChild(ends)
      yield* Effect.forEach(all, ({ fiber }) => Fiber.await(fiber))
      assert.deepStrictEqual(ran, ["runs", "old", "as old", "young"])
    })
  )

  it.effect("goes on after a failure, an interruption, and one that leaves while it waits", () =>
    Effect.gen(function* () {
      const { put, queue, ran } = yield* stage(1)
      const failing = yield* put("failing", 1)
      const interrupted = yield* put("interrupted", 2)
      const leaving = yield* put("leaving", 3)
      const last = yield* put("last", 4)
      yield* Fiber.interrupt(leaving.fiber)
      yield* Deferred.fail(failing.end, "a reason")
      yield* Fiber.join(failing.fiber)
      yield* Fiber.interrupt(interrupted.fiber)
      yield* last.ends
      assert.deepStrictEqual(ran, ["failing", "interrupted", "last"])
      const { ended } = queue.stats()
      assert.deepStrictEqual([ended.computed.count, ended.failed.count, ended.interrupted.count], [1, 1, 1])
    })
  )

  it.effect("says how long the oldest waits, how long computations ran, and how far one is", () =>
    Effect.gen(function* () {
      const { put, queue } = yield* stage(1)
      const first = yield* put("first", 1)
      yield* TestClock.adjust("2 seconds")
      const second = yield* put("second", 2)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(queue.stats().oldestWaitMs, 3000)
      // Half of the journal in the second of four steps.
      assert.deepStrictEqual(queue.progressOf("first"), { step: "mux", fraction: 0.35 })
      yield* first.tells("encode", 50)
      assert.strictEqual(queue.progressOf("first")?.fraction, 0.725)
      yield* first.tells("verify", 100)
      assert.deepStrictEqual(queue.progressOf("first"), { step: "verify", fraction: 0.725 })
      yield* first.tells("index", 0)
      assert.deepStrictEqual(queue.progressOf("first"), { step: "index", fraction: 0 })
      assert.deepStrictEqual(queue.progressOf("second"), { step: "queued", fraction: 0, position: 1 })
      yield* first.ends
      assert.strictEqual(queue.stats().ended.computed.ms, 5000)
      assert.strictEqual(queue.stats().oldestWaitMs, 0)
      yield* second.ends
    })
  )
})
