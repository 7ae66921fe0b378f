/** What processes of a run want of actors: asks, tells, watches, drains; and whether each was told what was promised. */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Address, DrainRequest, Epoch } from "../../src/index.ts"
import { Protocol } from "./actors.ts"
import type { Cluster, Process, ServingProcess } from "./cluster.ts"
import type { Life, Model, Sent } from "./model.ts"
import { isAt } from "./model.ts"
import type { OperationOf } from "./operations.ts"

interface Asked {
  readonly process: Process
  readonly sent: Sent
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

interface Watching {
  readonly process: Process
  readonly address: Address
  told: number
}

interface Draining {
  readonly life: Life
  outcome: string | undefined
}

export class Traffic {
  readonly #cluster: Cluster
  readonly #model: Model
  readonly #nowMs: () => number
  /** Does the network deliver some frames twice now? */
  readonly #repeats: () => boolean
  readonly #asked = new Set<Asked>()
  readonly #watching: Array<Watching> = []
  #draining: Array<Draining> = []

  constructor(cluster: Cluster, model: Model, nowMs: () => number, repeats: () => boolean) {
    this.#cluster = cluster
    this.#model = model
    this.#nowMs = nowMs
    this.#repeats = repeats
  }

  open(by: ServingProcess, on: ServingProcess, child: Omit<OperationOf<"open">, "type" | "by" | "on">): void {
    const { holds, id, kind, prefer, restart } = child
    const address = { kind: "node", id: on.nodeId, incarnation: on.serving.system.incarnation }
    const ref = by.serving.system.ref(Protocol, address)
    const timeoutMs = 5_000
    this.#ask(by, `node ${on.label}`, timeoutMs, ({ n }) =>
      ref.ask("Open", { n, kind, id, holds, prefer, restart }, { timeoutMs })
    )
  }

  send(
    by: ServingProcess,
    to: Life,
    { ask, burst, ms, tag, timeoutMs }: OperationOf<"send">,
    epoch: Epoch | undefined
  ) {
    const { id, incarnation, kind } = to
    const ref = by.serving.system.ref(Protocol, { kind, id, incarnation }, epoch)
    for (let count = 0; count < burst; count++) {
      const header = (sent: Sent) => ({ n: sent.n, ...(epoch && { epoch }) })
      const send = (sent: Sent) => {
        const options = { timeoutMs }
        if (tag === "Put" || tag === "PutBeside") {
          const put = { ...header(sent), ms }
          return ask ? ref.ask(tag, put, options) : ref.tell(tag, put)
        }
        return ask ? ref.ask(tag, header(sent), options) : ref.tell(tag, header(sent))
      }
      if (ask) this.#ask(by, to.label, timeoutMs, send)
      else {
        const sent = this.#sent(by, to.label, false, 0)
        by.run(send(sent)).addObserver((exit) => this.#told(by, sent, exit))
      }
    }
  }

  /** An asker does not wait any longer. */
  giveUp(by: Process, pick: number): void {
    const mine = [...this.#asked].filter(({ process }) => process === by)
    mine[pick % mine.length]?.fiber.interruptUnsafe()
  }

  watch(by: ServingProcess, { id, incarnation, kind, label }: Life): void {
    const address = { kind, id, incarnation }
    const watching: Watching = { process: by, address, told: 0 }
    this.#watching.push(watching)
    this.#model.note(`${by.label} watches ${label}`)
    by.run(by.serving.system.ref(Protocol, address).terminated).addObserver((exit) => {
      if (Exit.isFailure(exit)) return
      watching.told += 1
      this.#model.count("watcher told")
      const what = `${by.label} is told that ${label} ended by ${exit.value.by}`
      this.#model.note(what)
      // One address may have had several lives. And who is cut off for long is as good as dead.
      const isLost = exit.value.by === "lost" && this.#cluster.mayBeLost(incarnation)
      const isOver = isLost || this.#model.lives.some((life) => isAt(life, address) && life.actor.gone)
      if (!isOver || watching.told > 1) this.#model.broken("end: told", what)
    })
  }

  drain(by: ServingProcess, on: ServingProcess, request: DrainRequest): void {
    const life = this.#model.lives.findLast(({ kind, process }) => kind === "node" && process === on.label)
    if (by.label !== on.label || life === undefined) {
      const far = by.serving.system.system(on.serving.system.incarnation)
      by.run(far.ask("Drain", { kind: "node", id: on.nodeId, ...request }))
      return
    }
    const draining: Draining = { life, outcome: undefined }
    this.#draining.push(draining)
    by.run(by.serving.system.drain("node", on.nodeId, request)).addObserver((exit) => {
      draining.outcome = Exit.isSuccess(exit) ? JSON.stringify(exit.value) : "interrupted"
      this.#model.count(`drain ${Exit.isSuccess(exit) ? exit.value._tag : "interrupted"}`)
    })
    if (!life.actor.isOver() && !life.released && life.admission !== "closed") {
      this.#model.broken(
        "admission: closed",
        `${life.label} is ${life.admission} after it was asked to drain`
      )
    }
  }

  /** Has every ask ended that was due, and has every drain one end? */
  look(): void {
    for (const { process, sent } of this.#asked) {
      if (process.state !== "gone" && !process.time.paused && sent.dueMs < this.#nowMs()) {
        this.#model.broken("ask: ends", `${sent.sender}'s ${sent.n} to ${sent.to} was due at ${sent.dueMs}`)
      }
    }
    const over = this.#draining.filter(({ outcome }) => outcome !== undefined)
    for (const { life, outcome } of over) {
      const other = this.#draining.find((one) => one.life === life && one.outcome !== outcome)
      if (other === undefined) continue
      this.#model.broken("admission: one end", `${life.label}: ${outcome}, and ${String(other.outcome)}`)
    }
    if (over.length > 0) this.#draining = this.#draining.filter(({ outcome }) => outcome === undefined)
  }

  /** A watcher that has yet to be told of an end. */
  untold(): string | undefined {
    const untold = this.#watching.find(({ address, process, told }) => {
      const lives = this.#model.lives.some((life) => isAt(life, address) && !life.actor.gone)
      return told === 0 && !lives && process.state === "alive"
    })
    if (untold === undefined) return undefined
    return `${untold.process.label} was not told of ${untold.address.kind}/${untold.address.id}`
  }

  #ask(
    process: Process,
    to: string,
    timeoutMs: number,
    ask: (sent: Sent) => Effect.Effect<unknown, unknown>
  ): void {
    const sent = this.#sent(process, to, true, timeoutMs)
    const fiber = process.run(ask(sent))
    const asked = { fiber, process, sent }
    this.#asked.add(asked)
    fiber.addObserver((exit) => {
      this.#asked.delete(asked)
      this.#told(process, sent, exit)
    })
  }

  #sent({ label }: Process, to: string, isAsk: boolean, timeoutMs: number): Sent {
    const dueMs = this.#nowMs() + timeoutMs
    const sent = this.#model.send({ sender: label, to, isAsk, dueMs, mayRepeat: this.#repeats() })
    this.#model.note(`${label} ${isAsk ? "asks" : "tells"} ${to} ${sent.n}`)
    return sent
  }

  #told(process: Process, sent: Sent, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) {
      // A tell's success says only that it was handed on.
      this.#model.told(sent, sent.isAsk ? "answered" : "unknown", "")
      if (typeof exit.value !== "number" || exit.value === sent.n) return
      this.#model.broken("ask: its own answer", `${process.label}'s ${sent.n} got that of ${exit.value}`)
    } else if (Cause.hasInterruptsOnly(exit.cause)) {
      this.#model.told(sent, "unknown", "given up")
    } else {
      const error = Cause.squash(exit.cause) as { readonly _tag?: string; readonly retry?: string }
      if (error._tag === undefined) {
        this.#model.broken("ask: ends", `${process.label}'s ${sent.n} died: ${Cause.pretty(exit.cause)}`)
      } else if (error._tag === "NodeDraining") {
        // Of this contract's own: the node has handled it, and refused.
        this.#model.told(sent, "failed", error._tag)
      } else this.#model.told(sent, error.retry === "unknown" ? "unknown" : "not executed", error._tag)
    }
  }
}
