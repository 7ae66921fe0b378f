/**
 * One actor's drain: close admission, await the children, end. Owns the three axes of its state and the three clocks.
 *
 * Guarantees: asking twice is no error and one completion serves all callers; a spawn accepted before the drain is waited for and one
 * after it is refused, because both look at the same state in the same turn of the event loop; it goes back to Serving until
 * Sealing, unless someone who cannot take a stop back asked for it. Leaves what a child is, and how it ends, to the cell.
 */
import type { ChildInfo, DrainDeadlines, DrainOutcome, DrainProgress, DrainRequest, Holds } from "../Drain.ts"
import type { Admission, Cause, Control, Life, NodeState, StateChange } from "../NodeState.ts"
import { initialState, isReversible, transition } from "../NodeState.ts"

/** As many as fit into a frame with room to spare, and more than anybody reads. */
const maxBlockers = 256

/** What the drain needs of the actor it ends. All are called synchronously. */
export interface Drained {
  /** Has its end begun? */
  readonly isOver: boolean
  /** How many children live, by what they hold up: asked at each child's end, so it must not count them. */
  holding(holds: Holds): number
  childInfos(): ReadonlyArray<ChildInfo>
  endServing(how: "gently" | "kill"): void
  /** Ends the actor itself. With `kill` also the children that are left. */
  finish(how: "gently" | "kill", detail: string): void
  onChange(state: NodeState, change: StateChange): void
  timer(ms: number, fire: () => void): () => void
  /** Monotonic. */
  nowMs(): number
  wallMs(): number
}

export class Drain {
  #state: NodeState = initialState
  #sequence = 0
  #asked = false
  #reversible = true
  #evacuated = false
  #deadlines: DrainDeadlines
  #phaseBeganMs = 0
  #cancelTimer: () => void = () => {}
  #waiting: Array<(outcome: DrainOutcome) => void> | undefined
  #outcome: DrainOutcome | undefined
  #left: ReadonlyArray<string> | undefined
  readonly #actor: Drained
  readonly #defaults: DrainDeadlines

  /** `defaults` hold for drains that bring no deadlines of their own. */
  constructor(actor: Drained, defaults: DrainDeadlines) {
    this.#actor = actor
    this.#defaults = defaults
    this.#deadlines = defaults
  }

  get state(): NodeState {
    return this.#state
  }

  /** Present once the actor has ended. */
  get outcome(): DrainOutcome | undefined {
    return this.#outcome
  }

  /** May a child be spawned now? What must be finished may still begin while what it belongs to is served. */
  admits(holds: Holds, prefer: boolean): boolean {
    const { admission, life } = this.#state
    // Not while it evacuates: what is taken then nobody would end.
    if (holds === "serving") return admission !== "closed" || (prefer && life === "Draining")
    return life === "Starting" || life === "Serving" || life === "Draining" || life === "Evacuating"
  }

  move(axis: "life", to: Life, cause: Cause): boolean
  move(axis: "admission", to: Admission, cause: Cause): boolean
  move(axis: "control", to: Control, cause: Cause): boolean
  move(axis: keyof NodeState, to: Life | Admission | Control, cause: Cause): boolean {
    const from = this.#state[axis]
    const next = transition(this.#state, axis, to as never)
    if (next === undefined) return false
    this.#state = next
    this.#actor.onChange(next, {
      axis,
      from,
      to,
      by: cause.by,
      reason: cause.reason,
      sequence: ++this.#sequence,
      atMs: this.#actor.wallMs()
    })
    return true
  }

  /** Begins or joins the drain. `done` is called once, when the actor has ended or gone back to serving. */
  begin(request: DrainRequest, done: (outcome: DrainOutcome) => void): void {
    if (this.#outcome !== undefined) return done(this.#outcome)
    this.#waiting ??= []
    this.#waiting.push(done)
    this.#asked = true
    this.#reversible &&= request.reversible
    this.#deadlines = { ...this.#deadlines, ...request.deadlines }
    this.move("admission", "closed", request)
    if (this.move("life", "Draining", request)) this.#phaseBeganMs = this.#actor.nowMs()
    if (request.evacuate) this.#evacuate(request)
    // Also for a drain that was joined: its deadlines hold from the beginning of the phase that runs.
    this.#setClock()
    this.childrenChanged()
  }

  /** Why the drain cannot be taken back, or undefined when it was. Not draining is no error. */
  undrain(cause: Cause): string | undefined {
    const { life } = this.#state
    if (life === "Serving" || life === "Starting") return undefined
    if (!isReversible(life)) return `it is ${life}`
    if (this.#actor.isOver) return "its end has begun"
    if (!this.#reversible)
      return "it was stopped by a signal, and whoever sent it waits for the process to end"
    this.#cancelTimer()
    this.#asked = false
    this.#evacuated = false
    this.#deadlines = this.#defaults
    this.move("life", "Serving", cause)
    this.move("admission", "open", cause)
    this.#complete({ _tag: "Undrained" })
    return undefined
  }

  progress(): DrainProgress {
    const { life } = this.#state
    const phase = life === "Sealing" ? "sealing" : isReversible(life) ? "serving" : undefined
    const phaseMs = this.#actor.nowMs() - this.#phaseBeganMs
    const [deadlineMs] = this.#deadlineOf(life)
    return {
      state: this.#state,
      serving: this.#actor.holding("serving"),
      sealing: this.#actor.holding("sealing"),
      blockers: phase === undefined ? [] : this.#waitedFor(phase).slice(0, maxBlockers),
      deadlines: this.#deadlines,
      ...(phase === undefined ? {} : { phaseMs }),
      ...(deadlineMs === undefined ? {} : { leftMs: Math.max(0, deadlineMs - phaseMs) })
    }
  }

  #waitedFor(holds: Holds): ReadonlyArray<ChildInfo> {
    return this.#actor
      .childInfos()
      .filter((child) => child.holds === holds)
      .toSorted((a, b) => b.ageMs - a.ageMs)
  }

  /** Told after each child's end. Moves on when nothing holds the drain up. */
  childrenChanged(): void {
    // One that crashed, or was stopped, loses its children, too: that is no drain.
    if (!this.#asked || this.#actor.isOver) return
    const cause: Cause = { by: "drain", reason: "nothing is served any more" }
    if (isReversible(this.#state.life) && this.#actor.holding("serving") === 0) {
      this.move("life", "Sealing", cause)
      this.#phaseBeganMs = this.#actor.nowMs()
      this.#setClock()
    }
    if (this.#state.life === "Sealing" && this.#actor.holding("sealing") === 0 && this.#left === undefined) {
      this.#cancelTimer()
      this.move("life", "Drained", { by: "drain", reason: "nothing is left" })
      this.#actor.finish("gently", "drained")
    }
  }

  /** Told when the actor has ended, finalizers and all. */
  ended(how: { readonly by: string; readonly failed: boolean; readonly detail: string }): void {
    this.#cancelTimer()
    const life = this.#state.life
    this.move("life", how.failed ? "Failed" : "Stopped", { by: how.by, reason: how.detail })
    this.#outcome =
      this.#left !== undefined
        ? { _tag: "Unsealed", left: this.#left }
        : life !== "Drained"
          ? { _tag: "Ended", by: how.by }
          : this.#evacuated
            ? { _tag: "Evacuated" }
            : { _tag: "Drained" }
    this.#complete(this.#outcome)
  }

  #evacuate(cause: Cause): void {
    if (!this.move("life", "Evacuating", cause)) return
    this.#evacuated = this.#actor.holding("serving") > 0
    this.#phaseBeganMs = this.#actor.nowMs()
    this.#setClock()
    this.#actor.endServing("gently")
  }

  /** The one clock of the phase that runs, whatever was set before. */
  #setClock(): void {
    this.#cancelTimer()
    this.#cancelTimer = () => {}
    const [ms, fire] = this.#deadlineOf(this.#state.life)
    if (ms === undefined) return
    const leftMs = Math.max(0, this.#phaseBeganMs + ms - this.#actor.nowMs())
    this.#cancelTimer = this.#actor.timer(leftMs, fire)
  }

  #deadlineOf(life: Life): readonly [ms: number | undefined, fire: () => void] {
    const { drainMs, evacuationMs, sealingMs } = this.#deadlines
    switch (life) {
      case "Draining":
        return [drainMs, () => this.#evacuate({ by: "clock", reason: "drain deadline" })]
      case "Evacuating":
        return [evacuationMs, () => this.#actor.endServing("kill")]
      case "Sealing":
        return [
          sealingMs,
          () => {
            this.#left = this.#waitedFor("sealing").map(({ id, kind }) => `${kind}/${id}`)
            this.#actor.finish("kill", "sealing deadline")
          }
        ]
      case "Starting":
      case "Serving":
      case "Drained":
      case "Stopped":
      case "Failed":
        return [undefined, () => {}]
    }
  }

  #complete(outcome: DrainOutcome): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const done of waiting) done(outcome)
  }
}
