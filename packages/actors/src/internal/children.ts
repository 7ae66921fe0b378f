/** An actor's children, in the order they came, and what is done with all of them. Owns how many there are of each kind of hold. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { ChildInfo, Holds } from "../Drain.ts"
import type { EndedBy } from "../Supervision.ts"
import type { Cell } from "./cell.ts"

export class Children {
  // Made when first needed: most actors have none.
  #byName: Map<string, Cell> | undefined
  #sealing = 0

  get all(): ReadonlyArray<Cell> {
    return this.#byName === undefined ? [] : [...this.#byName.values()]
  }

  get isEmpty(): boolean {
    return this.#byName === undefined || this.#byName.size === 0
  }

  took(child: Cell): void {
    this.#byName ??= new Map()
    this.#byName.set(child.name, child)
    if (child.holds === "sealing") this.#sealing++
  }

  lost(child: Cell): void {
    if (this.#byName?.delete(child.name) === true && child.holds === "sealing") this.#sealing--
  }

  holding(holds: Holds): number {
    return holds === "sealing" ? this.#sealing : (this.#byName?.size ?? 0) - this.#sealing
  }

  infos(nowMs: number): ReadonlyArray<ChildInfo> {
    return this.all.map(({ address: { id, kind }, holds, startedAtMs }) => ({
      kind,
      id,
      holds,
      ageMs: nowMs - startedAtMs
    }))
  }

  endServing(by: EndedBy): void {
    for (const child of this.all) if (child.holds === "serving") child.end(by, "evacuated")
  }

  killAll(detail: string): void {
    for (const child of this.all.toReversed()) child.end("kill", detail)
  }

  /** Ends each, the latest first, and awaits its end before the next. */
  endAll(by: EndedBy, detail: string): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        this.all.toReversed(),
        (child) => {
          child.end(by, detail)
          return Deferred.await(child.ended)
        },
        { discard: true }
      )
    )
  }
}
