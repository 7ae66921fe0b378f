/** What goes wrong in a run with processes, network and registry, each for a while: owns when it ends. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { leaseTimes } from "../../src/NodeLease.ts"
import type { Fault } from "../../src/testing/TestBus.ts"
import type { Cluster, Process } from "./cluster.ts"
import type { Model } from "./model.ts"
import type { VirtualTime } from "./virtualTime.ts"

/** Whoever could see nothing for longer may have missed something. */
const lateMs = leaseTimes.ttlMs / 2

export class Faults {
  readonly #cluster: Cluster
  readonly #model: Model
  readonly #time: VirtualTime
  /** In order of time. */
  #mends: Array<{ readonly atMs: number; readonly mend: () => void }> = []
  #repeating = 0
  /** Since when the registry hangs. */
  #hungMs: number | undefined

  constructor(cluster: Cluster, model: Model, time: VirtualTime) {
    this.#cluster = cluster
    this.#model = model
    this.#time = time
  }

  /** The network delivers some frames twice. */
  get repeats(): boolean {
    return this.#repeating > 0
  }

  get nextEndMs(): number {
    return this.#mends[0]?.atMs ?? Number.POSITIVE_INFINITY
  }

  /** Ends the next fault that is over by now, or with `all` any; false when there is none. */
  mendOne(all: boolean): boolean {
    if (!all && this.nextEndMs > this.#time.nowMs) return false
    const next = this.#mends.shift()
    next?.mend()
    return next !== undefined
  }

  pause(process: Process, ms: number, first: "timers" | "frames"): void {
    if (process.state === "gone" || process.time.paused) return
    this.#cluster.pause(process)
    const beganMs = this.#time.nowMs
    this.#later(ms, () => {
      if (this.#time.nowMs - beganMs > lateMs) this.#cluster.away(process)
      this.#cluster.resume(process, first)
    })
  }

  /** They come back one after the other, all within `spreadMs`. */
  disconnect(processes: ReadonlyArray<Process>, ms: number, spreadMs: number): void {
    for (const [index, process] of processes.entries()) {
      if (process.state === "gone") continue
      this.#model.note(`disconnect ${process.label}`)
      this.#cluster.run(this.#cluster.bus.disconnect(process.label))
      this.#later(ms + (((index + spreadMs) % 4) * spreadMs) / 4, () => {
        if (process.state === "gone" || this.#cluster.bus.isOnline(process.label)) return
        this.#model.note(`reconnect ${process.label}`)
        this.#cluster.run(this.#cluster.bus.reconnect(process.label))
        this.#cluster.away(process)
      })
    }
  }

  outage(ms: number, spreadMs: number, loseStore: boolean): void {
    this.disconnect(this.#cluster.processes, ms, spreadMs)
    if (loseStore) this.#later(ms / 2, () => this.loseStore())
  }

  loseStore(): void {
    this.#model.note("the registry loses its store")
    this.#cluster.lostStore()
    this.#cluster.run(this.#cluster.registry.loseStore)
  }

  registry(what: "hangRegistry" | "refuseWrites" | "lagWatches", ms: number): void {
    const { hang, lagWatches, refuseWrites, resume } = this.#cluster.registry
    const [begin, end]: readonly [Effect.Effect<void>, Effect.Effect<void>] =
      what === "hangRegistry"
        ? [hang, resume]
        : what === "refuseWrites"
          ? [refuseWrites(true), refuseWrites(false)]
          : [lagWatches(true), lagWatches(false)]
    this.#model.note(what)
    this.#cluster.run(begin)
    if (what === "hangRegistry") this.#hungMs ??= this.#time.nowMs
    this.#later(ms, () => {
      this.#model.note(`no more ${what}`)
      this.#cluster.run(end)
      if (what !== "hangRegistry" || this.#hungMs === undefined) return
      const wasLong = this.#time.nowMs - this.#hungMs > lateMs
      this.#hungMs = undefined
      if (wasLong) for (const process of this.#cluster.processes) this.#cluster.away(process)
    })
  }

  /** Of frames from one process to another. */
  disturb(
    from: Process | undefined,
    to: Process | undefined,
    fault: Omit<Fault, "from" | "to">,
    ms: number
  ): void {
    if (from === undefined || to === undefined) return
    const scope = Scope.makeUnsafe()
    this.#model.note(`from ${from.label} to ${to.label}: ${JSON.stringify(fault)}`)
    const all = { ...fault, from: from.label, to: to.label }
    this.#cluster.run(Scope.provide(this.#cluster.bus.fault(all), scope))
    const repeats = (fault.duplicate ?? 0) > 0 ? 1 : 0
    this.#repeating += repeats
    this.#later(ms, () => {
      this.#cluster.run(Scope.close(scope, Exit.void))
      this.#repeating -= repeats
    })
  }

  #later(ms: number, mend: () => void): void {
    this.#mends.push({ atMs: this.#time.nowMs + ms, mend })
    this.#mends.sort((a, b) => a.atMs - b.atMs)
  }
}
