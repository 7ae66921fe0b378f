/** A small actor for tests: counts, waits at gates, spawns, dies. One runtime per process name on a shared bus. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Definition, Messages, Self } from "../src/index.ts"
import {
  concurrently,
  define,
  Epoch,
  makeActorSystem,
  MalformedMessage,
  message,
  NodeDraining,
  AlreadySpawned,
  protocol,
  Transport
} from "../src/index.ts"
import type { TestBus } from "../src/testing/index.ts"

export class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", { limit: Schema.Int }) {}

export const Counter = protocol(
  message("Add", { payload: { by: Schema.Int }, success: Schema.Int, error: TooMuch }),
  message("Total", { success: Schema.Int }),
  message("Wait", { payload: { gate: Schema.String } }),
  message("WaitBeside", { payload: { gate: Schema.String } }),
  message("Die", {}),
  message("End", { payload: { detail: Schema.String } }),
  message("Spawn", {
    payload: {
      id: Schema.String,
      holds: Schema.optionalKey(Schema.Literals(["serving", "sealing"])),
      prefer: Schema.optionalKey(Schema.Boolean)
    },
    error: Schema.Union([NodeDraining, AlreadySpawned, MalformedMessage])
  }),
  message("Hold", { payload: Epoch }),
  message("Bytes", { payload: { bytes: Schema.Uint8Array }, success: Schema.Uint8Array })
)

/** What a test holds of an actor: gates that its handlers wait at, and a log of what happened in which order. */
export class Probe {
  readonly log: Array<string> = []
  readonly #gates = new Map<string, Deferred.Deferred<void>>()
  readonly #reached = new Map<string, Deferred.Deferred<void>>()

  #of(map: Map<string, Deferred.Deferred<void>>, name: string) {
    let gate = map.get(name)
    if (gate === undefined) map.set(name, (gate = Deferred.makeUnsafe<void>()))
    return gate
  }

  wait(name: string) {
    return Effect.suspend(() => {
      Deferred.doneUnsafe(this.#of(this.#reached, name), Effect.void)
      return Deferred.await(this.#of(this.#gates, name))
    })
  }
  open(name: string) {
    return Effect.sync(() => Deferred.doneUnsafe(this.#of(this.#gates, name), Effect.void))
  }
  reached(name: string) {
    return Deferred.await(this.#of(this.#reached, name))
  }
}

type CounterDefinition = Definition<Messages<typeof Counter>, Probe, TooMuch, Scope.Scope>

export const counter: CounterDefinition = define("counter", Counter, (self: Self, probe: Probe) =>
  Effect.gen(function* () {
    const name = self.address.id
    let total = 0
    if (name === "slow") {
      // Its finalizer takes a turn of the event loop: an end that does not wait for it is told before.
      yield* Effect.acquireUseRelease(
        Effect.sync(() => probe.log.push("acquired slow")),
        () => probe.wait("slow start"),
        () =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => probe.log.push("released slow"))
          )
      )
    }
    if (name === "stillborn") return yield* new TooMuch({ limit: 0 })
    probe.log.push(`start ${name}`)
    yield* Effect.addFinalizer(() => Effect.sync(() => probe.log.push(`release ${name}`)))
    return {
      Add: ({ by }) =>
        Effect.suspend(() => {
          if (by > 100) return new TooMuch({ limit: 100 })
          return Effect.succeed((total += by))
        }),
      Total: () => Effect.sync(() => total),
      Wait: ({ gate }) => probe.wait(gate),
      WaitBeside: ({ gate }) => concurrently(probe.wait(gate)),
      Die: () => Effect.die(new Error("no reason")),
      End: ({ detail }) => self.stop(detail),
      Spawn: ({ id, ...options }) => Effect.asVoid(self.spawn(counter, id, probe, options)),
      Hold: (epoch) => Effect.sync(() => self.setEpoch(epoch)),
      Bytes: ({ bytes }) => Effect.succeed(bytes.slice().reverse())
    }
  })
)

/** A runtime of the process `name` on `bus`. */
export const system = Effect.fnUntraced(function* (bus: TestBus.TestBus, name: string) {
  const transport = yield* bus.connect(name)
  return yield* makeActorSystem({ cluster: "test", nodeId: name }).pipe(
    Effect.provideService(Transport, transport)
  )
})
