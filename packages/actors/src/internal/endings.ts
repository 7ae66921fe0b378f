/** How those lives of a process ended that were watched from elsewhere: for the watcher who asks again just after. Owns the latest of them. */
import type { Terminated } from "../Supervision.ts"

const heldMax = 1_024

export class Endings {
  readonly #byLife = new Map<number, Terminated>()

  add(life: number, terminated: Terminated): void {
    this.#byLife.set(life, terminated)
    const [oldest] = this.#byLife.keys()
    if (this.#byLife.size > heldMax && oldest !== undefined) this.#byLife.delete(oldest)
  }

  of(life: number): Terminated | undefined {
    return this.#byLife.get(life)
  }
}
