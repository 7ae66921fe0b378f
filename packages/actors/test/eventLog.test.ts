import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestBus, TestEventLog } from "../src/testing/index.ts"
import { eventLogContract } from "./eventLog.contract.ts"

eventLogContract(
  "the log in memory",
  Effect.gen(function* () {
    const bus = yield* TestBus.make()
    const log = TestEventLog.make(bus)
    const names = new Set<string>()
    return {
      connect: (name) =>
        Effect.sync(() => {
          names.add(name)
          return log.connect(name)
        }),
      cut: Effect.suspend(() => Effect.forEach(names, bus.disconnect, { discard: true })),
      mend: Effect.suspend(() => Effect.forEach(names, bus.reconnect, { discard: true }))
    }
  })
)

it.effect("an append whose answer is lost was done", () =>
  Effect.gen(function* () {
    const log = TestEventLog.make(yield* TestBus.make())
    yield* log.loseNextReply("here")
    const here = log.connect("here")
    const error = yield* Effect.flip(here.append("a", new Uint8Array([1]), 0))
    expect(error._tag).toBe("RegistryUnavailable")
    expect((yield* here.read("a")).length).toBe(1)
  })
)
