/** An actor's own view of itself, on its cell. A class, because a process may have a hundred thousand. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Definition, Self, Spawned, SpawnOptions } from "../Actor.ts"
import type { SpawnError } from "../ActorError.ts"
import type { ActorRef } from "../ActorRef.ts"
import type { Address, Epoch, Id } from "../Address.ts"
import type { ChildInfo, DrainOutcome, DrainProgress, DrainRequest } from "../Drain.ts"
import type { Cause as StateCause, NodeState } from "../NodeState.ts"
import type { Terminated } from "../Supervision.ts"
import type { Cell } from "./cell.ts"
import type { AnyMessage } from "./rpcSeam.ts"
import type { StateListener } from "./stateListeners.ts"

/** Spawns a child of a parent, or an actor without one. */
export type SpawnIn = <R extends AnyMessage, Args, E, Env>(
  parent: Cell | undefined,
  definition: Definition<R, Args, E, Env>,
  id: Id,
  args: Args,
  options?: SpawnOptions
) => Effect.Effect<Spawned<R, E>, SpawnError, Exclude<Env, Scope.Scope>>

export class SelfOfCell implements Self {
  readonly #cell: Cell
  readonly #spawnIn: SpawnIn

  constructor(cell: Cell, spawnIn: SpawnIn) {
    this.#cell = cell
    this.#spawnIn = spawnIn
  }

  get address(): Address {
    return this.#cell.address
  }

  spawn<R extends AnyMessage, Args, E, Env>(
    definition: Definition<R, Args, E, Env>,
    id: Id,
    args: Args,
    options?: SpawnOptions
  ): Effect.Effect<Spawned<R, E>, SpawnError, Exclude<Env, Scope.Scope>> {
    return this.#spawnIn(this.#cell, definition, id, args, options)
  }

  children(): ReadonlyArray<ChildInfo> {
    return this.#cell.childInfos()
  }

  stop(detail: string): Effect.Effect<void> {
    return Effect.sync(() => this.#cell.end("itself", detail))
  }

  watch<R extends AnyMessage, Env>(
    ref: ActorRef<R>,
    onEnd: (terminated: Terminated) => Effect.Effect<void, never, Env>
  ): Effect.Effect<void, never, Env> {
    // Its defect is the actor's, as a handler's is: nobody else would hear of it.
    const told = Effect.tapCause(Effect.flatMap(ref.terminated, onEnd), (cause) =>
      Cause.hasDies(cause) ? Effect.sync(() => this.#cell.crashed("a watch", cause)) : Effect.void
    )
    return Effect.asVoid(Effect.forkIn(told, this.#cell.scope))
  }

  state(): NodeState {
    return this.#cell.drain.state
  }

  onStateChange(listener: StateListener): void {
    this.#cell.listen("self", listener)
  }

  setAdmission(to: "open" | "cordoned", cause: StateCause): boolean {
    return this.#cell.admit(to, cause)
  }

  setControl(to: "connected" | "isolated", cause: StateCause): boolean {
    return this.#cell.drain.move("control", to, cause)
  }

  setEpoch(epoch: Epoch | "unverified"): void {
    this.#cell.hold(epoch)
  }

  progress(): DrainProgress {
    return this.#cell.drain.progress()
  }

  drain(request: DrainRequest): Effect.Effect<DrainOutcome> {
    return drainCell(this.#cell, request)
  }
}

export const drainCell = (cell: Cell, request: DrainRequest): Effect.Effect<DrainOutcome> =>
  Effect.callback((resume) => cell.drain.begin(request, (outcome) => resume(Effect.succeed(outcome))))
