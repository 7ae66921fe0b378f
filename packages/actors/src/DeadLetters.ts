/** Counts what was dropped, by reason: nothing is dropped without leaving a number here. One per process. */

/**
 * - `expired`    its deadline passed while it waited
 * - `cancelled`  its asker gave up while it waited
 * - `noActor`    nobody of that name lives here
 * - `malformed`  bytes that do not decode
 * - `ended`      its target ended while it waited
 * - `full`       its target's mailbox was full
 * - `stale`      it was meant for another epoch
 * - `paused`     it waited while this process was paused
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

export class DeadLetters {
  readonly #counts = new Map<DropReason, number>()

  drop(reason: DropReason): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1)
  }

  get counts(): Readonly<Partial<Record<DropReason, number>>> {
    return Object.fromEntries(this.#counts)
  }
}
