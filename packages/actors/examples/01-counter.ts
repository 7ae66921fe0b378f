/**
 * One actor in one process, without a network: it keeps state, answers, refuses, crashes, and is restarted.
 *
 *     node_modules/.bin/node packages/actors/examples/01-counter.ts
 */
import { ActorSystem, define, message, protocol, Transport } from "@ebb/actors"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", { limit: Schema.Int }) {}

// What may be said to it, and what it answers: the same here and from another process.
const Counter = protocol(
  message("Add", { payload: { by: Schema.Int }, success: Schema.Int, error: TooMuch }),
  message("Break", {})
)

const counter = define("counter", Counter, () =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Console.log("released"))
    let total = 0
    return {
      Add: ({ by }) =>
        by > 100 ? Effect.fail(new TooMuch({ limit: 100 })) : Effect.sync(() => (total += by)),
      Break: () => Effect.die("no reason")
    }
  })
)

const program = Effect.gen(function* () {
  const system = yield* ActorSystem
  const { ref } = yield* system.spawn(counter, "one", undefined, {
    onCrash: { restart: Schedule.exponential("100 millis") }
  })
  yield* ref.tell("Add", { by: 1 })
  yield* Console.log("total", yield* ref.ask("Add", { by: 2 }))
  const refused = yield* Effect.flip(ref.ask("Add", { by: 101 }))
  yield* Console.log(`refused: ${refused._tag}`)
  // Its outcome is unknown: the runtime says so, and does not do it again.
  const crashed = yield* Effect.flip(ref.ask("Break", undefined))
  yield* Console.log(`${crashed._tag}, may it be sent again? ${"retry" in crashed ? crashed.retry : "no"}`)
  yield* Console.log("total after the restart", yield* ref.ask("Add", { by: 5 }))
})

const runtime = ActorSystem.layer({ cluster: "example", nodeId: "only" }).pipe(
  Layer.provide(Transport.layerNone),
  // The crash is logged; this example says it in its own words.
  Layer.provide(Logger.layer([]))
)
await Effect.runPromise(Effect.provide(program, runtime))
