/**
 * An actor's user lane: bounded, first in first out, refuses when full (never blocks a sender, never drops in silence).
 *
 * The system lane (Drain, Undrain, Stop, Watch) has no queue at all: the cell handles a system message when it arrives, even while a
 * user handler waits. That is what "system before user" comes to when nothing has to wait.
 */
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type { Epoch, Incarnation } from "./Address.ts"
import type { MessageCodec } from "./internal/rpcSeam.ts"

export interface UserMessage {
  readonly codec: MessageCodec
  readonly payload: unknown
  /** As it came from outside: it is decoded when it is taken, so that one that expired in the queue costs no decoding. */
  readonly isEncoded: boolean
  /** Monotonic milliseconds after which nobody waits for the answer; Infinity for none. */
  readonly deadline: number
  /** Called exactly once for an ask; undefined for a tell. */
  readonly reply: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined
  /** The epoch by which its sender knows the target; undefined: any. */
  readonly epoch?: Epoch | undefined
  /** The asker's span, here or far away. */
  readonly span: Tracer.AnySpan | undefined
  /** Of a message from elsewhere: its asker, and the asker's number and random word for it, by which it may be taken back. */
  readonly from?: Incarnation | undefined
  readonly id?: number | undefined
  readonly word?: string | undefined
  /** While it is handled, when its contract lets it be interrupted. */
  handling?: Fiber.Fiber<unknown, unknown>
}

export const defaultCapacity = 1024

export class Mailbox {
  readonly capacity: number
  // A queue as an array with a moving head: O(1) at both ends, compacted when half of it is spent.
  #items: Array<UserMessage | undefined> = []
  #head = 0
  #size = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size() {
    return this.#size
  }

  /** False when full; the message was not taken. */
  offer(message: UserMessage): boolean {
    if (this.#size >= this.capacity) return false
    this.#items.push(message)
    this.#size++
    return true
  }

  /** The oldest message; it stays. */
  peek(): UserMessage | undefined {
    while (this.#head < this.#items.length) {
      const message = this.#items[this.#head]
      if (message !== undefined) return message
      this.#head++
    }
    return undefined
  }

  take(): UserMessage | undefined {
    const message = this.peek()
    if (message === undefined) return undefined
    this.#items[this.#head++] = undefined
    this.#size--
    if (this.#head > 32 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return message
  }

  find(isMeant: (message: UserMessage) => boolean): UserMessage | undefined {
    return this.#items.find((message) => message !== undefined && isMeant(message))
  }

  /** Takes a message out that still waits: its asker is gone. False when it is no longer here. */
  cancel(message: UserMessage): boolean {
    const at = this.#items.indexOf(message, this.#head)
    if (at < 0) return false
    this.#items[at] = undefined
    this.#size--
    // Nobody may take for long, behind a handler that hangs, while askers come and give up.
    if (this.#items.length - this.#head > 2 * this.#size + 32) {
      this.#items = this.#items.slice(this.#head).filter((item) => item !== undefined)
      this.#head = 0
    }
    return true
  }

  /** Empties the lane, oldest first. */
  takeAll(): Array<UserMessage> {
    const rest = this.#items.slice(this.#head).filter((message) => message !== undefined)
    this.#items = []
    this.#head = 0
    this.#size = 0
    return rest
  }
}
