/**
 * One actor's life: its scope, its children, its crashes, its end.
 *
 * Owns all of it, and changes it only synchronously, so that "accepted before the drain" has one meaning. Guarantees: children end
 * before their parent, the latest first; the scope closes after them, each finalizer within its limit; watchers are told last. One that
 * is restarted keeps its name, its references and what waits in its mailbox, and nothing else. Leaves messages to its lane.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ActorCrashed } from "../ActorError.ts"
import type { Address, Epoch } from "../Address.ts"
import { formatAddress } from "../Address.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { ChildInfo, DrainDeadlines, Holds } from "../Drain.ts"
import { Drain } from "../Drain.ts"
import type { Cause as StateCause, NodeState, StateChange } from "../NodeState.ts"
import { closeWithin } from "./closeWithin.ts"
import { type AnyHandlers, describeCause, Lane } from "./lane.ts"
import { ReplyStream } from "./replyStream.ts"
import type { AnyMessage, AnyStream, Protocol } from "./rpcSeam.ts"

/** Who ended an actor: it itself, its parent, a defect of its own, or somebody who would not wait. */
export type EndedBy = "itself" | "parent" | "crash" | "kill"

/** The last word about one life of an actor. `by: "lost"` is said of far actors whose process is dead. */
export interface Terminated {
  readonly address: Address
  readonly by: EndedBy | "lost"
  readonly detail: string
}

/**
 * What is done when an actor crashes, that is when one of its handlers or its start died.
 *
 * - `stop`      it ends; its watchers are told
 * - `escalate`  it ends, and its parent crashes with it
 * - `restart`   its children and its scope are ended, and it is started anew after each delay of the schedule, its mailbox kept. A start
 *               that fails counts as another crash. When the schedule is over, or while it drains: `then`, which is `stop` by default
 */
export type OnCrash =
  | "stop"
  | "escalate"
  | { readonly restart: Schedule.Schedule<unknown>; readonly then?: "stop" | "escalate" }

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
  /** Milliseconds that a handler which was interrupted, and then each finalizer, may take. */
  readonly finalizerMs: number
  readonly onCrash: OnCrash
  readonly deadlines: DrainDeadlines
}

type Start = () => Effect.Effect<AnyHandlers, unknown>

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
  readonly lane: Lane
  /** Told of each change of state: by `self`, until a restart, and by others, until the end. */
  selfListeners: Array<StateListener> = []
  readonly stateListeners: Array<StateListener> = []
  /** The fencing epoch it holds its name by, once it has claimed it. Messages meant for another are refused. */
  epoch: Epoch | undefined

  readonly #holding: Record<Holds, number> = { serving: 0, sealing: 0 }
  readonly #host: CellHost
  readonly #options: CellOptions
  readonly #clock: Clock.Clock
  #scope: Scope.Closeable
  #context: Context.Context<never>
  #start: Start | undefined
  #starting: Fiber.Fiber<unknown, unknown> | undefined
  #restarting: Fiber.Fiber<unknown, unknown> | undefined
  #nextDelay: ((crash: unknown) => Pull.Pull<unknown, never, unknown>) | undefined
  #streams: Set<ReplyStream> | undefined
  #ending: { readonly by: EndedBy; readonly detail: string } | undefined

  constructor(host: CellHost, options: CellOptions) {
    this.#host = host
    this.#options = options
    this.address = options.address
    this.protocol = options.protocol
    this.parent = options.parent
    this.holds = options.holds
    this.#scope = Scope.forkUnsafe(options.parentScope, "sequential")
    this.#context = host.context
    this.#clock = Context.get(host.context, Clock.Clock)
    this.startedAtMs = this.nowMs()
    this.drain = new Drain(
      {
        holding: (holds) => this.#holding[holds],
        children: () => this.childInfos(),
        endServing: (how) => {
          for (const child of this.children.values()) {
            if (child.holds === "serving") child.end(how === "kill" ? "kill" : "parent", "evacuated")
          }
        },
        finish: (how, detail) => this.end(how === "kill" ? "kill" : "itself", detail),
        onChange: (state, change) => {
          for (const listener of this.selfListeners) listener(state, change)
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
    this.lane = new Lane(
      {
        address: this.address,
        deadLetters: host.deadLetters,
        nowMs: () => this.nowMs(),
        run: (effect) => this.#run(effect),
        endsBecause: () => this.#ending?.detail,
        crashed: (tag, cause) => {
          this.#log(`BUG: the handler of ${tag} died`, cause)
          this.#crashed(describeCause(cause))
        }
      },
      options.capacity
    )
    if (options.parent !== undefined) options.parent.#took(this)
    host.cells.set(this.name, this)
  }

  /** Monotonic milliseconds. */
  nowMs(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  get isOver(): boolean {
    return this.#ending !== undefined
  }

  /** Of the present run: a restart makes another. */
  get scope(): Scope.Closeable {
    return this.#scope
  }

  /** Runs the behaviour's start in the actor's own scope, anew after each crash. Messages wait until it is through. */
  start<E, Env>(
    start: () => Effect.Effect<AnyHandlers, E, Env>,
    context: Context.Context<Exclude<Env, Scope.Scope>>
  ): void {
    this.#context = Context.merge(this.#host.context, context)
    this.#start = start as Start
    this.#begin(this.#start)
  }

  #begin(start: Start): void {
    this.#context = Context.add(this.#context, Scope.Scope, this.#scope)
    const fiber = this.#run(
      Effect.withFiber((self) => {
        this.#starting = self
        return Effect.suspend(start)
      })
    )
    fiber.addObserver((exit) => {
      this.#starting = undefined
      this.lane.running.delete(fiber)
      if (this.#ending !== undefined) {
        Deferred.doneUnsafe(this.started, this.#endedError())
      } else if (Exit.isSuccess(exit)) {
        // A drain may have come first; it goes on.
        if (this.drain.state.life === "Starting") {
          this.drain.move("life", "Serving", { by: "itself", reason: "started" })
        }
        Deferred.doneUnsafe(this.started, Exit.void)
        this.lane.open(exit.value)
      } else {
        const detail = `could not start: ${describeCause(exit.cause)}`
        const isBug = !Cause.hasFails(exit.cause)
        if (isBug) this.#log("BUG: an actor's start died", exit.cause)
        const isFirst = Deferred.doneUnsafe(this.started, Exit.failCause(exit.cause))
        // Whoever spawned it was told why; after that nobody is, and it counts as a crash.
        if (isFirst && !isBug) this.end("itself", detail)
        else this.#crashed(detail)
      }
    })
  }

  /** Begins a stream that one of its handlers gave as an answer. It ends with the actor, and before its scope does. */
  openStream(stream: AnyStream): Effect.Effect<ReplyStream> {
    return Effect.map(
      ReplyStream.open(stream, this.#scope, (effect) => this.#run(effect)).pipe(
        Effect.provideContext(this.#context)
      ),
      (opened) => {
        this.#streams ??= new Set()
        this.#streams.add(opened)
        return opened
      }
    )
  }

  closeStream(stream: ReplyStream): Effect.Effect<void> {
    this.#streams?.delete(stream)
    return stream.close()
  }

  childInfos(): ReadonlyArray<ChildInfo> {
    const nowMs = this.nowMs()
    return [...this.children.values()].map(({ address: { id, kind }, holds, startedAtMs }) => ({
      kind,
      id,
      holds,
      ageMs: nowMs - startedAtMs
    }))
  }

  #took(child: Cell): void {
    this.children.set(child.name, child)
    this.#holding[child.holds]++
  }

  #lost(child: Cell): void {
    if (this.children.delete(child.name)) this.#holding[child.holds]--
  }

  /** Opens or cordons. False when it was so already, and while it drains. */
  admit(to: "open" | "cordoned", cause: StateCause): boolean {
    return this.drain.state.admission !== "closed" && this.drain.move("admission", to, cause)
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
    this.lane.close()
    this.#starting?.interruptUnsafe()
    if (by === "kill" || by === "crash") this.#interruptAll()
    const restarting = this.#restarting
    Effect.runForkWith(this.#host.context)(
      // A restart that has begun to end what was before does that to its end.
      Effect.andThen(
        restarting === undefined ? Effect.void : Fiber.interrupt(restarting),
        this.#endRun(by, detail)
      ).pipe(Effect.andThen(Effect.sync(() => this.#sayGoodbye(by, detail))))
    )
    if (by === "crash" && this.#escalates && this.parent !== undefined) {
      this.parent.#crashed(`its ${this.address.kind} '${this.address.id}' crashed: ${detail}`)
    }
  }

  get #escalates(): boolean {
    const { onCrash } = this.#options
    return onCrash === "escalate" || (typeof onCrash === "object" && onCrash.then === "escalate")
  }

  #crashed(detail: string): void {
    if (this.#ending !== undefined || this.#restarting !== undefined) return
    const { onCrash } = this.#options
    const { life } = this.drain.state
    if (
      typeof onCrash !== "object" ||
      this.#start === undefined ||
      (life !== "Starting" && life !== "Serving")
    ) {
      return this.end("crash", detail)
    }
    this.lane.pause()
    this.#interruptAll()
    this.#restarting = Effect.runForkWith(this.#host.context)(
      Effect.uninterruptible(this.#endRun("crash", detail)).pipe(
        Effect.andThen(this.#delay(onCrash.restart, detail)),
        Effect.matchEager({
          onFailure: () => {
            this.#restarting = undefined
            this.end("crash", detail)
          },
          onSuccess: () => this.#again()
        })
      )
    )
  }

  #delay(schedule: Schedule.Schedule<unknown>, crash: string): Pull.Pull<unknown, never, unknown> {
    const step = this.#nextDelay
    if (step !== undefined) return step(crash)
    return Effect.flatMap(Schedule.toStepWithSleep(schedule), (made) => {
      this.#nextDelay = made
      return made(crash)
    })
  }

  #again(): void {
    this.#restarting = undefined
    this.#scope = Scope.forkUnsafe(this.#options.parentScope, "sequential")
    this.epoch = undefined
    this.selfListeners = []
    if (this.#start !== undefined) this.#begin(this.#start)
  }

  /** Handlers, streams, children, scope, in this order; what hangs is left behind when its time is over. */
  #endRun(by: EndedBy, detail: string): Effect.Effect<void> {
    const { finalizerMs, stopGraceMs } = this.#options
    const { running } = this.lane
    const late = (what: string) => this.#log(`${what} did not end in ${finalizerMs} ms; it is left behind`)
    const interrupted = Effect.suspend(() => Fiber.interruptAll([...running])).pipe(
      Effect.timeoutOrElse({ duration: finalizerMs, orElse: () => Effect.sync(() => late("a handler")) })
    )
    const handlersDone = Effect.suspend(() => {
      // Its start is interrupted, and what it had acquired is on its way back: nobody hears of the end before.
      if (this.#starting !== undefined) running.add(this.#starting)
      return running.size === 0
        ? Effect.void
        : Effect.timeoutOrElse(Fiber.awaitAll([...running]), {
            duration: stopGraceMs,
            orElse: () => interrupted
          })
    })
    const streamsDone = Effect.sync(() => {
      const { id, kind } = this.address
      for (const stream of this.#streams ?? []) {
        stream.abort(Exit.fail(new ActorCrashed({ kind, id, reason: detail })))
      }
      this.#streams = undefined
    })
    const childrenDone = Effect.suspend(() =>
      Effect.forEach(
        [...this.children.values()].reverse(),
        (child) => {
          child.end(by === "kill" ? "kill" : "parent", detail)
          return Deferred.await(child.ended)
        },
        { discard: true }
      )
    )
    return handlersDone.pipe(
      Effect.andThen(streamsDone),
      Effect.andThen(childrenDone),
      Effect.andThen(
        Effect.suspend(() => closeWithin(this.#scope, Exit.void, finalizerMs, () => late("a finalizer")))
      ),
      Effect.catchCause((cause) => Effect.sync(() => this.#log("BUG: a finalizer died", cause)))
    )
  }

  #sayGoodbye(by: EndedBy, detail: string): void {
    this.#host.cells.delete(this.name)
    if (this.parent !== undefined) this.parent.#lost(this)
    // Most have served: an error that nobody reads is not made.
    if (!Deferred.isDoneUnsafe(this.started)) Deferred.doneUnsafe(this.started, this.#endedError())
    this.drain.ended({ by, detail, failed: by === "crash" })
    Deferred.doneUnsafe(this.ended, Exit.succeed({ address: this.address, by, detail }))
    this.parent?.drain.childrenChanged()
  }

  #endedError(): Exit.Exit<never, ActorCrashed> {
    const { id, kind } = this.address
    return Exit.fail(new ActorCrashed({ kind, id, reason: this.#ending?.detail ?? "ended" }))
  }

  #interruptAll(): void {
    this.lane.interruptAll()
    for (const child of this.children.values()) child.end("kill", this.#ending?.detail ?? "killed")
  }

  #run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect)
  }

  #log(what: string, ...causes: ReadonlyArray<Cause.Cause<unknown>>): void {
    this.#run(Effect.logError(`${what} in ${formatAddress(this.address)}`, ...causes))
  }
}
