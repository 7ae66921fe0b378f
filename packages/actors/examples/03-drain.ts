/**
 * A host of sessions that is told to stop: it takes no new one, serves those it has, says how far it is, and ends when the last has ended.
 *
 *     node_modules/.bin/node packages/actors/examples/03-drain.ts
 */
import {
  ActorSystem,
  AlreadySpawned,
  define,
  Id,
  MalformedMessage,
  message,
  NodeDraining,
  protocol,
  Transport
} from "@ebb/actors"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"

const Session = protocol(message("Say", { payload: { word: Schema.String }, success: Schema.String }))
const Host = protocol(
  message("Open", {
    payload: { id: Id, ms: Schema.Int },
    error: Schema.Union([NodeDraining, AlreadySpawned, MalformedMessage])
  })
)

const session = define("session", Session, (self, ms: number) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Console.log(`${self.address.id} is over`))
    // A session ends by itself, as a call does.
    yield* Effect.forkScoped(Effect.delay(self.stop("its time is over"), ms))
    return { Say: ({ word }) => Effect.succeed(`${self.address.id} hears ${word}`) }
  })
)

const host = define("host", Host, (self) =>
  Effect.succeed({
    // Accepted means registered, in this turn: a drain that comes later waits for it, one that came before refuses it.
    Open: ({ id, ms }: { readonly id: string; readonly ms: number }) =>
      Effect.asVoid(self.spawn(session, id, ms))
  })
)

const program = Effect.gen(function* () {
  const system = yield* ActorSystem
  const { ref } = yield* system.spawn(host, "h", undefined)
  yield* ref.ask("Open", { id: "short", ms: 300 })
  yield* ref.ask("Open", { id: "long", ms: 900 })

  const request = { by: "example", reason: "a new version", reversible: true, evacuate: false, deadlines: {} }
  const draining = yield* Effect.forkChild(system.drain("host", "h", request), { startImmediately: true })
  const refused = yield* Effect.flip(ref.ask("Open", { id: "late", ms: 1 }))
  yield* Console.log(`late is refused: ${refused._tag}`)
  const long = system.local(Session, "session", "long")
  if (long !== undefined) yield* Console.log(yield* long.ask("Say", { word: "hello" }))
  const progress = yield* system.system(system.incarnation).ask("Progress", { kind: "host", id: "h" })
  yield* Console.log(`${progress.state.life}, waits for`, progress.blockers.map(({ id }) => id).join(", "))
  yield* Console.log((yield* Fiber.join(draining))._tag, (yield* ref.terminated).detail)
})

const runtime = ActorSystem.layer({ cluster: "example", nodeId: "only" }).pipe(
  Layer.provide(Transport.layerNone),
  Layer.provide(Logger.layer([]))
)
await Effect.runPromise(Effect.provide(program, runtime))
