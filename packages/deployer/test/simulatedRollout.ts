/**
 * A cluster and a deployer in memory, one turn at a time: the deployer may be killed between any two things it does, also between the
 * mark of a signal and the kill, and begins again from the log. Random by a seed; checks at each effect what must hold of it.
 */
import { assert } from "@effect/vitest"
import { InstanceState, type Signalled } from "../src/Orchestrator.ts"
import { idle, isOpen, type OpenRollout, type Rollout, transition } from "../src/Rollout.ts"
import { type Cluster, decide, defaultLimits, type Step } from "../src/RolloutDecision.ts"
import type { ForceMode, RolloutEvent } from "../src/RolloutEvent.ts"

interface Node {
  readonly version: string
  state: InstanceState
  signalled: Signalled
  signals: number
  life: "Starting" | "Serving" | "Draining" | "Evacuating" | "Sealing" | "gone"
  admission: "open" | "cordoned"
  rooms: number
  recordings: Array<string>
}

export interface Simulation {
  readonly force: ForceMode | undefined
  /** May a node crash while it drains? */
  readonly crashes: boolean
}

export class Killed extends Error {}

export class SimulatedCluster {
  readonly nodes = new Map<string, Node>()
  readonly log: Array<RolloutEvent> = []
  readonly computed = new Set<string>()
  readonly started = new Set<string>()
  rollout: Rollout = idle
  kills = 0
  readonly #random: () => number
  readonly #of: Simulation

  constructor(random: () => number, of: Simulation) {
    this.#random = random
    this.#of = of
    for (const n of [1, 2, 3]) {
      const node = this.#add(`u-${n}`, "v1")
      Object.assign(node, { life: "Serving", rooms: this.#upTo(3), recordings: [`rec-${n}`] })
    }
  }

  get old() {
    return [...this.nodes].filter(([name]) => name.startsWith("u-"))
  }

  append(event: RolloutEvent): void {
    this.#perhapsKilled()
    const next = transition(this.rollout, event)
    assert.isDefined(next, `${event._tag} while ${this.rollout._tag}`)
    if (next !== undefined) this.rollout = next
    this.log.push(event)
    this.#perhapsKilled()
  }

  /** The world goes on by itself. */
  worldTurn(): void {
    for (const [name, node] of this.nodes) {
      if (node.state._tag !== "Running" || this.#random() < 0.5) continue
      if (node.life === "Starting") node.life = "Serving"
      else if (node.life === "Draining" && this.#of.crashes && this.#random() < 0.1) this.#end(node, 1)
      else if (node.rooms > 0 && (node.life === "Evacuating" || this.#random() < 0.5)) node.rooms--
      else if (node.life === "Draining" && node.rooms > 0 && this.#random() < 0.3) {
        node.recordings.push(`${name}-late-${this.log.length}`)
      } else if ((node.life === "Draining" || node.life === "Evacuating") && node.rooms === 0)
        node.life = "Sealing"
      else if (node.life === "Sealing" && node.recordings.length > 0) {
        this.computed.add(node.recordings.pop() ?? "")
      } else if (node.life === "Sealing") this.#end(node, 0)
    }
  }

  /** What the deployer does in one turn; false when it was killed in it. */
  deployerTurn(): boolean {
    try {
      if (isOpen(this.rollout)) {
        const rollout = this.rollout
        this.#perform(decide(rollout, this.#seen(rollout), this.#of.force, defaultLimits), rollout)
      }
      return true
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      this.kills++
      return false
    }
  }

  #seen(rollout: OpenRollout): Cluster {
    const old = "step" in rollout ? rollout.plan.old[rollout.step]?.instance : undefined
    const node = old === undefined ? undefined : this.nodes.get(old)
    const answers = node?.state._tag === "Running" && this.#random() < 0.9
    return {
      instances: this.nodes,
      nodes: new Map(
        [...this.nodes]
          .filter(([, each]) => each.life !== "gone")
          .map(([name, { admission, life, version }]) => [
            name,
            { incarnation: name, version, life, admission, proto: [1, 1] as const }
          ])
      ),
      report:
        answers && node !== undefined
          ? {
              life: node.life,
              rooms: Array.from({ length: node.rooms }, (_, i) => `room-${i}`),
              recordings: [...node.recordings]
            }
          : undefined,
      computed: this.computed,
      quietMs: 0
    }
  }

  #perform(step: Step, rollout: OpenRollout): void {
    this.#perhapsKilled()
    switch (step._tag) {
      case "Append":
        return this.append(step.event)
      case "Start": {
        this.#intended("StartIntended", step.instance)
        // By name, as the orchestrator does: what exists is found.
        if (!this.nodes.has(step.instance)) this.#add(step.instance, step.version)
        this.started.add(step.instance)
        return
      }
      case "Signal": {
        this.#intended("DrainIntended", step.instance)
        this.#newOneServes(rollout)
        const node = this.#node(step.instance)
        if (node.signalled !== "no") return
        node.signalled = "intent"
        this.#perhapsKilled()
        node.signals++
        assert.strictEqual(node.life, "Serving")
        node.life = "Draining"
        this.#perhapsKilled()
        node.signalled = "sent"
        return
      }
      case "Drain": {
        this.#intended(step.evacuate ? "ForceIntended" : "DrainIntended", step.instance)
        const node = this.#node(step.instance)
        assert.notStrictEqual(node.signalled, "no")
        if (node.life === "Serving") node.life = "Draining"
        if (step.evacuate && node.life === "Draining") node.life = "Evacuating"
        return
      }
      case "Kill":
        this.#intended("ForceIntended", step.instance)
        this.#newOneServes(rollout)
        return this.#end(this.#node(step.instance), 137)
      case "Recover": {
        const node = this.#node(step.instance)
        assert.strictEqual(node.life, "gone")
        const found = node.recordings.splice(0)
        for (const recording of found) this.computed.add(recording)
        assert.strictEqual(rollout._tag, "Settling")
        if (rollout._tag === "Settling") {
          const { step: n } = rollout
          this.append({ _tag: "RecordingsRecovered", step: n, computed: found, empty: [], failed: [] })
        }
        return
      }
      case "Cordon":
        for (const name of step.instances) this.#node(name).admission = "cordoned"
        return
      case "Uncordon":
        for (const name of step.instances) this.#node(name).admission = "open"
        return
      case "Wait":
        return
    }
  }

  #intended(tag: RolloutEvent["_tag"], instance: string): void {
    const isIntended = this.log.some(
      (event) => event._tag === tag && "instance" in event && event.instance === instance
    )
    assert.isTrue(isIntended, `${instance} without a ${tag} in the log`)
  }

  #newOneServes(rollout: OpenRollout): void {
    if (!("instance" in rollout)) return assert.fail(`an old one was touched while ${rollout._tag}`)
    assert.strictEqual(this.#node(rollout.instance).life, "Serving")
  }

  #node(name: string): Node {
    const node = this.nodes.get(name)
    assert.isDefined(node, name)
    return node ?? this.#add(name, "")
  }

  #add(name: string, version: string): Node {
    const node: Node = {
      version,
      state: InstanceState.Running({ pid: 1, startTime: 1 }),
      signalled: "no",
      signals: 0,
      life: "Starting",
      admission: "open",
      rooms: 0,
      recordings: []
    }
    this.nodes.set(name, node)
    return node
  }

  #end(node: Node, code: number): void {
    if (node.state._tag !== "Running") return
    node.state =
      code === 137 ? InstanceState.Exited({ code, signal: "SIGKILL" }) : InstanceState.Exited({ code })
    node.life = "gone"
  }

  #perhapsKilled(): void {
    if (this.#random() < 0.1) throw new Killed()
  }

  #upTo(most: number): number {
    return Math.floor(this.#random() * (most + 1))
  }
}
