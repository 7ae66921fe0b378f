/**
 * An actor's way back from a crash: what it held is ended, a delay of its schedule passes, it begins anew. Owns where on that way it is.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"

export class Restart {
  readonly #context: Context.Context<never>
  readonly #schedule: Schedule.Schedule<unknown>
  /** Ends what was; then the delay. */
  #clearing: Fiber.Fiber<void> | undefined
  #waiting: Fiber.Fiber<unknown, unknown> | undefined
  #isAbandoned = false
  #next: ((crash: string) => Pull.Pull<unknown, never, unknown>) | undefined

  constructor(context: Context.Context<never>, schedule: Schedule.Schedule<unknown>) {
    this.#context = context
    this.#schedule = schedule
  }

  get isUnderWay(): boolean {
    return this.#clearing !== undefined || this.#waiting !== undefined
  }

  /** `cleared` ends what the crashed run held. Calls `again`, or `over` when the schedule has no further delay; neither once abandoned. */
  begin(
    cleared: Effect.Effect<void> | undefined,
    crash: string,
    then: { readonly again: () => void; readonly over: () => void }
  ): void {
    this.#clearing = this.#run(cleared ?? Effect.void)
    this.#clearing.addObserver(() => {
      this.#clearing = undefined
      if (this.#isAbandoned) return
      this.#waiting = this.#run(this.#delay(crash))
      this.#waiting.addObserver((exit) => {
        this.#waiting = undefined
        if (this.#isAbandoned) return
        if (Exit.isSuccess(exit)) then.again()
        else then.over()
      })
    })
  }

  /** It is not begun anew. Awaits the end of what was, if that is still going on. */
  readonly abandon: Effect.Effect<void> = Effect.suspend(() => {
    this.#isAbandoned = true
    this.#waiting?.interruptUnsafe()
    return this.#clearing === undefined ? Effect.void : Effect.asVoid(Fiber.await(this.#clearing))
  })

  #delay(crash: string): Pull.Pull<unknown, never, unknown> {
    if (this.#next !== undefined) return this.#next(crash)
    return Effect.flatMap(Schedule.toStepWithSleep(this.#schedule), (next) => {
      this.#next = next
      return next(crash)
    })
  }

  #run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect)
  }
}
