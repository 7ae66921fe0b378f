/** Who is told of an actor's changes of state: by the actor itself until it begins anew, by others until its end. */
import type { NodeState, StateChange } from "../NodeState.ts"

export type StateListener = (state: NodeState, change: StateChange) => void

export class StateListeners {
  // Made when first needed: most actors have none.
  #own: Array<StateListener> | undefined
  #others: Array<StateListener> | undefined

  add(who: "self" | "other", listener: StateListener): void {
    if (who === "self") (this.#own ??= []).push(listener)
    else (this.#others ??= []).push(listener)
  }

  /** The actor begins anew. */
  forgetOwn(): void {
    this.#own = undefined
  }

  /** A listener's defect must not stop the actor half way through its drain, or its end: `onDefect` is told, and the next listener too. */
  tell(state: NodeState, change: StateChange, onDefect: (defect: unknown) => void): void {
    for (const listener of [...(this.#own ?? []), ...(this.#others ?? [])]) {
      try {
        listener(state, change)
      } catch (defect) {
        onDefect(defect)
      }
    }
  }
}
