/**
 * A typed reference to an actor, here or in another process: the caller does not see which. Holds no state of the actor and keeps
 * nothing alive; it may outlive what it refers to, and then says `NoSuchActor`.
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { AskError, TellError } from "./ActorError.ts"
import type { Address } from "./Address.ts"
import type { Terminated } from "./Supervision.ts"
import type {
  AnyMessage,
  AskTag,
  Failure,
  Input,
  Item,
  StreamFailure,
  StreamTag,
  Success
} from "./internal/rpcSeam.ts"

export interface AskOptions {
  /**
   * Milliseconds until the asker gives up with `AskTimeout`. Default 5000; at most 2^31 - 1 (24.8 days), and `Infinity` is that; less than 0
   * is 0; `NaN` is a `MalformedMessage`. The message may be handled all the same.
   */
  readonly timeoutMs?: number
}

export interface ActorRef<R extends AnyMessage> {
  readonly address: Address

  /**
   * Sends a message and awaits its answer. At most once: nothing is sent again by itself. Interrupted, it takes the message back if it
   * still waits, here or far away; one that is being handled goes on, unless its contract says `Interruptible`.
   */
  ask<T extends AskTag<R>>(
    tag: T,
    input: Input<R, T>,
    options?: AskOptions
  ): Effect.Effect<Success<R, T>, Failure<R, T> | AskError>

  /**
   * Sends a message whose contract has `stream: true`, and gives its answers as they come. It runs in the actor, only as far ahead as the
   * consumer asks for, and ends when the consumer ends, or when the actor does: with `ActorCrashed`. `timeoutMs` is the time to its start.
   * A far stream that was lost on the way fails, and is not begun again by itself.
   */
  stream<T extends StreamTag<R>>(
    tag: T,
    input: Input<R, T>,
    options?: AskOptions
  ): Stream.Stream<Item<R, T>, StreamFailure<R, T> | AskError>

  /** Sends a message and does not wait. Success means: taken into the mailbox (here), or handed to the socket (far away). */
  tell<T extends AskTag<R>>(tag: T, input: Input<R, T>): Effect.Effect<void, TellError>

  /** Succeeds when this life of the actor is over. An actor never born counts as over. */
  readonly terminated: Effect.Effect<Terminated>
}
