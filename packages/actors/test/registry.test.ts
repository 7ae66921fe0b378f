import * as Effect from "effect/Effect"
import { TestBus, TestRegistry } from "../src/testing/index.ts"
import { registryContract } from "./registry.contract.ts"

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
      loseStore: registry.loseStore
    }
  })
)
