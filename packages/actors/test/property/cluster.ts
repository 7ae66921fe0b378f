/**
 * Processes of a run: each with a runtime, a lease, a directory and a node actor on one bus and one registry in memory, as a host would
 * put them together; and what can happen to a process as a whole: a start, a stop, a kill, a pause.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import type { ActorSystem, Incarnation, Terminated } from "../../src/index.ts"
import { makeActorSystem } from "../../src/index.ts"
import { Directory } from "../../src/Directory.ts"
import { decodeDirectoryEntry } from "../../src/DirectoryEntry.ts"
import type { HeldLease } from "../../src/Lease.ts"
import { hold } from "../../src/Lease.ts"
import { Leases } from "../../src/Leases.ts"
import { decodeNodeLease, leaseTimes } from "../../src/NodeLease.ts"
import type { Registry } from "../../src/Registry.ts"
import { TestBus, TestRegistry } from "../../src/testing/index.ts"
import type { Transport } from "../../src/Transport.ts"
import { body } from "../cluster.ts"
import { node } from "./actors.ts"
import type { Actor, Life, Model } from "./model.ts"
import { spawned } from "./model.ts"
import type { Run } from "./operations.ts"
import type { ProcessTime, VirtualTime } from "./virtualTime.ts"

/** A process that serves. */
export interface Serving {
  readonly system: ActorSystem["Service"]
  readonly lease: HeldLease
  readonly leases: Leases["Service"]
  readonly services: Context.Context<Registry | Transport>
}

export interface Process {
  /** `<node id>.<n>`: its n-th process. Its name on the bus. */
  readonly label: string
  readonly nodeId: string
  readonly time: ProcessTime
  readonly scope: Scope.Closeable
  /** undefined while it starts. */
  serving: Serving | undefined
  state: "alive" | "stopping" | "gone"
  /** When it was disconnected, paused for long, or without a registry that answers: nobody is dead to it for a while after. */
  readonly awayMs: Array<number>
  /** When its lease was last seen to be fresh, and since when it has been so without a break of the margin. */
  freshMs: number
  freshSinceMs: number
  /** Runs in the process, and ends with it. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly running: Set<Fiber.Fiber<unknown, unknown>>
}

export type ServingProcess = Process & { readonly serving: Serving }

export interface Owner {
  readonly incarnation: Incarnation
  readonly revision: number
}

/** The longest that passes between two looks at who believes what. */
export const lookMs = 1_500
/** The longest that a call of the registry takes. */
const callMs = 2_000
const deathMs = leaseTimes.ttlMs + leaseTimes.marginMs

export class Cluster {
  readonly model: Model
  readonly time: VirtualTime
  readonly bus: TestBus.TestBus
  readonly registry: TestRegistry.TestRegistry
  readonly processes: Array<Process> = []
  /** What the registry says, by `<kind>.<id>`. */
  readonly owners = new Map<string, Owner>()
  /** Names that were written by who may have read them in a store that was lost since: nothing is promised of them. */
  readonly struck = new Set<string>()
  lostStoreMs = Number.NEGATIVE_INFINITY
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  /** Incarnations that gave their lease back, or whose node id another one holds. */
  readonly #ended = new Set<Incarnation>()
  readonly #holders = new Map<string, Incarnation>()

  readonly #registryMs: number

  constructor(model: Model, time: VirtualTime, { registryMs, seed }: Pick<Run, "registryMs" | "seed">) {
    this.#registryMs = registryMs
    this.model = model
    this.time = time
    this.run = runOn(time.process(), model)
    const outside = now(
      this.run(
        Effect.gen({ self: this }, function* () {
          const bus = yield* TestBus.make({ seed })
          const registry = yield* TestRegistry.make(bus, { seed, onWrite: (write) => this.#wrote(write) })
          return { bus, registry }
        }).pipe(Scope.provide(Scope.makeUnsafe()))
      )
    )
    this.bus = outside.bus
    this.registry = outside.registry
  }

  /** The process of a node that is not gone, and has got as far as to serve. */
  serving(nodeId: string): ServingProcess | undefined {
    const process = this.processes.findLast((known) => known.nodeId === nodeId)
    return process !== undefined && isServing(process) ? process : undefined
  }

  start(nodeId: string): void {
    const before = this.processes.filter((known) => known.nodeId === nodeId)
    if (before.some(({ state }) => state !== "gone")) return
    const label = `${nodeId}.${before.length + 1}`
    const time = this.time.process()
    const run = runOn(time, this.model)
    const running: Process["running"] = new Set()
    const process: Process = {
      label,
      nodeId,
      time,
      scope: Scope.makeUnsafe(),
      serving: undefined,
      state: "alive",
      awayMs: [this.time.nowMs],
      freshMs: Number.NEGATIVE_INFINITY,
      freshSinceMs: Number.POSITIVE_INFINITY,
      running,
      run: (effect) => {
        const fiber = run(effect)
        if (fiber.pollUnsafe() === undefined) {
          running.add(fiber)
          fiber.addObserver(() => running.delete(fiber))
        }
        return fiber
      }
    }
    this.processes.push(process)
    if (this.#registryMs > 0) this.run(this.registry.slowDown(label, [0, this.#registryMs]))
    this.model.note(`start ${label}`)
    process.run(this.#boot(process).pipe(Scope.provide(process.scope))).addObserver((exit) => {
      if (Exit.isSuccess(exit)) return
      this.model.note(`${label} could not start`)
      this.stop(process)
    })
  }

  /** Ends it gently: actors, lease, listeners, in this order. */
  stop(process: Process): void {
    if (process.state !== "alive") return
    process.state = "stopping"
    this.model.note(`stop ${process.label}`)
    process.run(Scope.close(process.scope, Exit.void)).addObserver(() => {
      process.state = "gone"
      this.model.note(`${process.label} is gone`)
      for (const fiber of process.running) fiber.interruptUnsafe()
    })
  }

  /** As SIGKILL: it says and does nothing more, and gives nothing back. */
  kill(process: Process): void {
    if (process.state === "gone") return
    process.state = "gone"
    process.serving = undefined
    this.model.note(`kill ${process.label}`)
    this.time.forget(process.time)
    this.run(this.bus.pause(process.label))
    this.run(this.bus.disconnect(process.label))
    for (const life of this.model.lives) {
      if (life.process === process.label) life.released = life.actor.gone = true
    }
  }

  pause(process: Process): void {
    process.time.paused = true
    this.run(this.bus.pause(process.label))
    this.model.note(`pause ${process.label}`)
  }

  /** Timers and sockets are independent of each other: either may come first. */
  resume(process: Process, first: "timers" | "frames"): void {
    if (process.state === "gone") return
    this.model.note(`resume ${process.label}, ${first} first`)
    process.time.paused = false
    if (first === "timers") this.time.fireOverdue(process.time)
    this.run(this.bus.resume(process.label))
    this.time.fireOverdue(process.time)
  }

  away(process: Process): void {
    process.awayMs.push(this.time.nowMs)
  }

  /** For how long, at that moment, a process had seen all that could be seen. */
  attentiveMs(process: Process, atMs = this.time.nowMs): number {
    const lastAwayMs = process.awayMs.findLast((ms) => ms <= atMs) ?? atMs
    return atMs < this.time.nowMs || this.bus.isOnline(process.label) ? atMs - lastAwayMs : 0
  }

  lostStore(): void {
    this.lostStoreMs = this.time.nowMs
    this.owners.clear()
    for (const process of this.processes) this.away(process)
  }

  /** Once all are stopped. */
  lookForLeftovers(): void {
    const stranger = now(this.run(this.bus.connect("stranger")))
    for (const { label, serving, state, time } of this.processes) {
      if (state !== "gone") this.model.broken("end: nothing left", `${label} does not end`)
      const wasKilled = serving === undefined
      if (!wasKilled && time.sleepers() > 0) {
        this.model.broken("end: nothing left", `${time.sleepers()} timers of ${label}`)
      }
      if (serving === undefined) continue
      const { incarnation, subjects } = serving.system
      for (const subject of [
        subjects.system(incarnation),
        subjects.actor({ kind: "k", id: "i", incarnation })
      ]) {
        const asked = this.run(
          Effect.flip(stranger.request(subject, new Uint8Array(1), { timeoutMs: 1_000 }))
        )
        const exit = asked.pollUnsafe()
        const isDeaf = exit !== undefined && Exit.isSuccess(exit) && exit.value.reason === "NoListener"
        if (!isDeaf) this.model.broken("end: nothing left", `${label} listens to ${subject}`)
      }
    }
    const left = this.model.lives.find(({ released }) => !released)
    if (left !== undefined) this.model.broken("end: nothing left", left.label)
  }

  #boot(process: Process) {
    const { label, nodeId } = process
    const { model } = this
    return Effect.gen({ self: this }, function* () {
      const services = yield* Layer.build(
        Directory.layer.pipe(
          Layer.provideMerge(Leases.layer),
          Layer.provideMerge(Layer.merge(this.bus.layer(label), this.registry.layer(label)))
        )
      )
      const leases = Context.get(services, Leases)
      const system = yield* Effect.provideContext(makeActorSystem({ cluster: "test", nodeId }), services)
      const { incarnation } = system
      const lease = yield* Effect.provideContext(hold({ nodeId, incarnation, initial: body() }), services)
      const watch = (terminated: Effect.Effect<Terminated>, watched: Actor) => {
        process.run(terminated).addObserver((exit) => {
          watched.gone ||= Exit.isSuccess(exit)
        })
      }
      const directory = Context.get(services, Directory)
      const place = { process: label, model, directory, lease, watch }
      const args = { actor: spawned(), holds: "serving" as const, parent: undefined, place }
      const { ref, started } = yield* system.spawn(node, nodeId, args)
      // Before the lease goes: whoever sees it gone may take the names.
      const stopped = system
        .system(incarnation)
        .ask("Stop", { kind: "node", id: nodeId, kill: false, detail: "stopped" })
        .pipe(Effect.ignore, Effect.andThen(ref.terminated))
      yield* Effect.addFinalizer(() => stopped)
      yield* started
      process.serving = { system, lease, leases, services }
      model.note(`${label} serves as ${incarnation}`)
      // A node that was drained, and one whose id another process holds, ends its process.
      yield* Effect.race(ref.terminated, lease.superseded).pipe(
        Effect.tap(() => Effect.sync(() => this.stop(process))),
        Effect.forkDetach
      )
    })
  }

  #wrote({
    bucket,
    key,
    process: label,
    revision,
    sentMs,
    value
  }: Parameters<NonNullable<TestRegistry.TestRegistryOptions["onWrite"]>>[0]) {
    if (bucket === "leases") {
      const before = this.#holders.get(key)
      const after = value && Option.getOrUndefined(decodeNodeLease(value))?.inc
      if (before !== undefined && before !== after) this.#ended.add(before)
      if (after === undefined) this.#holders.delete(key)
      else this.#holders.set(key, after)
    }
    if (bucket !== "directory" || !key.includes(".")) return
    const before = this.owners.get(key)
    const entry = value && Option.getOrUndefined(decodeDirectoryEntry(value))
    const writer = this.processes.find((known) => known.label === label)
    this.model.note(`${key} ${entry === undefined ? "removed" : `is ${label}'s, revision ${revision}`}`)
    const mine = writer?.serving?.system.incarnation
    // A revision does not say of which store it is: what was read from one may be written to the other.
    if (this.lostStoreMs > 0 && sentMs < this.lostStoreMs + callMs) this.struck.add(key)
    if (before !== undefined && mine !== undefined && before.incarnation !== mine && !this.struck.has(key)) {
      this.#took(key, writer, before.incarnation, sentMs)
    }
    if (entry === undefined) this.owners.delete(key)
    else this.owners.set(key, { incarnation: entry.inc, revision })
  }

  /** `taker` replaced, or removed, what `owner` had, by a write that it sent at that time. */
  #took(key: string, taker: Process | undefined, owner: Incarnation, sentMs: number): void {
    this.model.count("taken over")
    const by = `${taker?.label} took ${key} from ${owner}`
    if (this.#ended.has(owner)) return
    const believer = this.model.lives.find(
      (life) => life.incarnation === owner && `${life.kind}.${life.id}` === key && this.believes(life)
    )
    if (believer !== undefined) {
      return this.model.broken("fencing: dead owner", `${by}, and ${believer.label} believes to have it`)
    }
    const attentiveMs = taker === undefined ? 0 : this.attentiveMs(taker, sentMs)
    if (attentiveMs < deathMs) {
      this.model.broken("fencing: dead owner", `${by}, and had been attentive for ${attentiveMs} ms`)
    }
  }

  /** By its own clock and its own knowledge, as it would judge if it looked now; also of one that is paused. */
  isFresh(process: Process): boolean {
    const { serving } = process
    return (
      serving !== undefined &&
      Effect.runSyncWith(process.time.context)(serving.lease.unbrokenSince) !== undefined
    )
  }

  /** May a process be called dead? Only one whose lease has not been fresh for the margin. */
  mayBeDead(incarnation: Incarnation): boolean {
    const process = this.processes.find(({ serving }) => serving?.system.incarnation === incarnation)
    if (process === undefined || process.state === "gone") return true
    const isBack = this.time.nowMs - process.freshMs >= leaseTimes.marginMs
    if (!this.isFresh(process)) return isBack
    if (isBack) process.freshSinceMs = this.time.nowMs
    process.freshMs = this.time.nowMs
    return false
  }

  /** May a watcher be told so? It may be answered by what was known a second ago. */
  mayBeLost(incarnation: Incarnation): boolean {
    const process = this.processes.find(({ serving }) => serving?.system.incarnation === incarnation)
    const mayBeDead = this.mayBeDead(incarnation)
    return mayBeDead || this.time.nowMs - (process?.freshSinceMs ?? 0) < leaseTimes.renewMs / 4 + lookMs
  }

  /** Would this actor now write for its name? Its lease is fresh, and it has verified its entry since that last lapsed. */
  believes(life: Life): boolean {
    if (life.held === undefined || life.released) return false
    const process = this.processes.find(({ label }) => label === life.process)
    if (process?.serving === undefined || !this.isFresh(process)) return false
    const lease = Effect.runSyncWith(process.time.context)(process.serving.lease.epoch)
    return lease.revision === life.held.lease.revision && lease.registry === life.held.lease.registry
  }
}

const isServing = (process: Process): process is ServingProcess =>
  process.serving !== undefined && process.state === "alive"

/** Runs effects on a process's time, and hears of bugs. */
const runOn = (time: ProcessTime, model: Model) => {
  const logger = Logger.make<unknown, void>(({ message }) => {
    const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
    const wasAskedFor = text.startsWith("BUG: the handler of Crash died")
    if (text.startsWith("BUG:") && !wasAskedFor) model.broken("no bug", text)
  })
  const context = time.context.pipe(
    Context.add(References.MinimumLogLevel, "Error"),
    Context.add(Logger.CurrentLoggers, new Set([logger]))
  )
  return Effect.runForkWith(context)
}

/** What an effect comes to that waits for nothing. */
const now = <A, E>(fiber: Fiber.Fiber<A, E>): A => {
  const exit = fiber.pollUnsafe()
  if (exit === undefined || Exit.isFailure(exit))
    throw new Error(`this was to be done at once: ${String(exit)}`)
  return exit.value
}
