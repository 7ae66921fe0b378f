/**
 * One actor's life: its mailbox loop, its scope, its children, its end.
 *
 * Owns all of it, and changes it only synchronously, so that "accepted before the drain" has one meaning. Idle, it has no
 * fiber: a message starts one. Guarantees: one user message at a time unless a handler says otherwise; system messages
 * at once; children end before their parent, the latest first; the scope closes after them; watchers are told last.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { ActorCrashed, AskTimeout, MailboxFull, NoSuchActor, UnsupportedMessage } from "../ActorError.ts"
import type { Address, Epoch } from "../Address.ts"
import { formatAddress } from "../Address.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { DrainDeadlines } from "../Drain.ts"
import { Drain } from "../Drain.ts"
import type { UserMessage } from "../Mailbox.ts"
import { Mailbox } from "../Mailbox.ts"
import type { Cause as StateCause, NodeState, StateChange } from "../NodeState.ts"
import type { AnyHandler, AnyMessage, Protocol } from "./rpcSeam.ts"
import { unwrap } from "./rpcSeam.ts"

/** Who ended an actor: it itself, its parent, a defect of its own, or somebody who would not wait. */
export type EndedBy = "itself" | "parent" | "crash" | "kill"

/** The last word about one life of an actor. `by: "lost"` is said of far actors whose process is dead. */
export interface Terminated {
  readonly address: Address
  readonly by: EndedBy | "lost"
  readonly detail: string
}

/** What a drain of the parent waits for: `serving` children may take hours; `sealing` ones finish what was served. */
export type Holds = "serving" | "sealing"

export type StateListener = (state: NodeState, change: StateChange) => void

/** What a process's cells share. */
export interface CellHost {
  readonly context: Context.Context<never>
  readonly deadLetters: DeadLetters
  /** Every live actor of the process by `kind/id`; each cell enters and leaves by itself. */
  readonly cells: Map<string, Cell>
}

export const nameOf = (kind: string, id: string): string => `${kind}/${id}`

export interface CellOptions {
  readonly address: Address
  readonly protocol: Protocol<AnyMessage>
  readonly parent: Cell | undefined
  readonly parentScope: Scope.Scope
  readonly holds: Holds
  readonly capacity: number
  /** Milliseconds a running handler may go on after a stop before it is interrupted. */
  readonly stopGraceMs: number
  readonly deadlines: DrainDeadlines
}

// A lane longer than this is worked off in slices, so that sockets and timers get their turn.
const sliceOfMessages = 256

export class Cell {
  readonly address: Address
  readonly name: string
  readonly protocol: Protocol<AnyMessage>
  readonly parent: Cell | undefined
  readonly holds: Holds
  readonly children = new Map<string, Cell>()
  readonly drain: Drain
  readonly startedAtMs: number
  readonly ended = Deferred.makeUnsafe<Terminated>()
  /** Succeeds when the actor serves; fails with its behaviour's own error when it could not start. */
  readonly started = Deferred.makeUnsafe<void, unknown>()
  readonly scope: Scope.Closeable
  /** The fencing epoch it holds its name by, once it has claimed it. Messages meant for another are refused. */
  epoch: Epoch | undefined
  readonly stateListeners: Array<StateListener> = []

  readonly #host: CellHost
  readonly #mailbox: Mailbox
  readonly #clock: Clock.Clock
  readonly #stopGraceMs: number
  readonly #running = new Set<Fiber.Fiber<unknown, unknown>>()
  #context: Context.Context<never>
  #handlers: Readonly<Record<string, AnyHandler>> | undefined
  #starting: Fiber.Fiber<unknown, unknown> | undefined
  #busy = false
  #pumping = false
  #ending: { readonly by: EndedBy; readonly detail: string } | undefined

  constructor(host: CellHost, options: CellOptions) {
    this.#host = host
    this.address = options.address
    this.protocol = options.protocol
    this.parent = options.parent
    this.holds = options.holds
    this.scope = Scope.forkUnsafe(options.parentScope, "sequential")
    this.#mailbox = new Mailbox(options.capacity)
    this.#stopGraceMs = options.stopGraceMs
    this.#context = host.context
    this.#clock = Context.get(host.context, Clock.Clock)
    this.startedAtMs = this.nowMs()
    this.drain = new Drain(
      {
        serving: () => this.#childrenThat("serving"),
        sealing: () => this.#childrenThat("sealing"),
        endServing: (how) => {
          for (const child of this.children.values()) {
            if (child.holds === "serving") child.end(how === "kill" ? "kill" : "parent", "evacuated")
          }
        },
        finish: (how, detail) => this.end(how === "kill" ? "kill" : "itself", detail),
        onChange: (state, change) => {
          for (const listener of this.stateListeners) listener(state, change)
        },
        timer: (ms, fire) => {
          const fiber = this.#run(Effect.andThen(Effect.sleep(ms), Effect.sync(fire)))
          return () => fiber.interruptUnsafe()
        },
        nowMs: () => this.nowMs(),
        wallMs: () => this.#clock.currentTimeMillisUnsafe()
      },
      options.deadlines
    )
    this.name = nameOf(this.address.kind, this.address.id)
    options.parent?.children.set(this.name, this)
    host.cells.set(this.name, this)
  }

  /** Monotonic milliseconds. */
  nowMs(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  get depth(): number {
    return this.#mailbox.size
  }

  get isOver(): boolean {
    return this.#ending !== undefined
  }

  /** Runs the behaviour's start in the actor's own scope. Messages wait until it is through. */
  start<E, Env>(
    start: Effect.Effect<Readonly<Record<string, AnyHandler>>, E, Env>,
    context: Context.Context<Exclude<Env, Scope.Scope>>
  ): void {
    this.#context = Context.add(Context.merge(this.#host.context, context), Scope.Scope, this.scope)
    const fiber = this.#run(
      Effect.withFiber((self) => {
        this.#starting = self
        return start as Effect.Effect<Readonly<Record<string, AnyHandler>>, E>
      })
    )
    fiber.addObserver((exit) => {
      this.#starting = undefined
      this.#running.delete(fiber)
      if (this.#ending !== undefined) {
        Deferred.doneUnsafe(this.started, this.#endedError())
      } else if (Exit.isSuccess(exit)) {
        this.#handlers = exit.value
        // A drain may have come first; it goes on.
        if (this.drain.state.life === "Starting") {
          this.drain.move("life", "Serving", { by: "itself", reason: "started" })
        }
        Deferred.doneUnsafe(this.started, Exit.void)
        this.#pump()
      } else {
        Deferred.doneUnsafe(this.started, Exit.failCause(exit.cause))
        const isBug = !Cause.hasFails(exit.cause)
        if (isBug) this.#log("BUG: an actor's start died", exit.cause)
        this.end(isBug ? "crash" : "itself", `could not start: ${describe(exit.cause)}`)
      }
    })
  }

  /** Opens or cordons. False when it was so already, and while it drains. */
  admit(to: "open" | "cordoned", cause: StateCause): boolean {
    return this.drain.state.admission !== "closed" && this.drain.move("admission", to, cause)
  }

  /** Takes a message, or answers at once that it cannot. */
  deliver(message: UserMessage): void {
    const { id, kind } = this.address
    if (this.#ending !== undefined) {
      this.#host.deadLetters.drop("ended")
      message.reply?.(Exit.fail(new NoSuchActor({ kind, id })))
    } else if (!this.#mailbox.offer(message)) {
      this.#host.deadLetters.drop("full")
      message.reply?.(Exit.fail(new MailboxFull({ kind, id, capacity: this.#mailbox.capacity })))
    } else {
      this.#pump()
    }
  }

  /** The asker gave up: a message that still waits is taken out; one that is being handled goes on. */
  cancel(message: UserMessage): void {
    if (this.#mailbox.cancel(message)) this.#host.deadLetters.drop("cancelled")
  }

  /**
   * Ends the actor, once; later calls change nothing, but a kill cuts a stop short. What waits in the mailbox was not
   * executed and says so; what runs has its grace; then children, scope, watchers, in this order.
   */
  end(by: EndedBy, detail: string): void {
    if (this.#ending !== undefined) {
      if (by === "kill") this.#interruptAll()
      return
    }
    this.#ending = { by, detail }
    const { id, kind } = this.address
    for (const message of this.#mailbox.takeAll()) {
      this.#host.deadLetters.drop("ended")
      message.reply?.(Exit.fail(new NoSuchActor({ kind, id })))
    }
    this.#starting?.interruptUnsafe()
    if (by === "kill" || by === "crash") this.#interruptAll()
    Effect.runForkWith(this.#host.context)(this.#finish(by, detail))
  }

  #finish(by: EndedBy, detail: string): Effect.Effect<void> {
    // Its start is interrupted, and what it had acquired is on its way back: nobody hears of the end before.
    const starting = this.#starting
    if (starting !== undefined) this.#running.add(starting)
    const handlersDone = Effect.suspend(() => Fiber.awaitAll([...this.#running])).pipe(
      Effect.timeoutOrElse({
        duration: this.#stopGraceMs,
        orElse: () => Effect.suspend(() => Fiber.interruptAll([...this.#running]))
      })
    )
    const childrenDone = Effect.suspend(() => {
      const children = [...this.children.values()].reverse()
      return Effect.forEach(
        children,
        (child) => {
          child.end(by === "kill" ? "kill" : "parent", detail)
          return Deferred.await(child.ended)
        },
        { discard: true }
      )
    })
    return Effect.andThen(handlersDone, childrenDone).pipe(
      Effect.andThen(Scope.close(this.scope, Exit.void)),
      Effect.catchCause((cause) => Effect.sync(() => this.#log("BUG: a finalizer died", cause))),
      Effect.andThen(Effect.sync(() => this.#sayGoodbye(by, detail)))
    )
  }

  #sayGoodbye(by: EndedBy, detail: string): void {
    this.#host.cells.delete(this.name)
    this.parent?.children.delete(this.name)
    Deferred.doneUnsafe(this.started, this.#endedError())
    this.drain.ended({ by, detail, failed: by === "crash" })
    Deferred.doneUnsafe(this.ended, Exit.succeed({ address: this.address, by, detail }))
    this.parent?.drain.childrenChanged()
  }

  #pump(): void {
    // A handler that ends synchronously comes back here: the loop below goes on, the stack does not grow.
    if (this.#pumping) return
    this.#pumping = true
    for (let taken = 0; this.#handlers !== undefined && !this.#busy && this.#ending === undefined; taken++) {
      if (taken === sliceOfMessages) {
        setImmediate(() => this.#pump())
        break
      }
      const message = this.#mailbox.take()
      if (message === undefined) break
      this.#handle(this.#handlers, message)
    }
    this.#pumping = false
  }

  #handle(handlers: Readonly<Record<string, AnyHandler>>, message: UserMessage): void {
    if (message.deadline <= this.nowMs()) {
      this.#host.deadLetters.drop("expired")
      message.reply?.(Exit.fail(new AskTimeout({ tag: message.tag, timeoutMs: 0 })))
      return
    }
    const handler = Object.hasOwn(handlers, message.tag) ? handlers[message.tag] : undefined
    if (handler === undefined) {
      message.reply?.(Exit.fail(new UnsupportedMessage({ tag: message.tag })))
      return
    }
    const payload = message.payload()
    if (Exit.isFailure(payload)) {
      this.#host.deadLetters.drop("malformed")
      message.reply?.(payload)
      return
    }
    const called = callHandler(handler, payload.value)
    if (!called.concurrent) this.#busy = true
    // Registered from inside, before the first step of the handler: completing a Deferred runs its waiters at once, and one of them
    // may stop this very actor.
    const fiber = this.#run(
      Effect.withFiber((self) => {
        this.#running.add(self)
        return called.effect
      })
    )
    fiber.addObserver((exit) => {
      this.#running.delete(fiber)
      if (!called.concurrent) this.#busy = false
      this.#answer(message, exit)
      this.#pump()
    })
  }

  #answer(message: UserMessage, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit) || Cause.hasFails(exit.cause)) {
      message.reply?.(exit)
      return
    }
    const { id, kind } = this.address
    const reason = this.#ending?.detail ?? describe(exit.cause)
    message.reply?.(Exit.fail(new ActorCrashed({ kind, id, reason })))
    if (Cause.hasDies(exit.cause)) {
      this.#log(`BUG: the handler of ${message.tag} died`, exit.cause)
      this.end("crash", describe(exit.cause))
    }
  }

  #endedError(): Exit.Exit<never, ActorCrashed> {
    const { id, kind } = this.address
    return Exit.fail(new ActorCrashed({ kind, id, reason: this.#ending?.detail ?? "ended" }))
  }

  #interruptAll(): void {
    for (const fiber of this.#running) fiber.interruptUnsafe()
    for (const child of this.children.values()) child.end("kill", this.#ending?.detail ?? "killed")
  }

  #childrenThat(holds: Holds): ReadonlyArray<string> {
    return [...this.children].filter(([, child]) => child.holds === holds).map(([name]) => name)
  }

  #run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect)
  }

  #log(what: string, cause: Cause.Cause<unknown>): void {
    this.#run(Effect.logError(`${what} in ${formatAddress(this.address)}`, cause))
  }
}

// A handler may throw before it returns its effect: that is a defect like any other.
const callHandler = (handler: AnyHandler, payload: unknown) => {
  try {
    return unwrap(handler(payload))
  } catch (defect) {
    return { effect: Effect.die(defect), concurrent: false }
  }
}

const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
