/**
 * The messages that every actor understands whatever its protocol, and that nothing in its mailbox holds up: Drain, Undrain, Admit,
 * Stop, Watch. They travel on a subject of their own, so that NATS permissions can keep control clients from them.
 */
import * as Schema from "effect/Schema"
import { NoSuchActor, UndrainRefused } from "./ActorError.ts"
import { Epoch, Id } from "./Address.ts"
import { DrainDeadlines, Milliseconds } from "./Drain.ts"
import { message, protocol } from "./Protocol.ts"

const target = { kind: Id, id: Id }
/** Kept in the target's state and told in its reports, which have to fit into one frame. */
const cause = {
  by: Schema.String.check(Schema.isMaxLength(256)),
  reason: Schema.String.check(Schema.isMaxLength(1024))
}

/** One life's end, as told to far watchers. `by` is open: a later version may know another. */
export const TerminatedWire = Schema.Struct({ by: Schema.String, detail: Schema.String })

/** `DrainProgress` on the wire; times in milliseconds. */
export const ProgressWire = Schema.Struct({
  state: Schema.Struct({ life: Schema.String, admission: Schema.String, control: Schema.String }),
  serving: Schema.Int,
  sealing: Schema.Int,
  blockers: Schema.Array(
    Schema.Struct({ kind: Schema.String, id: Id, holds: Schema.String, ageMs: Schema.Finite })
  ),
  deadlines: DrainDeadlines,
  phaseMs: Schema.optionalKey(Milliseconds),
  leftMs: Schema.optionalKey(Milliseconds)
})

export const SystemProtocol = protocol(
  /** Begins or joins a drain; answers when admission is closed, not when the drain is over: `Watch` for that. */
  message("Drain", {
    payload: {
      ...target,
      ...cause,
      reversible: Schema.Boolean,
      evacuate: Schema.Boolean,
      deadlines: DrainDeadlines
    },
    error: NoSuchActor
  }),
  message("Undrain", {
    payload: { ...target, ...cause },
    error: Schema.Union([NoSuchActor, UndrainRefused])
  }),
  /** Cordons or uncordons. `changed: false` when it was so already, or when it drains. */
  message("Admit", {
    payload: { ...target, ...cause, admission: Schema.Literals(["open", "cordoned"]) },
    success: Schema.Struct({ changed: Schema.Boolean }),
    error: NoSuchActor
  }),
  /** How far its drain is, and who holds it up; also while it does not drain. Words are open: a later version may know others. */
  message("Progress", { payload: target, success: ProgressWire, error: NoSuchActor }),
  message("Stop", {
    payload: { ...target, detail: Schema.String.check(Schema.isMaxLength(1024)), kill: Schema.Boolean },
    error: NoSuchActor
  }),
  /**
   * Answers when the target has ended, or without `terminated` after `holdMs`: then it lives, and the watcher asks again. One name may have
   * several lives, one after the other: with `life`, as an answer before gave it, or with the `epoch` that the watcher knows it by, only
   * that one is meant, and `NoSuchActor` is its end.
   */
  message("Watch", {
    payload: {
      ...target,
      holdMs: Milliseconds,
      life: Schema.optionalKey(Schema.Int),
      epoch: Schema.optionalKey(Epoch)
    },
    success: Schema.Struct({
      terminated: Schema.optionalKey(TerminatedWire),
      life: Schema.optionalKey(Schema.Int)
    }),
    error: NoSuchActor
  })
)
