/** One run: a cluster, what happens in it, and the model that looks on. Ends with everything mended and every process stopped. */
import * as Exit from "effect/Exit"
import type { Epoch } from "../../src/index.ts"
import { leaseTimes } from "../../src/NodeLease.ts"
import type { Process, ServingProcess } from "./cluster.ts"
import { Cluster, lookMs } from "./cluster.ts"
import { Faults } from "./faults.ts"
import type { Life, Promised } from "./model.ts"
import { Broken, Model } from "./model.ts"
import type { Operation, OperationOf, Run } from "./operations.ts"
import { nodeIds } from "./operations.ts"
import { Traffic } from "./traffic.ts"
import { VirtualTime } from "./virtualTime.ts"

const freshMs = leaseTimes.ttlMs - leaseTimes.marginMs
const deathMs = leaseTimes.ttlMs + leaseTimes.marginMs
/** By when, after the last fault, every watch was asked again, every lease renewed, every death seen. */
const settledMs = 45_000

export class Scenario {
  readonly #time = new VirtualTime()
  readonly #model = new Model(() => this.#time.nowMs)
  readonly #cluster: Cluster
  readonly #faults: Faults
  readonly #traffic: Traffic
  readonly #run: Run
  /** All that were held by somebody. */
  readonly #epochs: Array<Epoch> = []

  private constructor(run: Run) {
    this.#run = run
    this.#cluster = new Cluster(this.#model, this.#time, run)
    this.#faults = new Faults(this.#cluster, this.#model, this.#time)
    const repeats = () => this.#faults.repeats
    this.#traffic = new Traffic(this.#cluster, this.#model, () => this.#time.nowMs, repeats)
  }

  /** What came of it, and which promise it broke, if any. */
  static play(run: Run): { readonly model: Model; readonly broken: Broken | undefined } {
    const scenario = new Scenario(run)
    try {
      scenario.#play()
      return { model: scenario.#model, broken: undefined }
    } catch (error) {
      const broken = error instanceof Broken ? error : new Broken("no bug", String(error))
      return { model: scenario.#model, broken }
    }
  }

  #play(): void {
    for (const nodeId of nodeIds.slice(0, this.#run.processes)) this.#cluster.start(nodeId)
    this.#pass(this.#run.beforeMs)
    for (const { operation, thenMs } of this.#run.steps) {
      this.#do(operation)
      this.#pass(thenMs)
    }
    this.#end()
  }

  #do(operation: Operation): void {
    const by = "by" in operation ? this.#running(operation.by) : undefined
    const on = "on" in operation ? this.#cluster.serving(this.#nodeId(operation.on)) : undefined
    const to = "to" in operation ? this.#life(operation.to) : undefined
    switch (operation.type) {
      case "open":
        return by && on && this.#traffic.open(by, on, operation)
      case "send":
        return by && to && this.#traffic.send(by, to, operation, this.#epoch(operation, to))
      case "giveUp":
        return by && this.#traffic.giveUp(by, operation.pick)
      case "watch":
        return by && to && this.#traffic.watch(by, to)
      case "stopActor": {
        if (by === undefined || to === undefined) return
        const { id, incarnation, kind } = to
        const target = { kind, id, kill: operation.kill, detail: "asked to" }
        return void by.run(by.serving.system.system(incarnation).ask("Stop", target))
      }
      case "drain": {
        const { deadlines, evacuate, reversible } = operation
        const request = { by: "somebody", reason: "a test", evacuate, reversible, deadlines }
        return by && on && this.#traffic.drain(by, on, request)
      }
      case "undrain":
      case "admit": {
        if (by === undefined || on === undefined) return
        const target = { kind: "node", id: on.nodeId, by: by.label, reason: "a test" }
        const far = by.serving.system.system(on.serving.system.incarnation)
        if (operation.type === "undrain") by.run(far.ask("Undrain", target))
        else by.run(far.ask("Admit", { ...target, admission: operation.admission }))
        return
      }
      case "start":
        return this.#cluster.start(this.#nodeId(operation.node))
      case "stop":
        return this.#on(operation.node, (process) => process.time.paused || this.#cluster.stop(process))
      case "kill":
        return this.#on(operation.node, (process) => this.#cluster.kill(process))
      case "pause":
        return this.#on(operation.node, (process) =>
          this.#faults.pause(process, operation.ms, operation.first)
        )
      case "disconnect":
        return this.#on(operation.node, (process) => this.#faults.disconnect([process], operation.ms, 0))
      case "outage":
        return this.#faults.outage(operation.ms, operation.spreadMs, operation.loseStore)
      case "loseStore":
        return this.#faults.loseStore()
      case "hangRegistry":
      case "refuseWrites":
      case "lagWatches":
        return this.#faults.registry(operation.type, operation.ms)
      case "loseReply":
        return this.#on(operation.node, ({ label }) =>
          this.#cluster.run(this.#cluster.registry.loseNextReply(label))
        )
      case "delayWrite":
        return this.#on(operation.node, ({ label }) =>
          this.#cluster.run(this.#cluster.registry.delayNextWrite(label, operation.ms))
        )
      case "partition":
      case "disturb": {
        const [one, other] = [this.#process(operation.from), this.#process(operation.node)]
        if (operation.type === "partition") {
          this.#faults.disturb(one, other, { drop: 1 }, operation.ms)
          return this.#faults.disturb(other, one, { drop: 1 }, operation.ms)
        }
        const { drop, duplicate, kind, mostMs, ms, noListener } = operation
        const fault = { drop, duplicate, noListener, delayMs: [0, mostMs] as const }
        return this.#faults.disturb(one, other, kind === undefined ? fault : { ...fault, kind }, ms)
      }
    }
  }

  /** Lets time pass, ends the faults that are over, and looks at the promises all the while. */
  #pass(millis: number): void {
    const end = this.#time.nowMs + millis
    this.#time.settle()
    this.#look()
    while (this.#time.nowMs < end) {
      const next = Math.min(end, this.#time.nowMs + lookMs, this.#faults.nextEndMs)
      this.#time.advance(Math.max(0, next - this.#time.nowMs))
      // What a process does first when it goes on, before its timers and frames: it looks whether it may write.
      this.#look()
      while (this.#faults.mendOne(false)) {
        this.#time.settle()
        this.#look()
      }
    }
  }

  #look(): void {
    this.#lookAtWriters()
    this.#lookAtTheDead()
    this.#lookAtNodes()
    this.#traffic.look()
    this.#model.check()
  }

  #lookAtWriters(): void {
    const writers = new Map<string, Life>()
    for (const life of this.#model.lives) {
      if (life.held === undefined || !this.#cluster.believes(life)) continue
      if (!this.#epochs.includes(life.held.epoch)) this.#epochs.push(life.held.epoch)
      const name = `${life.kind}.${life.id}`
      if (this.#cluster.struck.has(name)) continue
      const other = writers.get(name)
      writers.set(name, life)
      if (other?.held === undefined) continue
      const sameRegistry = other.held.epoch.registry === life.held.epoch.registry
      if (sameRegistry || this.#time.nowMs - this.#cluster.lostStoreMs >= freshMs) {
        this.#model.broken("fencing: one writer", `${other.label} and ${life.label} both believe`)
      }
    }
  }

  #lookAtTheDead(): void {
    const { processes } = this.#cluster
    for (const alive of processes) {
      if (alive.serving === undefined || alive.state !== "alive") continue
      const { incarnation } = alive.serving.system
      const mayBeDead = this.#cluster.mayBeDead(incarnation)
      for (const judge of processes) {
        if (judge.serving === undefined || judge.state !== "alive" || judge.time.paused) continue
        const asked = judge.run(judge.serving.leases.deathOf(incarnation))
        const verdict = asked.pollUnsafe()
        if (verdict === undefined) asked.interruptUnsafe()
        if (verdict === undefined || Exit.isFailure(verdict) || verdict.value === undefined) continue
        const attentiveMs = this.#cluster.attentiveMs(judge)
        if (!mayBeDead || (verdict.value === "missing" && attentiveMs < deathMs)) {
          const when = `when it had been attentive for ${attentiveMs} ms`
          this.#model.broken("fencing: not dead", `${judge.label} says that ${alive.label} is dead, ${when}`)
        }
      }
    }
  }

  #lookAtNodes(): void {
    for (const life of this.#model.lives) {
      if (life.kind !== "node" || life.life !== "Draining" || life.released) continue
      const isEmpty = [...life.children].every(({ actor }) => actor.gone)
      if (isEmpty && this.#processOf(life)?.time.paused === false) {
        this.#model.broken("admission: awaited", `${life.label} drains, and nothing lives in it`)
      }
    }
  }

  #end(): void {
    this.#model.note("mend everything")
    while (this.#faults.mendOne(true)) {
      this.#time.settle()
      this.#look()
    }
    const deadline = this.#time.nowMs + settledMs
    while (this.#unsettled() !== undefined && this.#time.nowMs < deadline) this.#pass(lookMs)
    const unsettled = this.#unsettled()
    if (unsettled !== undefined) this.#model.broken(...unsettled)
    this.#model.check()
    this.#model.note("stop everything")
    for (const process of this.#cluster.processes) this.#cluster.stop(process)
    this.#time.advance(30_000)
    this.#traffic.look()
    this.#cluster.lookForLeftovers()
    this.#model.check()
  }

  /** What is not yet as it has to be in the end. */
  #unsettled(): readonly [Promised, string] | undefined {
    for (const life of this.#model.lives) {
      if (life.held === undefined || life.released || this.#processOf(life)?.state !== "alive") continue
      const { revision } = life.held.epoch
      const name = `${life.kind}.${life.id}`
      if (this.#cluster.struck.has(name)) continue
      const owner = this.#cluster.owners.get(name)
      if (owner?.incarnation !== life.incarnation || owner.revision !== revision) {
        const says = `and the registry says ${JSON.stringify(owner)}`
        return ["fencing: settled", `${life.label} holds revision ${revision}, ${says}`]
      }
    }
    const untold = this.#traffic.untold()
    return untold === undefined ? undefined : ["end: told", untold]
  }

  #nodeId(pick: number): string {
    return nodeIds[pick % this.#run.processes] ?? "a"
  }

  /** A node's last process, whatever became of it. */
  #process(pick: number): Process | undefined {
    return this.#cluster.processes.findLast(({ nodeId }) => nodeId === this.#nodeId(pick))
  }

  #on(pick: number, run: (process: Process) => unknown): void {
    const process = this.#process(pick)
    if (process !== undefined) run(process)
  }

  /** One that can do something. */
  #running(pick: number): ServingProcess | undefined {
    const process = this.#cluster.serving(this.#nodeId(pick))
    return process?.time.paused === true ? undefined : process
  }

  #life(pick: number): Life | undefined {
    const actors = this.#model.lives.filter(({ kind }) => kind !== "node")
    const living = actors.filter(({ released }) => !released)
    // Mostly one that lives; sometimes one of another day.
    const some = pick % 4 > 0 && living.length > 0 ? living : actors.slice(-6)
    return some[pick % some.length]
  }

  #epoch({ epoch, pick }: OperationOf<"send">, to: Life): Epoch | undefined {
    if (epoch === "none") return undefined
    return epoch === "own" ? to.held?.epoch : this.#epochs[pick % this.#epochs.length]
  }

  #processOf(life: Life): Process | undefined {
    return this.#cluster.processes.find(({ label }) => label === life.process)
  }
}
