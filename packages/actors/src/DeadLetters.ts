/**
 * What was dropped, and why: counted by reason, and told to whoever listens. Nothing is dropped without leaving a number here. One per
 * process.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/**
 * - `expired`    its deadline passed while it waited
 * - `cancelled`  its asker gave up while it waited
 * - `noActor`    nobody of that name lives here
 * - `malformed`  bytes that do not decode
 * - `ended`      its target ended while it waited
 * - `full`       its target's mailbox was full
 * - `stale`      it was meant for another epoch
 * - `paused`     it waited while this process was paused
 * - `unsupported`  its target does not know it
 * - `abandoned`  the stream it had opened was no longer asked for
 * - `noStream`   it asked for more of a stream that is not there, or is another's
 */
export type DropReason =
  | "expired"
  | "cancelled"
  | "noActor"
  | "malformed"
  | "ended"
  | "full"
  | "stale"
  | "paused"
  | "unsupported"
  | "abandoned"
  | "noStream"

/** What is known of a message that was dropped; of bytes that do not decode that is nothing. */
export interface DeadLetter {
  readonly reason: DropReason
  readonly kind?: string
  readonly id?: string
  readonly tag?: string
}

/** A listener that is slower than what is dropped misses the oldest; the counts miss none. */
const heldForListener = 256

export class DeadLetters {
  readonly #counts = new Map<DropReason, number>()
  readonly #listeners = new Set<(letter: DeadLetter) => void>()

  drop(reason: DropReason, of: Omit<DeadLetter, "reason"> = {}): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1)
    for (const listener of this.#listeners) listener({ ...of, reason })
  }

  get counts(): Readonly<Partial<Record<DropReason, number>>> {
    return Object.fromEntries(this.#counts)
  }

  /** Every message that is dropped from now on, until whoever listens ends it. */
  readonly stream: Stream.Stream<DeadLetter> = Stream.callback<DeadLetter>(
    (queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const listener = (letter: DeadLetter) => void Queue.offerUnsafe(queue, letter)
          this.#listeners.add(listener)
          return listener
        }),
        (listener) => Effect.sync(() => this.#listeners.delete(listener))
      ),
    { bufferSize: heldForListener, strategy: "sliding" }
  )
}
