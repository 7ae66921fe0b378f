import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { TestBus, TestRegistry } from "../src/testing/index.ts"
import { registryContract } from "./registry.contract.ts"

it.effect(
  "a watch that lags is told later of what changed, and one that begins meanwhile is not told twice",
  () =>
    Effect.gen(function* () {
      const registry = yield* TestRegistry.make(yield* TestBus.make())
      const bucket = yield* registry.connect("here").bucket("things")
      const watch = Effect.fnUntraced(function* () {
        const seen: Array<string> = []
        yield* Effect.forkScoped(
          Stream.runForEach(bucket.changes, (change) => Effect.sync(() => void seen.push(change._tag)))
        )
        yield* TestClock.adjust(1)
        return seen
      })
      const early = yield* watch()
      yield* registry.lagWatches(true)
      yield* bucket.create("a", new Uint8Array(1))
      const late = yield* watch()
      expect([early, late]).toEqual([["Caught"], ["Put", "Caught"]])
      yield* registry.lagWatches(false)
      yield* TestClock.adjust(1)
      expect([early, late]).toEqual([
        ["Caught", "Put"],
        ["Put", "Caught"]
      ])
    })
)

registryContract(
  "the store in memory",
  Effect.gen(function* () {
    const bus = yield* TestBus.make()
    const registry = yield* TestRegistry.make(bus)
    const names = new Set<string>()
    return {
      connect: (name) =>
        Effect.sync(() => {
          names.add(name)
          return registry.connect(name)
        }),
      cut: Effect.suspend(() => Effect.forEach(names, bus.disconnect, { discard: true })),
      mend: Effect.suspend(() => Effect.forEach(names, bus.reconnect, { discard: true })),
      loseStore: registry.loseStore,
      hang: registry.hang,
      resume: registry.resume
    }
  })
)
