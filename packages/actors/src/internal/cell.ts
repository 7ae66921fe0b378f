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
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { ActorCrashed } from "../ActorError.ts"
import type { Address, Epoch } from "../Address.ts"
import { formatAddress } from "../Address.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { ChildInfo, Holds } from "../Drain.ts"
import type { Cause as StateCause, NodeState, StateChange } from "../NodeState.ts"
import { type EndedBy, escalates, type Terminated } from "../Supervision.ts"
import { type CellHost, type CellOptions, nameOf } from "./cellHost.ts"
import { Children } from "./children.ts"
import { endRun } from "./endRun.ts"
import { describeCause } from "./describeCause.ts"
import { Drain, type Drained } from "./drain.ts"
import { type AnyHandlers, Lane, type LaneOwner } from "./lane.ts"
import { OpenStreams, type StreamOwner } from "./openStreams.ts"
import type { ReplyStream } from "./replyStream.ts"
import { Restart } from "./restart.ts"
import type { AnyMessage, AnyStream, Protocol } from "./rpcSeam.ts"
import { type StateListener, StateListeners } from "./stateListeners.ts"

/** Lives begun in this process. */
let lives = 0

type Start = () => Effect.Effect<AnyHandlers, unknown>

export class Cell implements LaneOwner, Drained, StreamOwner {
  readonly address: Address
  readonly name: string
  readonly protocol: Protocol<AnyMessage>
  readonly parent: Cell | undefined
  readonly holds: Holds
  readonly drain: Drain
  readonly lane: Lane
  readonly startedAtMs: number
  /** Tells it from others that had, or will have, its name in this process. A restart is the same life. */
  readonly life = ++lives
  /** From another process: how it ends is kept for a while. */
  isWatched = false
  readonly ended = Deferred.makeUnsafe<Terminated>()
  /** Succeeds when the actor serves; fails with its behaviour's own error when it could not start. */
  readonly started = Deferred.makeUnsafe<void, unknown>()
  /** The fencing epoch it holds its name by, once it has claimed it. Messages meant for another are refused. */
  epoch: Epoch | "unverified" | undefined
  #firstEpoch: Epoch | undefined

  readonly #host: CellHost
  readonly #options: CellOptions
  readonly #clock: Clock.Clock
  #scope: Scope.Closeable
  #context: Context.Context<never>
  #start: Start | undefined
  #starting: Fiber.Fiber<unknown, unknown> | undefined
  /** From its first crash on. */
  #restart: Restart | undefined
  #ending: { readonly by: EndedBy; readonly detail: string } | undefined
  readonly #children = new Children()
  readonly #streams = new OpenStreams()
  readonly #listeners = new StateListeners()

  constructor(host: CellHost, options: CellOptions) {
    this.#host = host
    this.#options = options
    this.address = options.address
    this.protocol = options.protocol
    this.parent = options.parent
    this.holds = options.holds
    this.name = nameOf(this.address.kind, this.address.id)
    this.#scope = Scope.forkUnsafe(options.parentScope, "sequential")
    this.#context = host.context
    this.#clock = Context.get(host.context, Clock.Clock)
    this.startedAtMs = this.nowMs()
    this.drain = new Drain(this, options.deadlines)
    this.lane = new Lane(this, options.capacity)
    if (options.parent !== undefined) options.parent.#children.took(this)
    host.cells.set(this.name, this)
  }

  get deadLetters(): DeadLetters {
    return this.#host.deadLetters
  }

  /** Monotonic milliseconds. */
  nowMs(): number {
    return Math.floor(Number(this.#clock.monotonicTimeNanosUnsafe()) / 1_000_000)
  }

  wallMs(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  /** Says by which epoch it holds its name from now on. */
  hold(epoch: Epoch | "unverified"): void {
    this.epoch = epoch
    if (epoch !== "unverified") this.#firstEpoch ??= epoch
  }

  /** Was the name another life's under that epoch? */
  isLaterThan(epoch: Epoch): boolean {
    const first = this.#firstEpoch
    return first !== undefined && first.registry === epoch.registry && first.revision > epoch.revision
  }

  get isOver(): boolean {
    return this.#ending !== undefined
  }

  /** Not while it ends, and not between a crash and the new beginning: nobody would end what is begun then. */
  get takesChildren(): boolean {
    return this.#ending === undefined && this.#restart?.isUnderWay !== true
  }

  /** Of the present run: a restart makes another. */
  get scope(): Scope.Closeable {
    return this.#scope
  }

  get children(): ReadonlyArray<Cell> {
    return this.#children.all
  }

  /** Runs in the actor's services and scope. */
  run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect)
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
    const fiber = this.run(
      Effect.withFiber((self) => {
        this.#starting = self
        return Effect.suspend(start)
      })
    )
    fiber.addObserver((exit) => {
      this.#starting = undefined
      this.lane.running.fibers.delete(fiber)
      if (this.#ending !== undefined) {
        Deferred.doneUnsafe(this.started, this.#endedError())
      } else if (this.#restart?.isUnderWay === true) {
        // A child's crash was its own, while it started: this run serves nobody, however its start went.
        return
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
        if (isBug) this.bug("an actor's start died", exit.cause)
        const isFirst = Deferred.doneUnsafe(this.started, Exit.failCause(exit.cause))
        // Whoever spawned it was told why; after that nobody is, and it counts as a crash.
        if (isFirst && !isBug) this.end("itself", detail)
        else this.#crash(detail)
      }
    })
  }

  /** Begins a stream that one of its handlers gave as an answer. It ends with the actor, and before its scope does. */
  openStream(stream: AnyStream): Effect.Effect<ReplyStream> {
    return this.#streams.open(this, stream).pipe(Effect.provideContext(this.#context))
  }

  closeStream(stream: ReplyStream): Effect.Effect<void> {
    return this.#streams.close(stream)
  }

  crashOver(): ActorCrashed | undefined {
    return this.takesChildren ? undefined : this.#crashedBy(this.#ending?.detail ?? "it crashed")
  }

  /** Calls back after each change of state, synchronously: until a restart or the end for `self`, until the end for others. */
  listen(who: "self" | "other", listener: StateListener): void {
    this.#listeners.add(who, listener)
  }

  onChange(state: NodeState, change: StateChange): void {
    this.#listeners.tell(state, change, (defect) =>
      this.bug("a listener of its state threw", Cause.die(defect))
    )
  }

  /** Opens or cordons. False when it was so already, and while it drains. */
  admit(to: "open" | "cordoned", cause: StateCause): boolean {
    return this.drain.state.admission !== "closed" && this.drain.move("admission", to, cause)
  }

  holding(holds: Holds): number {
    return this.#children.holding(holds)
  }

  childInfos(): ReadonlyArray<ChildInfo> {
    return this.#children.infos(this.nowMs())
  }

  endServing(how: "gently" | "kill"): void {
    this.#children.endServing(how === "kill" ? "kill" : "parent")
  }

  finish(how: "gently" | "kill", detail: string): void {
    this.end(how === "kill" ? "kill" : "itself", detail)
  }

  timer(ms: number, fire: () => void): () => void {
    const fiber = this.run(Effect.andThen(Effect.sleep(ms), Effect.sync(fire)))
    return () => fiber.interruptUnsafe()
  }

  endsBecause(): string | undefined {
    return this.#ending?.detail
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
    const { context } = this.#host
    this.lane.running.offStack(() => {
      const ended = this.#restart?.isUnderWay === true ? this.#restart.abandon : this.#endRun(by, detail)
      const goodbye = () => this.#sayGoodbye(by, detail)
      if (ended === undefined) goodbye()
      else Effect.runForkWith(context)(Effect.andThen(ended, Effect.sync(goodbye)))
    })
    if (by === "crash" && escalates(this.#options.onCrash) && this.parent !== undefined) {
      this.parent.#crash(`its ${this.address.kind} '${this.address.id}' crashed: ${detail}`)
    }
  }

  crashed(tag: string, cause: Cause.Cause<unknown>): void {
    this.bug(`the handler of ${tag} died`, cause)
    this.#crash(describeCause(cause))
  }

  /** Says in the log what must not be, and counts it. */
  bug(what: string, ...causes: ReadonlyArray<Cause.Cause<unknown>>): void {
    this.#host.metrics.bug(this.address.kind)
    this.#log(`BUG: ${what}`, ...causes)
  }

  #crash(detail: string): void {
    if (this.#ending !== undefined || this.#restart?.isUnderWay === true) return
    const { onCrash } = this.#options
    const { life } = this.drain.state
    const serves = life === "Starting" || life === "Serving"
    if (typeof onCrash !== "object" || !serves) return this.end("crash", detail)
    const restart = (this.#restart ??= new Restart(this.#host.context, onCrash.restart))
    restart.claim()
    this.lane.pause()
    this.#starting?.interruptUnsafe()
    this.#interruptAll()
    this.lane.running.offStack(() =>
      restart.begin(this.#endRun("crash", detail), detail, {
        again: () => this.#again(),
        over: () => this.end("crash", detail)
      })
    )
  }

  #again(): void {
    this.#scope = Scope.forkUnsafe(this.#options.parentScope, "sequential")
    this.epoch = undefined
    this.#listeners.forgetOwn()
    if (this.#start !== undefined) this.#begin(this.#start)
  }

  /** Ends what this run holds; undefined when nothing has to be waited for. */
  #endRun(by: EndedBy, detail: string): Effect.Effect<void> | undefined {
    // Its start is interrupted, and what it had acquired is on its way back: nobody hears of the end before.
    if (this.#starting !== undefined) this.lane.running.fibers.add(this.#starting)
    const { finalizerMs, stopGraceMs } = this.#options
    return endRun({
      running: this.lane.running.fibers,
      stopGraceMs,
      finalizerMs,
      scope: this.#scope,
      endStreams: () => this.#streams.endAll(this.#crashedBy(detail)),
      holdsNothing: this.#children.isEmpty,
      endChildren: this.#children.endAll(by === "kill" ? "kill" : "parent", detail),
      warn: (what) => this.#log(what),
      bug: (what, cause) => this.bug(what, cause)
    })
  }

  #sayGoodbye(by: EndedBy, detail: string): void {
    this.#host.cells.delete(this.name)
    if (this.parent !== undefined) this.parent.#children.lost(this)
    // Most have served: an error that nobody reads is not made.
    if (!Deferred.isDoneUnsafe(this.started)) Deferred.doneUnsafe(this.started, this.#endedError())
    this.drain.ended({ by, detail, failed: by === "crash" })
    const terminated: Terminated = { address: this.address, by, detail }
    if (this.isWatched) this.#host.endings.add(this.life, terminated)
    Deferred.doneUnsafe(this.ended, Exit.succeed(terminated))
    // One that escalates is no child less to wait for: the parent crashes in a moment.
    if (by !== "crash" || !escalates(this.#options.onCrash)) this.parent?.drain.childrenChanged()
  }

  #endedError(): Exit.Exit<never, ActorCrashed> {
    return Exit.fail(this.#crashedBy(this.#ending?.detail ?? "ended"))
  }

  #crashedBy(reason: string): ActorCrashed {
    const { id, kind } = this.address
    return new ActorCrashed({ kind, id, reason })
  }

  #interruptAll(): void {
    this.lane.running.interruptAll()
    this.#children.killAll(this.#ending?.detail ?? "killed")
  }

  #log(what: string, ...causes: ReadonlyArray<Cause.Cause<unknown>>): void {
    this.run(Effect.logError(`${what} in ${formatAddress(this.address)}`, ...causes))
  }
}
