import * as Effect from "effect/Effect"
import { TestBus } from "../src/testing/index.ts"
import { transportContract } from "./transport.contract.ts"

transportContract(
  "the bus in memory",
  Effect.gen(function* () {
    const bus = yield* TestBus.make()
    const names = new Set<string>()
    return {
      connect: (name) => {
        names.add(name)
        return bus.connect(name)
      },
      cut: Effect.suspend(() => Effect.forEach(names, bus.disconnect, { discard: true })),
      mend: Effect.suspend(() => Effect.forEach(names, bus.reconnect, { discard: true })),
      pausedWhile: (name, send) =>
        Effect.andThen(bus.pause(name), send).pipe(
          Effect.andThen(Effect.sleep(1_200)),
          Effect.andThen(bus.resume(name))
        )
    }
  })
)
