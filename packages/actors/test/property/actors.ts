/**
 * The actors that a run drives: a node, and named ones below it. They tell the model all that happens to them, and hold their names as
 * an application would: claimed at the start, verified each time their process was away, given back at the end.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  AlreadyOwned,
  Definition,
  Messages,
  NodeIsolated,
  RegistryUnavailable,
  Self,
  Terminated
} from "../../src/index.ts"
import { concurrently, define, Epoch, Id, message, NodeDraining, protocol } from "../../src/index.ts"
import type { Directory } from "../../src/Directory.ts"
import type { HeldLease } from "../../src/Lease.ts"
import type { Actor, Life, Model } from "./model.ts"
import { spawned } from "./model.ts"

/** Every user message names itself, and the epoch that its sender believes in. */
const header = { n: Schema.Int, epoch: Schema.optionalKey(Epoch) }
const Holds = Schema.Literals(["serving", "sealing"])

export const Protocol = protocol(
  message("Put", { payload: { ...header, ms: Schema.Number }, success: Schema.Int }),
  message("PutBeside", { payload: { ...header, ms: Schema.Number }, success: Schema.Int }),
  message("Crash", { payload: header }),
  message("End", { payload: header }),
  message("Open", {
    payload: { ...header, kind: Id, id: Id, holds: Holds, prefer: Schema.Boolean, restart: Schema.Boolean },
    success: Schema.Literals(["taken", "AlreadySpawned"]),
    error: NodeDraining
  })
)

/** What a process's actors share. */
export interface Place {
  readonly process: string
  readonly model: Model
  readonly directory: Directory["Service"]
  readonly lease: HeldLease
  /** Notes the end of an actor of the process. */
  readonly watch: (terminated: Effect.Effect<Terminated>, actor: Actor) => void
}

interface Args {
  readonly actor: Actor
  readonly place: Place
  readonly parent: Life | undefined
  readonly holds: "serving" | "sealing"
}

/** Started anew after a crash, for two times. */
const twice = { restart: Schedule.spaced("300 millis").pipe(Schedule.upTo({ times: 2 })) }

type NoName = AlreadyOwned | NodeIsolated | RegistryUnavailable
type Named = Definition<Messages<typeof Protocol>, Args, NoName, Scope.Scope>

/** Claims the actor's name, and keeps to what the registry says of it. */
const claimName = Effect.fnUntraced(function* (self: Self, life: Life, { directory, lease, model }: Place) {
  const name = { kind: life.kind, id: life.id }
  const hold = (epoch: Epoch, under: Epoch) => {
    life.held = { epoch, lease: under }
    self.setEpoch(epoch)
    model.note(`${life.label} holds revision ${epoch.revision}`)
  }
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      const { held } = life
      life.held = undefined
      return held === undefined ? Effect.void : directory.release(name, held.epoch, lease)
    })
  )
  // Read before: should the lease lapse while this is under way, what it comes to is not believed.
  const under = yield* lease.epoch
  hold(yield* directory.claim(name, lease), under)

  const verify = Effect.gen(function* () {
    const now = yield* lease.epoch
    const verified = yield* directory.verify(name, lease)
    if (verified._tag !== "Superseded") return hold(verified.epoch, now)
    life.held = undefined
    model.count("superseded")
    model.note(`${life.label} is superseded by ${verified.by.inc}`)
    life.ending = true
    yield* self.stop("superseded")
  }).pipe(
    Effect.retry({
      schedule: Schedule.spaced("1 second"),
      while: (error) => error._tag === "RegistryUnavailable"
    }),
    // Cut off once more: the next resumption asks again.
    Effect.catchTag("NodeIsolated", () => Effect.void)
  )
  yield* Stream.merge(lease.resumed, directory.registryLost).pipe(
    Stream.runForEach(() => verify),
    Effect.forkScoped
  )
})

const behaviour =
  (kind: "node" | "room" | "recording") =>
  (self: Self, { actor, holds, parent, place }: Args) =>
    Effect.gen(function* () {
      const { model } = place
      const { id, incarnation } = self.address
      const life = model.born({ actor, kind, id, process: place.process, incarnation, parent, holds })
      yield* Effect.addFinalizer(() => Effect.sync(() => model.released(life)))
      self.onStateChange((state) => model.changed(life, state))
      if (kind !== "node") yield* claimName(self, life, place)

      const put = ({ epoch, ms, n }: { readonly n: number; readonly ms: number; readonly epoch?: Epoch }) => {
        model.handles(life, n, epoch)
        return ms === 0 ? Effect.succeed(n) : Effect.as(Effect.sleep(ms), n)
      }
      return {
        Put: put,
        PutBeside: (payload: Parameters<typeof put>[0]) => concurrently(put(payload)),
        Crash: ({ epoch, n }: { readonly n: number; readonly epoch?: Epoch }) => {
          model.handles(life, n, epoch)
          life.ending = true
          return Effect.die(new Error("asked to crash"))
        },
        End: ({ epoch, n }: { readonly n: number; readonly epoch?: Epoch }) => {
          model.handles(life, n, epoch)
          life.ending = true
          return self.stop("asked to end")
        },
        Open: (child: {
          readonly n: number
          readonly epoch?: Epoch
          readonly kind: Id
          readonly id: Id
          readonly holds: "serving" | "sealing"
          readonly prefer: boolean
          readonly restart: boolean
        }) => {
          model.handles(life, child.n, child.epoch)
          const born = spawned()
          const definition = child.kind === "recording" ? recording : room
          return Effect.suspend(() => {
            const admission = model.admission(life, child.holds, child.prefer)
            return self
              .spawn(
                definition,
                child.id,
                { actor: born, holds: child.holds, parent: life, place },
                {
                  holds: child.holds,
                  prefer: child.prefer,
                  onCrash: child.restart ? twice : "stop",
                  capacity: 4
                }
              )
              .pipe(
                Effect.catchTag("MalformedMessage", Effect.die),
                Effect.match({
                  onSuccess: ({ isOver, ref }) => {
                    born.isOver = isOver
                    place.watch(ref.terminated, born)
                    return "taken" as const
                  },
                  onFailure: (error) => error._tag
                }),
                Effect.tap((outcome) => Effect.sync(() => model.spawned(life, child, admission, outcome))),
                Effect.flatMap((outcome) =>
                  outcome === "NodeDraining" ? new NodeDraining({ nodeId: id }) : Effect.succeed(outcome)
                )
              )
          })
        }
      }
    })

export const node: Named = define("node", Protocol, behaviour("node"))
const room: Named = define("room", Protocol, behaviour("room"))
const recording: Named = define("recording", Protocol, behaviour("recording"))
