/**
 * An actor in one process, asked and followed from another, over NATS. The second finds the first by its lease; nobody is configured with an
 * address.
 *
 *     nats-server -js -a 127.0.0.1 -sd /tmp/ebb-nats &
 *     node_modules/.bin/node packages/actors/examples/02-two-processes.ts serve &
 *     node_modules/.bin/node packages/actors/examples/02-two-processes.ts ask
 */
import { hostname } from "node:os"
import { ActorSystem, define, holdLease, Idempotent, layerNats, Leases, message, protocol } from "@ebb/actors"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

const Shop = protocol(
  // Asked twice with one order number, it is done once and answered twice.
  message("Order", { payload: { number: Schema.String, cups: Schema.Int }, success: Schema.Int }).annotate(
    Idempotent,
    { key: ({ number }: { readonly number: string }) => number }
  ),
  message("Follow", { payload: { upTo: Schema.Int }, success: Schema.String, stream: true })
)

const shop = define("shop", Shop, () => {
  let sold = 0
  return Effect.succeed({
    Order: ({ cups }: { readonly cups: number }) => Effect.sync(() => (sold += cups)),
    Follow: ({ upTo }: { readonly upTo: number }) =>
      Stream.range(1, upTo).pipe(Stream.map((cup) => `cup ${cup} of ${sold}`))
  })
})

const serve = Effect.gen(function* () {
  const system = yield* ActorSystem
  yield* system.spawn(shop, "corner", undefined)
  const startedAt = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* holdLease({
    nodeId: system.nodeId,
    incarnation: system.incarnation,
    initial: {
      proto: [1, 1],
      version: "example",
      life: "Serving",
      admission: "open",
      host: hostname(),
      pid: process.pid,
      startedAt,
      rooms: 0,
      recordings: 0
    }
  })
  yield* Console.log(`${system.nodeId} serves`)
  return yield* Effect.never
})

const ask = Effect.gen(function* () {
  const system = yield* ActorSystem
  const nodes = yield* (yield* Leases).current
  const node = nodes.find(({ version }) => version === "example")
  if (node === undefined) return yield* Effect.die("nobody serves: start this example with `serve` first")
  const ref = system.ref(Shop, { kind: "shop", id: "corner", incarnation: node.inc })
  const order = { number: `order-${process.pid}`, cups: 3 }
  yield* Console.log("sold", yield* ref.ask("Order", order))
  yield* Console.log("sold", yield* ref.ask("Order", order), "(asked twice, done once)")
  yield* Stream.runForEach(ref.stream("Follow", { upTo: 3 }), (line) => Console.log(line))
})

const role = process.argv[2] === "serve" ? "serve" : "ask"
const nats = layerNats({
  servers: process.env["EBB_NATS"] ?? "127.0.0.1:4222",
  name: `example-${role}`,
  cluster: "example"
})
const services = Layer.mergeAll(ActorSystem.layer({ cluster: "example", nodeId: role }), Leases.layer).pipe(
  Layer.provideMerge(nats)
)
const run = <A, E>(program: Effect.Effect<A, E, Layer.Success<typeof services> | Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.provide(program, services)))
await (role === "serve" ? run(serve) : run(ask))
