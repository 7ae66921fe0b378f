/**
 * The answers that an actor gave to one idempotent message, by key, for as long as they are kept. Owns who waits for one that is not there
 * yet: as many at most as the actor's mailbox would hold.
 */
import * as Exit from "effect/Exit"
import { MalformedMessage } from "../ActorError.ts"
import { describe } from "./describeCause.ts"
import type { MessageCodec } from "./rpcSeam.ts"

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

/** Characters of a key. It is kept as long as its answer, and somebody else's message says what it is. */
export const maxKeyLength = 1024

/** Takes the answer of a message that is handled, once. */
export type Keep = (exit: Exit.Exit<unknown, unknown>, nowMs: number, isAnswer: boolean) => void

export class Answers {
  // By insertion, so that the first is the oldest.
  readonly #answers = new Map<string, Answer>()
  readonly #codec: MessageCodec
  readonly #keepMs: number
  readonly #keep: number
  readonly #waitingMax: number
  #waiting = 0

  constructor(codec: MessageCodec, waitingMax: number) {
    this.#codec = codec
    this.#keep = codec.idempotent?.keep ?? defaultKeep
    this.#keepMs = codec.idempotent?.keepMs ?? defaultKeepMs
    this.#waitingMax = waitingMax
  }

  /** The contract's own function makes it, of what anybody may have sent. */
  keyOf(payload: unknown): Exit.Exit<string, MalformedMessage> {
    const { idempotent, tag } = this.#codec
    try {
      const key: unknown = idempotent?.key(payload)
      if (typeof key === "string" && key.length <= maxKeyLength) return Exit.succeed(key)
      const what =
        typeof key === "string"
          ? `${key.length} characters, more than ${maxKeyLength}`
          : `no text: ${typeof key}`
      return Exit.fail(new MalformedMessage({ problem: `the key of ${tag} has ${what}` }))
    } catch (defect) {
      return Exit.fail(new MalformedMessage({ problem: `${tag} has no key: ${describe(defect)}` }))
    }
  }

  /** `seen`: a message of that key was before it, and `reply` gets its answer, now or when it is there. `full`: too many wait for that. */
  look(key: string, nowMs: number, reply: Reply | undefined): "new" | "seen" | "full" {
    const known = this.#answers.get(key)
    if (known === undefined) return "new"
    if (known.exit === undefined) {
      if (reply === undefined) return "seen"
      if (this.#waiting >= this.#waitingMax) return "full"
      this.#waiting++
      known.waiting.push(reply)
      return "seen"
    }
    if (known.expiresAt <= nowMs) {
      this.#answers.delete(key)
      return "new"
    }
    reply?.(known.exit)
    return "seen"
  }

  /** Takes note of a message that is handled now. */
  begin(key: string): Keep {
    const answer: Answer = { exit: undefined, expiresAt: 0, waiting: [] }
    this.#answers.set(key, answer)
    return (exit, nowMs, isAnswer) => {
      answer.exit = exit
      answer.expiresAt = nowMs + this.#keepMs
      // Moved to the end: what is kept is counted from its answer on. No answer, as of one that was interrupted, is not kept.
      if (this.#answers.delete(key) && isAnswer) this.#answers.set(key, answer)
      this.#trim()
      const waiting = answer.waiting.splice(0)
      this.#waiting -= waiting.length
      for (const reply of waiting) reply(exit)
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
