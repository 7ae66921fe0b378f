/**
 * The metrics of one process's actors. Counts the refusals and, where it is wanted, the asks; everything else it reads from the live
 * actors when somebody looks, in one walk through them for all series together.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Metric from "effect/Metric"
import * as Predicate from "effect/Predicate"
import { AskError } from "../ActorError.ts"
import type { ActorRef, AskOptions } from "../ActorRef.ts"
import type { DropReason } from "../DeadLetters.ts"
import type { DrainProgress, Holds } from "../Drain.ts"
import {
  AsksMeasured,
  counterOf,
  histogramOf,
  instruments,
  registerCounter,
  registerGauge
} from "../Metrics.ts"
import type { Life, NodeState } from "../NodeState.ts"
import type { AnyMessage, Protocol } from "./rpcSeam.ts"

/** An actor as it is counted. */
export interface Counted {
  readonly address: { readonly kind: string }
  readonly holds: Holds
  readonly lane: { readonly depth: number }
  readonly drain: { readonly state: NodeState; progress(): DrainProgress }
  readonly children: ReadonlyArray<Counted>
}

/** Ended ones are not counted. */
const lives: ReadonlyArray<Life> = ["Starting", "Serving", "Draining", "Evacuating", "Sealing", "Drained"]

const dropReasons: Readonly<Record<DropReason, true>> = {
  expired: true,
  cancelled: true,
  noActor: true,
  malformed: true,
  ended: true,
  full: true,
  stale: true,
  paused: true,
  unsupported: true,
  abandoned: true,
  noStream: true
}

/** A program has some ten kinds. One that makes them up as it goes must not make as many series. */
const kindsMax = 64
const seriesMax = 1024
const other = "other"

type AskErrorTag = AskError["_tag"]
const askErrorTags: ReadonlySet<string> = new Set(AskError.members.map(({ identifier }) => identifier))
/** An asker's own: it waits, or it cannot send. */
const neverGiven: ReadonlySet<string> = new Set<AskErrorTag>(["AskTimeout", "ActorCrashed"])

/** What a mailbox refuses is counted as a dead letter already. */
const droppedWith: Readonly<Record<string, DropReason>> = { MailboxFull: "full", NoSuchActor: "ended" }

interface KindCount {
  readonly lives: Map<Life, number>
  waiting: number
  waitingMax: number
  phaseMs: number
  blockers: number
}

export class ActorMetrics {
  readonly #context: Context.Context<never>
  readonly #actors: ReadonlyMap<string, Counted>
  readonly #kinds = new Set<string>()
  readonly #refusals = new Map<string, number>()
  readonly #bugs = new Map<string, number>()
  readonly #registered: Array<Metric.Registration> = []
  #counts: Map<string, KindCount> | undefined
  readonly #asks: AskMetrics | undefined

  constructor(
    context: Context.Context<never>,
    actors: ReadonlyMap<string, Counted>,
    dropped: (reason: DropReason) => number
  ) {
    this.#context = context
    this.#actors = actors
    this.#asks = Context.get(context, AsksMeasured) ? new AskMetrics(context) : undefined
    for (const reason of Object.keys(dropReasons) as Array<DropReason>) {
      this.#registered.push(
        registerCounter(context, instruments.deadLetters, { reason }, () => dropped(reason))
      )
    }
    for (const error of askErrorTags) {
      if (neverGiven.has(error)) continue
      const asDropped = droppedWith[error]
      const read = () => (this.#refusals.get(error) ?? 0) + (asDropped === undefined ? 0 : dropped(asDropped))
      this.#registered.push(registerCounter(context, instruments.refusals, { error }, read))
    }
  }

  refused(error: AskErrorTag): void {
    this.#refusals.set(error, (this.#refusals.get(error) ?? 0) + 1)
  }

  /** Something of an actor of this kind died, or broke its contract; its log says what. */
  bug(kind: string): void {
    const name = this.#kinds.has(kind) ? kind : other
    this.#bugs.set(name, (this.#bugs.get(name) ?? 0) + 1)
  }

  /** An actor of this kind is about to live: from now on its kind has series, with 0 when there is none. */
  saw(kind: string): void {
    if (this.#kinds.has(kind) || this.#kinds.has(other)) return
    const name = this.#kinds.size < kindsMax ? kind : other
    this.#kinds.add(name)
    const add = (
      instrument: (typeof instruments)[keyof typeof instruments],
      read: (of: KindCount) => number
    ) =>
      this.#registered.push(
        registerGauge(this.#context, instrument, { kind: name }, () => read(this.#countOf(name)))
      )
    add(instruments.mailboxes, ({ waiting }) => waiting)
    add(instruments.mailboxesMax, ({ waitingMax }) => waitingMax)
    add(instruments.drainPhase, ({ phaseMs }) => phaseMs / 1000)
    add(instruments.drainBlockers, ({ blockers }) => blockers)
    const bugs = () => this.#bugs.get(name) ?? 0
    this.#registered.push(registerCounter(this.#context, instruments.bugs, { kind: name }, bugs))
    for (const state of lives) {
      const read = () => this.#countOf(name).lives.get(state) ?? 0
      this.#registered.push(registerGauge(this.#context, instruments.actors, { kind: name, state }, read))
    }
  }

  /** A reference whose asks are measured, where they are to be; itself where not. */
  measured<R extends AnyMessage>(protocol: Protocol<R>, ref: ActorRef<R>): ActorRef<R> {
    const asks = this.#asks
    if (asks === undefined) return ref
    const { address, terminated } = ref
    const ask = (tag: string, input: unknown, options?: AskOptions) => {
      const known = protocol.requests.has(tag) ? tag : other
      return asks.measure(address.kind, known, ref.ask(tag as never, input as never, options))
    }
    return {
      address,
      terminated,
      // The same question, with the same types, seen from outside.
      ask: ask as unknown as ActorRef<R>["ask"],
      stream: (tag, input, options) => ref.stream(tag, input, options),
      tell: (tag, input) => ref.tell(tag, input)
    }
  }

  remove(): void {
    for (const { remove } of this.#registered) remove()
  }

  #countOf(kind: string): KindCount {
    if (this.#counts === undefined) {
      this.#counts = this.#count()
      // All series are read in one turn: one walk serves them all.
      queueMicrotask(() => {
        this.#counts = undefined
      })
    }
    return countIn(this.#counts, kind)
  }

  #count(): Map<string, KindCount> {
    const counts = new Map<string, KindCount>()
    const of = (kind: string) => countIn(counts, this.#kinds.has(kind) ? kind : other)
    for (const { address, children, drain, lane } of this.#actors.values()) {
      const count = of(address.kind)
      const { life } = drain.state
      count.lives.set(life, (count.lives.get(life) ?? 0) + 1)
      count.waiting += lane.depth
      count.waitingMax = Math.max(count.waitingMax, lane.depth)
      if (life !== "Draining" && life !== "Evacuating" && life !== "Sealing") continue
      count.phaseMs = Math.max(count.phaseMs, drain.progress().phaseMs ?? 0)
      const waitsFor: Holds = life === "Sealing" ? "sealing" : "serving"
      for (const child of children) if (child.holds === waitsFor) of(child.address.kind).blockers++
    }
    return counts
  }
}

const countIn = (counts: Map<string, KindCount>, kind: string): KindCount => {
  let count = counts.get(kind)
  if (count === undefined) {
    count = { lives: new Map(), waiting: 0, waitingMax: 0, phaseMs: 0, blockers: 0 }
    counts.set(kind, count)
  }
  return count
}

interface AskMeter {
  readonly seconds: Metric.Histogram<number>
  readonly outcomes: Map<string, Metric.Counter<number>>
}

class AskMetrics {
  readonly #context: Context.Context<never>
  readonly #meters = new Map<string, Map<string, AskMeter>>()
  #made = 0

  constructor(context: Context.Context<never>) {
    this.#context = context
  }

  measure(kind: string, tag: string, ask: Effect.Effect<unknown, unknown>): Effect.Effect<unknown, unknown> {
    return Effect.suspend(() => {
      const beganAt = performance.now()
      return Effect.onExitPrimitive(
        ask,
        (exit) => {
          const meter = this.#meterOf(kind, tag)
          meter.seconds.updateUnsafe((performance.now() - beganAt) / 1000, this.#context)
          this.#counterOf(meter, kind, tag, outcomeOf(exit)).updateUnsafe(1, this.#context)
          return undefined
        },
        true
      )
    })
  }

  #meterOf(kind: string, tag: string): AskMeter {
    let ofKind = this.#meters.get(kind)
    let meter = ofKind?.get(tag)
    if (meter !== undefined) return meter
    if (this.#made === seriesMax && kind !== other) return this.#meterOf(other, other)
    this.#made++
    meter = { seconds: histogramOf(instruments.askSeconds, { kind, tag }), outcomes: new Map() }
    ofKind ??= new Map()
    ofKind.set(tag, meter)
    this.#meters.set(kind, ofKind)
    return meter
  }

  #counterOf(meter: AskMeter, kind: string, tag: string, outcome: string): Metric.Counter<number> {
    let counter = meter.outcomes.get(outcome)
    if (counter === undefined) {
      counter = counterOf(instruments.asks, { kind, tag, outcome })
      meter.outcomes.set(outcome, counter)
    }
    return counter
  }
}

/** `failure` is the contract's own error: the runtime did what it was asked for. */
const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None") return Exit.hasInterrupts(exit) ? "Interrupted" : "Defect"
  const tag = Predicate.hasProperty(error.value, "_tag") ? String(error.value._tag) : ""
  return askErrorTags.has(tag) ? tag : "failure"
}
