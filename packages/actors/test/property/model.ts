/**
 * What the runtime promises, as plain bookkeeping beside it: who was born, who was told what, who holds which name. It is told of every
 * event and says at once which promise an event breaks. Knows nothing of how the runtime keeps them.
 */
import type { Epoch, Id, Incarnation } from "../../src/index.ts"

/** The promises, by the names under which a failure is reported. */
export const promises = {
  // Admission
  "admission: closed":
    "a drain refuses, with NodeDraining, every serving child that comes after it, and nothing before it",
  "admission: awaited": "a node is Drained only when no child of it lives, and then it is",
  "admission: one end": "all who drain a node at one time are told one and the same outcome, at one time",
  // Ordering
  "ordering: in order":
    "messages of one sender to one life of an actor are handled in the order they were sent in",
  "ordering: once":
    "no message is handled twice; one that the network itself delivers twice is the exception: the runtime does not look for such",
  "ordering: alive": "nothing is handled after an actor's end has begun, or before it was born",
  // Fencing
  "fencing: one writer":
    "of all processes at most one believes that it may write for a name; after a registry lost its store, a believer of before it may " +
    "go on until its lease is stale",
  "fencing: stale epoch": "a message for one epoch is not handled under another",
  "fencing: dead owner":
    "a name is taken only from an owner that ended, or that is missed by a process which was attentive for a TTL and a margin",
  "fencing: not dead":
    "nobody is called dead whose lease is fresh, or was within the margin, nor anybody by a process that was not attentive for a TTL and " +
    "a margin",
  "fencing: settled":
    "a while after the last fault each name has the owner that the registry says, and no other",
  // Asks
  "ask: ends": "every ask of a running process ends by its deadline, with an answer or a typed error",
  "ask: not executed": "what failed as not executed was not executed, then or later; what was answered was",
  "ask: its own answer": "an answer is the answer to that ask",
  // Ends
  "end: told": "every watcher is told of an end, once, and of nothing that is not one",
  "end: children first": "an actor's scope closes once, after those of its children",
  "end: nothing left": "a process that has ended left no timer, no listener, no ask, no actor",
  "no bug": "nothing is logged as a BUG but the crashes that were asked for, and nothing runs for ever"
} as const
export type Promised = keyof typeof promises

export class Broken extends Error {
  override readonly name = "Broken"
  readonly promise: Promised
  constructor(promise: Promised, detail: string) {
    super(`${promise}: ${promises[promise]}\n    ${detail}`)
    this.promise = promise
  }
}

/** One actor, from its spawn to its end. */
export interface Actor {
  /** Its watchers are told of its end. */
  gone: boolean
  /** What the runtime says of it. */
  isOver: () => boolean
  /** The last message of each sender that it handled. */
  readonly handled: Map<string, number>
}

export const spawned = (): Actor => ({ gone: false, isOver: () => false, handled: new Map() })

/** One run of it: a crash may end it, and another begin. */
export interface Life {
  readonly label: string
  readonly actor: Actor
  readonly kind: Id
  readonly id: Id
  readonly process: string
  readonly incarnation: Incarnation
  readonly parent: Life | undefined
  readonly holds: "serving" | "sealing"
  readonly children: Set<Life>
  /** It asked for its own end, or crashed. */
  ending: boolean
  /** Its scope has closed. */
  released: boolean
  /** The epoch by which it holds its name, and under which epoch of its process's lease it learned that. */
  held: { readonly epoch: Epoch; readonly lease: Epoch } | undefined
  /** Its node's state, as its listeners are told. */
  life: string
  admission: string
}

/** A message, from the moment it is sent. Numbers grow with the order of sending. */
export interface Sent {
  readonly n: number
  readonly sender: string
  readonly to: string
  readonly isAsk: boolean
  readonly dueMs: number
  /** The network was told to deliver some frames twice when it was sent. */
  readonly mayRepeat: boolean
  handled: number
  /** undefined: not known yet. */
  outcome: "answered" | "failed" | "not executed" | "unknown" | undefined
}

export class Model {
  readonly lives: Array<Life> = []
  readonly sent: Array<Sent> = []
  /** What a run came to, for a look at whether it came to anything. */
  readonly counts = new Map<string, number>()
  readonly trace: Array<string> = []
  #broken: Broken | undefined

  readonly #nowMs: () => number
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  note(what: string): void {
    this.trace.push(`${(this.#nowMs() / 1_000).toFixed(3).padStart(8)}  ${what}`)
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  broken(promise: Promised, detail: string): void {
    this.note(`BROKEN ${promise}: ${detail}`)
    this.#broken ??= new Broken(promise, `at ${this.#nowMs()} ms: ${detail}`)
  }

  /** Throws the first promise that was broken. */
  check(): void {
    if (this.#broken !== undefined) throw this.#broken
  }

  born(of: Pick<Life, "actor" | "kind" | "id" | "process" | "incarnation" | "parent" | "holds">): Life {
    const life: Life = {
      ...of,
      label: `${of.kind}/${of.id}@${of.process}~${this.lives.length}`,
      children: new Set(),
      ending: false,
      released: false,
      held: undefined,
      life: "Starting",
      admission: "open"
    }
    if (this.lives.some(({ actor }) => actor === of.actor)) this.count("restarted")
    const twin = this.lives.find((other) => isAt(other, of) && !other.released)
    if (twin !== undefined) this.broken("end: children first", `${life.label} was born beside ${twin.label}`)
    if (of.parent?.released === true) this.broken("end: children first", `${life.label} outlives its parent`)
    this.lives.push(life)
    of.parent?.children.add(life)
    this.note(`born ${life.label}`)
    return life
  }

  released(life: Life): void {
    if (life.released) this.broken("end: children first", `${life.label} was released twice`)
    const left = [...life.children].filter((child) => !child.released)
    if (left.length > 0) this.broken("end: children first", `${life.label} before ${left[0]?.label}`)
    life.released = true
    this.note(`released ${life.label}`)
  }

  /** Does `parent` take such a child? Asked in the turn of the spawn, before it: what the child begins may already move the parent on. */
  admission(parent: Life, holds: "serving" | "sealing", prefer: boolean) {
    const draining = parent.life === "Draining"
    const open =
      holds === "serving"
        ? parent.admission !== "closed" || (prefer && draining)
        : ["Starting", "Serving", "Draining", "Evacuating"].includes(parent.life)
    const over = parent.ending || parent.actor.isOver()
    const state = `${parent.life}, ${parent.admission}${over ? ", ending" : ""}`
    const what = `${holds}${prefer ? ", preferred" : ""} in ${parent.label} (${state})`
    return { expected: open && !over, what }
  }

  /** What came of that spawn. */
  spawned(
    parent: Life,
    child: { readonly kind: Id; readonly id: Id },
    { expected, what }: ReturnType<Model["admission"]>,
    outcome: "taken" | "NodeDraining" | "AlreadySpawned"
  ): void {
    this.count(`spawn ${outcome}`)
    this.note(`spawn ${child.kind}/${child.id} in ${parent.label}: ${outcome}`)
    if (outcome === "AlreadySpawned" ? !expected : expected !== (outcome === "taken")) {
      this.broken("admission: closed", `${what}: ${outcome}`)
    }
  }

  /** Told synchronously of each change of an actor's state. */
  changed(life: Life, state: { readonly life: string; readonly admission: string }): void {
    life.life = state.life
    life.admission = state.admission
    this.note(`${life.label} is ${state.life}, ${state.admission}`)
    if (state.life !== "Drained") return
    this.count("drained")
    const left = [...life.children].filter(({ actor }) => !actor.gone)
    if (left.length > 0)
      this.broken("admission: awaited", `${life.label} is Drained, and ${left[0]?.label} lives`)
  }

  send(of: Omit<Sent, "n" | "handled" | "outcome">): Sent {
    const sent: Sent = { ...of, n: this.sent.length + 1, handled: 0, outcome: undefined }
    this.sent.push(sent)
    return sent
  }

  /** A handler of `life` begins with message `n`, which named `epoch` as its owner's. */
  handles(life: Life, n: number, epoch: Epoch | undefined): void {
    const sent = this.sent[n - 1]
    if (sent === undefined)
      return this.broken("ordering: once", `${life.label} handles ${n}, which nobody sent`)
    this.count("handled")
    this.note(`${life.label} handles ${n} of ${sent.sender}`)
    sent.handled += 1
    if (sent.handled > 1 && !sent.mayRepeat) {
      this.broken("ordering: once", `${life.label} handles ${n} of ${sent.sender} again`)
    }
    const before = life.actor.handled.get(sent.sender) ?? 0
    // One that came twice may come again at once, or behind what was sent after it.
    if (n < before && sent.handled === 1) {
      this.broken("ordering: in order", `${life.label} handles ${n} of ${sent.sender} after ${before}`)
    }
    life.actor.handled.set(sent.sender, Math.max(before, n))
    if (life.ending || life.released || life.actor.isOver()) {
      this.broken("ordering: alive", `${life.label} handles ${n} of ${sent.sender} after its end began`)
    }
    if (epoch !== undefined && life.held !== undefined && !sameEpoch(epoch, life.held.epoch)) {
      this.broken("fencing: stale epoch", `${life.label} handles ${n}, meant for revision ${epoch.revision}`)
    }
    if (sent.outcome === "not executed" && !sent.mayRepeat) {
      this.broken(
        "ask: not executed",
        `${life.label} handles ${n} of ${sent.sender}, which had failed as not executed`
      )
    }
  }

  /** What the sender was told. */
  told(sent: Sent, outcome: NonNullable<Sent["outcome"]>, detail: string): void {
    this.count(`${sent.isAsk ? "ask" : "tell"} ${outcome}`)
    this.note(`${sent.sender}'s ${sent.n} to ${sent.to}: ${outcome} ${detail}`)
    sent.outcome = outcome
    if (outcome === "not executed" && sent.handled > 0 && !sent.mayRepeat) {
      this.broken(
        "ask: not executed",
        `${sent.sender}'s ${sent.n} to ${sent.to} was handled, and failed with ${detail}`
      )
    }
    if (outcome === "answered" && sent.handled === 0) {
      this.broken(
        "ask: not executed",
        `${sent.sender}'s ${sent.n} to ${sent.to} was answered, and not handled`
      )
    }
  }
}

export const isAt = (
  a: Pick<Life, "kind" | "id" | "incarnation">,
  b: Pick<Life, "kind" | "id" | "incarnation">
): boolean => a.kind === b.kind && a.id === b.id && a.incarnation === b.incarnation

export const sameEpoch = (a: Epoch, b: Epoch): boolean =>
  a.registry === b.registry && a.revision === b.revision
