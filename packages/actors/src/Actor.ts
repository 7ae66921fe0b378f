/**
 * What an actor is: a kind, a protocol, and a behaviour that starts in the actor's own scope and returns its handlers. What the
 * behaviour acquires lives as long as the actor and is released in reverse order when it ends, whatever ended it.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ActorCrashed, SpawnError } from "./ActorError.ts"
import type { ActorRef } from "./ActorRef.ts"
import type { Address, Epoch, Id } from "./Address.ts"
import type { ChildInfo, DrainDeadlines, DrainOutcome, DrainProgress, DrainRequest, Holds } from "./Drain.ts"
import type { OnCrash, Terminated } from "./Supervision.ts"
import type { AnyMessage, Handlers, HandlersEnv, Protocol } from "./internal/rpcSeam.ts"
import type { Cause, NodeState, StateChange } from "./NodeState.ts"

export interface Definition<R extends AnyMessage, Args, E, Env> {
  readonly kind: string
  readonly protocol: Protocol<R>
  readonly behaviour: (self: Self, args: Args) => Effect.Effect<Handlers<R, any>, E, Env>
}

/** Defines a kind of actor. `kind` is an id. */
export const define = <R extends AnyMessage, Args, E, Env, H extends Handlers<R, any>>(
  kind: string,
  protocol: Protocol<R>,
  behaviour: (self: Self, args: Args) => Effect.Effect<H, E, Env>
): Definition<R, Args, E, Env | HandlersEnv<H>> => ({ kind, protocol, behaviour })

export interface SpawnOptions {
  /**
   * What a drain of the parent makes of this child. `serving` (default): refused once admission is closed, waited for, ended by an
   * evacuation. `sealing`: may begin while what it belongs to is served, is waited for, and only a kill ends it.
   */
  readonly holds?: Holds
  /** Take a serving child although the parent drains, as long as it does not evacuate. Default false. */
  readonly prefer?: boolean
  /** Messages the mailbox holds. Default 1024. */
  readonly capacity?: number
  /** Milliseconds a running handler may go on after a stop. Default 5000. */
  readonly stopGraceMs?: number
  /**
   * Milliseconds for a handler that was interrupted, and then for each finalizer of the actor's scope, when it ends. What takes longer is
   * logged and left behind. Default 30,000.
   */
  readonly finalizerMs?: number
  /** Default: it stops. */
  readonly onCrash?: OnCrash
  /** For drains that bring no deadlines of their own. Default: none, a drain lasts as long as the longest child. */
  readonly deadlines?: DrainDeadlines
}

/** A child as its parent sees it: a reference, and how its start went. */
export interface Spawned<R extends AnyMessage, E> {
  readonly ref: ActorRef<R>
  /** Succeeds when the child serves; fails with its behaviour's own error when it could not start. */
  readonly started: Effect.Effect<void, E | ActorCrashed>
  /** True from the moment its end has begun: it takes no message, and keeps its name until it is gone. */
  readonly isOver: () => boolean
  /** What a drain of the child came to; waits for its end. */
  readonly outcome: Effect.Effect<DrainOutcome>
}

/** An actor's own view of itself. Everything but `spawn`'s start is synchronous. Methods: they are not to be taken off it. */
export interface Self {
  readonly address: Address

  /**
   * Registers a child and starts it. *Accepted* means registered, synchronously: a drain that comes later waits for it. Anything slow
   * belongs in the child's behaviour.
   */
  spawn<R extends AnyMessage, Args, E, Env>(
    definition: Definition<R, Args, E, Env>,
    id: Id,
    args: Args,
    options?: SpawnOptions
  ): Effect.Effect<Spawned<R, E>, SpawnError, Exclude<Env, Scope.Scope>>

  children(): ReadonlyArray<ChildInfo>

  /** Ends this actor after the message it handles now. Does not wait. */
  stop(detail: string): Effect.Effect<void>

  /** Runs `onEnd` when `ref`'s life is over, in this actor's scope, beside its messages. */
  watch<R extends AnyMessage, Env>(
    ref: ActorRef<R>,
    onEnd: (terminated: Terminated) => Effect.Effect<void, never, Env>
  ): Effect.Effect<void, never, Env | Scope.Scope>

  state(): NodeState
  /** Calls back after each change, synchronously, until the actor ends. */
  onStateChange(listener: (state: NodeState, change: StateChange) => void): void
  setAdmission(to: "open" | "cordoned", cause: Cause): boolean
  setControl(to: "connected" | "isolated", cause: Cause): boolean

  /**
   * Says by which epoch this actor holds its name: messages that carry another are refused with `StaleEpoch`. While it is `unverified`
   * whether it still does, all that carry one are.
   */
  setEpoch(epoch: Epoch | "unverified"): void

  /** How far its drain is, and who holds it up. */
  progress(): DrainProgress

  /** Begins or joins this actor's drain; see `Drain`. */
  drain(request: DrainRequest): Effect.Effect<DrainOutcome>
}
