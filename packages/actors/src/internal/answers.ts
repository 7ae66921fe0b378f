/**
 * The answers that an actor gave to idempotent messages, by key, for as long as they are kept. Owns who waits for one that is not there yet.
 */
import type * as Exit from "effect/Exit"
import type { IdempotentOptions } from "../MessageOptions.ts"

type Reply = (exit: Exit.Exit<unknown, unknown>) => void

/** A first message's answer, now or later. */
interface Answer {
  exit: Exit.Exit<unknown, unknown> | undefined
  /** Monotonic milliseconds; of no meaning before `exit` is there. */
  expiresAt: number
  readonly waiting: Array<Reply>
}

const defaultKeepMs = 300_000
const defaultKeep = 1024

export class Answers {
  // By insertion, so that the first is the oldest.
  readonly #answers = new Map<string, Answer>()
  readonly #keepMs: number
  readonly #keep: number

  constructor({ keep = defaultKeep, keepMs = defaultKeepMs }: IdempotentOptions) {
    this.#keep = keep
    this.#keepMs = keepMs
  }

  /** True when the message of that key was seen before: `reply` gets its answer, now or when it is there. */
  answered(key: string, nowMs: number, reply: Reply | undefined): boolean {
    const known = this.#answers.get(key)
    if (known === undefined) return false
    if (known.exit === undefined) {
      if (reply !== undefined) known.waiting.push(reply)
      return true
    }
    if (known.expiresAt <= nowMs) {
      this.#answers.delete(key)
      return false
    }
    reply?.(known.exit)
    return true
  }

  /** Takes note of a message that is handled now; the function it gives takes its answer, once. */
  begin(key: string): (exit: Exit.Exit<unknown, unknown>, nowMs: number, isAnswer: boolean) => void {
    const answer: Answer = { exit: undefined, expiresAt: 0, waiting: [] }
    this.#answers.set(key, answer)
    return (exit, nowMs, isAnswer) => {
      answer.exit = exit
      answer.expiresAt = nowMs + this.#keepMs
      // Moved to the end: what is kept is counted from its answer on. No answer, as of one that was interrupted, is not kept.
      if (this.#answers.delete(key) && isAnswer) this.#answers.set(key, answer)
      this.#trim()
      for (const reply of answer.waiting.splice(0)) reply(exit)
    }
  }

  #trim(): void {
    if (this.#answers.size <= this.#keep) return
    for (const [key, { exit }] of this.#answers) {
      if (exit === undefined) continue
      this.#answers.delete(key)
      return
    }
  }
}
