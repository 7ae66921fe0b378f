/**
 * A typed reference to an actor, here or in another process: the caller does not see which. Holds no state of the actor and keeps
 * nothing alive; it may outlive what it refers to, and then says `NoSuchActor`.
 */
import type * as Effect from "effect/Effect"
import type { AskError, TellError } from "./ActorError.ts"
import type { Address } from "./Address.ts"
import type { Terminated } from "./internal/cell.ts"
import type { AnyMessage, Failure, Input, Success, Tag } from "./internal/rpcSeam.ts"

export interface AskOptions {
  /** Milliseconds until the asker gives up with `AskTimeout`. Default 5000. The message may be handled all the same. */
  readonly timeoutMs?: number
}

export const defaultAskTimeoutMs = 5000

export interface ActorRef<R extends AnyMessage> {
  readonly address: Address

  /** Sends a message and awaits its answer. At most once: nothing is sent again by itself. */
  readonly ask: <T extends Tag<R>>(
    tag: T,
    input: Input<R, T>,
    options?: AskOptions
  ) => Effect.Effect<Success<R, T>, Failure<R, T> | AskError>

  /** Sends a message and does not wait. Success means: taken into the mailbox (here), or handed to the socket (far away). */
  readonly tell: <T extends Tag<R>>(tag: T, input: Input<R, T>) => Effect.Effect<void, TellError>

  /** Succeeds when this life of the actor is over. An actor never born counts as over. */
  readonly terminated: Effect.Effect<Terminated>
}
