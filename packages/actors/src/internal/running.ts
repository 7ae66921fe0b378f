/**
 * The handlers of an actor that run: those that wait, as fibers, and the one that is on the stack, of which nobody can say yet whether it
 * will wait. Owns what has to be done as soon as that one has returned.
 */
import type * as Fiber from "effect/Fiber"

export class Running {
  /** What the actor's end waits for. */
  readonly fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  #onStack = false
  #interruptSoon = false
  #after: (() => void) | undefined

  /** A handler is about to be called. */
  enter(): void {
    this.#onStack = true
  }

  /** It has returned: it is done, or is among `fibers` in a moment. */
  returned(): void {
    this.#onStack = false
  }

  /** Its answer is given, or it waits: now for what was held up for it. */
  settle(fiber: Fiber.Fiber<unknown, unknown> | undefined): void {
    if (this.#interruptSoon) {
      this.#interruptSoon = false
      fiber?.interruptUnsafe()
    }
    const after = this.#after
    if (after === undefined) return
    this.#after = undefined
    after()
  }

  interruptAll(): void {
    if (this.#onStack) this.#interruptSoon = true
    for (const fiber of this.fibers) fiber.interruptUnsafe()
  }

  /** Calls back when no handler is on the stack: now, or as soon as the one that calls this has returned or waits. */
  offStack(then: () => void): void {
    if (!this.#onStack) return then()
    const before = this.#after
    this.#after = () => {
      before?.()
      then()
    }
  }
}
