/**
 * An actor's user lane at work: takes messages out of its mailbox, hands them to their handlers, gives the answers back.
 *
 * Owns the mailbox, the fibers that handle, and the answers that are kept. Has no fiber of its own: a message starts one. Guarantees
 * one user message at a time unless its contract or its handler says otherwise, in the order they came. Leaves life and end to the cell.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import {
  ActorCrashed,
  AskTimeout,
  MailboxFull,
  type MalformedMessage,
  NoSuchActor,
  StaleEpoch,
  UnsupportedMessage
} from "../ActorError.ts"
import type { Address, Epoch } from "../Address.ts"
import type { DeadLetters, DropReason } from "../DeadLetters.ts"
import type { FollowUp } from "../Envelope.ts"
import type { UserMessage } from "../Mailbox.ts"
import { Mailbox } from "../Mailbox.ts"
import { Answers, type Keep } from "./answers.ts"
import { describeCause } from "./describeCause.ts"
import type { AnyHandler, MessageCodec } from "./rpcSeam.ts"
import { unwrap } from "./rpcSeam.ts"
import { Running } from "./running.ts"

/** What the lane needs of the actor whose it is. All are called synchronously. */
export interface LaneOwner {
  readonly address: Address
  readonly deadLetters: DeadLetters
  nowMs(): number
  /** By which it holds its name, once it has claimed it; `unverified`: it may be another's by now. */
  readonly epoch: Epoch | "unverified" | undefined
  /** Runs in the actor's services and scope. */
  run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E>
  /** Why the actor ends, once it does. */
  endsBecause(): string | undefined
  /** The handler of `tag` died: the actor is not what it was. */
  crashed(tag: string, cause: Cause.Cause<unknown>): void
  /** Says in its log what must not be, and counts it. */
  bug(what: string, ...causes: ReadonlyArray<Cause.Cause<unknown>>): void
}

type RefusalReason = "ended" | "full" | "stale"
export type TellRefusal = NoSuchActor | MailboxFull | StaleEpoch

export type AnyHandlers = Readonly<Record<string, AnyHandler>>

// A lane longer than this is worked off in slices, so that sockets and timers get their turn.
const sliceOfMessages = 256

export class Lane {
  readonly running = new Running()
  readonly #owner: LaneOwner
  readonly #mailbox: Mailbox
  #handlers: AnyHandlers | undefined
  /** How many are handled, of messages whose contract has a limit. */
  #beside: Map<MessageCodec, number> | undefined
  #answers: Map<MessageCodec, Answers> | undefined
  /** What is handled now and may be interrupted. */
  #interruptible: Set<UserMessage> | undefined
  #busy = false
  #pumping = false
  #closed = false
  /** Counts the runs: what is left of one before is not of this one. */
  #run_ = 0

  constructor(owner: LaneOwner, capacity: number) {
    this.#owner = owner
    this.#mailbox = new Mailbox(capacity)
  }

  get depth(): number {
    return this.#mailbox.size
  }

  /** From now on messages are handled. */
  open(handlers: AnyHandlers): void {
    this.#handlers = handlers
    this.#pump()
  }

  /** From now on messages wait: what handled them is gone, and with it what it had answered. */
  pause(): void {
    this.#handlers = undefined
    this.#answers = undefined
    this.#busy = false
    this.#beside = undefined
    this.#run_++
  }

  /** From now on none is taken. What waits was not executed and is told so. */
  close(): void {
    this.#closed = true
    for (const message of this.#mailbox.takeAll()) this.#refuse("ended", message)
  }

  /** Takes a message, or answers at once that it cannot; then it gives the reason, too. */
  deliver(message: UserMessage): TellRefusal | undefined {
    if (this.#closed) return this.#refuse("ended", message)
    if (this.#isStale(message)) return this.#refuse("stale", message)
    const handlers = this.#handlers
    const isIdle = handlers !== undefined && !this.#busy && !this.#pumping && this.#mailbox.size === 0
    if (isIdle && !this.#isTooMany(message.codec)) {
      this.#pumping = true
      this.#handle(handlers, message)
      this.#pumping = false
      if (this.#mailbox.size > 0) this.#pump()
      return undefined
    }
    if (!this.#mailbox.offer(message)) return this.#refuse("full", message)
    this.#pump()
    return undefined
  }

  /** The asker gave up: a message that waits is taken out; one that is handled goes on, unless its contract says otherwise. */
  cancel(message: UserMessage): void {
    if (this.#mailbox.cancel(message)) this.#drop("cancelled", message)
    else if (message.codec.interruptible) message.handling?.interruptUnsafe()
  }

  /** The same, of a message from elsewhere. */
  cancelFrom({ from, id, word }: FollowUp): void {
    const isMeant = (message: UserMessage) =>
      message.id === id && message.from === from && message.word === word
    const message = this.#mailbox.find(isMeant)
    if (message !== undefined) return this.cancel(message)
    for (const handled of this.#interruptible ?? []) if (isMeant(handled)) this.cancel(handled)
  }

  #pump(): void {
    // A handler that ends synchronously comes back here: the loop below goes on, the stack does not grow.
    if (this.#pumping) return
    this.#pumping = true
    for (let taken = 0; this.#handlers !== undefined && !this.#busy && !this.#closed; taken++) {
      if (taken === sliceOfMessages) {
        setImmediate(() => this.#pump())
        break
      }
      const message = this.#mailbox.peek()
      if (message === undefined || this.#isTooMany(message.codec)) break
      this.#mailbox.take()
      this.#handle(this.#handlers, message)
    }
    this.#pumping = false
  }

  #isTooMany(codec: MessageCodec): boolean {
    return codec.concurrency > 1 && (this.#beside?.get(codec) ?? 0) >= codec.concurrency
  }

  #handle(handlers: AnyHandlers, message: UserMessage): void {
    const { codec } = message
    // It may have claimed its name, or lost it and claimed it again, while the message waited.
    if (this.#isStale(message)) {
      this.#refuse("stale", message)
      return
    }
    if (message.deadline !== Number.POSITIVE_INFINITY && message.deadline <= this.#owner.nowMs()) {
      return this.#turnAway("expired", message, new AskTimeout({ tag: codec.tag, timeoutMs: 0 }))
    }
    const handler = Object.hasOwn(handlers, codec.tag) ? handlers[codec.tag] : undefined
    if (handler === undefined) {
      return this.#turnAway("unsupported", message, new UnsupportedMessage({ tag: codec.tag }))
    }
    let { payload } = message
    if (message.isEncoded) {
      const decoded = codec.decodePayload(payload)
      if (Exit.isFailure(decoded)) return this.#turnAwayUnread(message, decoded)
      payload = decoded.value
    }
    const keep = codec.idempotent === undefined ? undefined : this.#keptAs(message, payload)
    if (keep !== "answered") this.#run(message, handler, payload, keep)
  }

  /**
   * Calls a handler and runs what it gives. Most are done when this returns, and have cost no observer. What ends the actor from within waits
   * until the handler is off the stack: before that nobody could say whether it still runs.
   */
  #run(message: UserMessage, handler: AnyHandler, payload: unknown, keep: Keep | undefined): void {
    const { codec } = message
    const run = this.#run_
    this.running.enter()
    const { concurrent, effect } = callHandler(handler, payload, codec)
    const exclusive = !concurrent && codec.concurrency <= 1
    // Its body may have crashed the actor: then it is of a run before.
    if (run === this.#run_) {
      if (exclusive) this.#busy = true
      if (codec.concurrency > 1) this.#count(codec, 1)
    }
    const handled = this.#inSpan(message, effect)
    // An answer that is there without a step needs no fiber.
    const fiber = Exit.isExit(handled) ? undefined : this.#owner.run(handled)
    const exit = fiber === undefined ? (handled as Exit.Exit<unknown, unknown>) : fiber.pollUnsafe()
    this.running.returned()
    if (exit !== undefined) this.#done(message, exit, keep, exclusive, run)
    else if (fiber !== undefined) {
      this.#waits(message, fiber)
      fiber.addObserver((end) => {
        this.running.fibers.delete(fiber)
        this.#interruptible?.delete(message)
        this.#done(message, end, keep, exclusive, run)
        this.#pump()
      })
    }
    this.running.settle(fiber)
  }

  #waits(message: UserMessage, fiber: Fiber.Fiber<unknown, unknown>): void {
    this.running.fibers.add(fiber)
    if (!message.codec.interruptible) return
    message.handling = fiber
    this.#interruptible ??= new Set()
    this.#interruptible.add(message)
  }

  #inSpan({ codec, span }: UserMessage, handled: Effect.Effect<unknown, unknown>) {
    if (span === undefined || !codec.traced) return handled
    const { id, kind } = this.#owner.address
    const attributes = { "ebb.actor": id }
    return Effect.withSpan(handled, `${kind}.${codec.tag}`, { parent: span, kind: "server", attributes })
  }

  /** Where the answer is to be kept; `answered` when there is nothing to be done any more. */
  #keptAs(message: UserMessage, payload: unknown): Keep | "answered" {
    const { codec } = message
    let answers = this.#answers?.get(codec)
    if (answers === undefined) {
      answers = new Answers(codec, this.#mailbox.capacity)
      this.#answers ??= new Map()
      this.#answers.set(codec, answers)
    }
    const key = answers.keyOf(payload)
    if (Exit.isFailure(key)) {
      this.#turnAwayUnread(message, key)
      return "answered"
    }
    const found = answers.look(key.value, this.#owner.nowMs(), message.reply)
    if (found === "new") return answers.begin(key.value)
    if (found === "full") this.#refuse("full", message)
    return "answered"
  }

  /** `run`: in which it was begun. What is left of one before touches nothing of this one. */
  #done(
    message: UserMessage,
    exit: Exit.Exit<unknown, unknown>,
    keep: Keep | undefined,
    exclusive: boolean,
    run: number
  ): void {
    const { codec } = message
    const isPresent = run === this.#run_
    if (isPresent && exclusive) this.#busy = false
    if (isPresent && codec.concurrency > 1) this.#count(codec, -1)
    const isAnswer = Exit.isSuccess(exit) || Cause.hasFails(exit.cause)
    const answer = isAnswer ? exit : this.#noAnswer(exit.cause)
    message.reply?.(answer)
    keep?.(answer, this.#owner.nowMs(), isAnswer)
    if (isAnswer || !Cause.hasDies(exit.cause)) return
    if (isPresent) this.#owner.crashed(codec.tag, exit.cause)
    else this.#owner.bug(`the handler of ${codec.tag} that was left behind died`, exit.cause)
  }

  #noAnswer(cause: Cause.Cause<unknown>): Exit.Exit<never, ActorCrashed> {
    const { id, kind } = this.#owner.address
    const reason = this.#owner.endsBecause() ?? describeCause(cause)
    return Exit.fail(new ActorCrashed({ kind, id, reason }))
  }

  #count(codec: MessageCodec, by: 1 | -1): void {
    this.#beside ??= new Map()
    this.#beside.set(codec, (this.#beside.get(codec) ?? 0) + by)
  }

  #isStale({ epoch }: UserMessage): boolean {
    const current = epoch && this.#owner.epoch
    if (epoch === undefined || current === undefined) return false
    if (current === "unverified") return true
    return epoch.registry !== current.registry || epoch.revision !== current.revision
  }

  #refuse(reason: RefusalReason, message: UserMessage): TellRefusal {
    this.#drop(reason, message)
    const error = this.#refusal(reason)
    message.reply?.(Exit.fail(error))
    return error
  }

  #refusal(reason: RefusalReason): TellRefusal {
    const { id, kind } = this.#owner.address
    const current = this.#owner.epoch
    switch (reason) {
      case "ended":
        return new NoSuchActor({ kind, id })
      case "full":
        return new MailboxFull({ kind, id, capacity: this.#mailbox.capacity })
      case "stale":
        return new StaleEpoch({ kind, id, ...(typeof current === "object" && { current }) })
    }
  }

  #turnAwayUnread(message: UserMessage, exit: Exit.Exit<unknown, MalformedMessage>): void {
    this.#drop("malformed", message)
    message.reply?.(exit)
  }

  #turnAway(reason: DropReason, message: UserMessage, error: AskTimeout | UnsupportedMessage): void {
    this.#drop(reason, message)
    message.reply?.(Exit.fail(error))
  }

  #drop(reason: DropReason, { codec }: UserMessage): void {
    const { id, kind } = this.#owner.address
    this.#owner.deadLetters.drop(reason, { kind, id, tag: codec.tag })
  }
}

// A handler may throw before it returns its effect: that is a defect like any other.
const callHandler = (handler: AnyHandler, payload: unknown, codec: MessageCodec) => {
  try {
    return unwrap(handler(payload), codec)
  } catch (defect) {
    return { effect: Effect.die(defect), concurrent: false }
  }
}
