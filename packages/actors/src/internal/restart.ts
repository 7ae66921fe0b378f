/**
 * An actor's way back from a crash: what it held is ended, a delay of its schedule passes, it begins anew. Owns where on that way it is.
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"

export class Restart {
  readonly #context: Context.Context<never>
  readonly #schedule: Schedule.Schedule<unknown>
  /** Since the crash, until it begins anew: done when what was is ended. */
  #cleared: Deferred.Deferred<void> | undefined
  #waiting: Fiber.Fiber<unknown, unknown> | undefined
  #isAbandoned = false
  #next: ((crash: string) => Pull.Pull<unknown, never, unknown>) | undefined

  constructor(context: Context.Context<never>, schedule: Schedule.Schedule<unknown>) {
    this.#context = context
    this.#schedule = schedule
  }

  get isUnderWay(): boolean {
    return this.#cleared !== undefined
  }

  /** From now on whatever dies is of this crash, and no other: also what dies, or ends it, while it is being cleared. */
  claim(): void {
    this.#cleared = Deferred.makeUnsafe<void>()
  }

  /** `cleared` ends what the crashed run held. Calls `again`, or `over` when the schedule has no further delay; neither once abandoned. */
  begin(
    cleared: Effect.Effect<void> | undefined,
    crash: string,
    then: { readonly again: () => void; readonly over: () => void }
  ): void {
    const claimed = this.#cleared
    this.#run(cleared ?? Effect.void).addObserver(() => {
      if (claimed !== undefined) Deferred.doneUnsafe(claimed, Exit.void)
      if (this.#isAbandoned) return
      this.#waiting = this.#run(this.#delay(crash))
      this.#waiting.addObserver((exit) => {
        this.#waiting = undefined
        if (this.#isAbandoned) return
        this.#cleared = undefined
        if (Exit.isSuccess(exit)) then.again()
        else then.over()
      })
    })
  }

  /** It is not begun anew. Awaits the end of what was, if that is still going on. */
  readonly abandon: Effect.Effect<void> = Effect.suspend(() => {
    this.#isAbandoned = true
    this.#waiting?.interruptUnsafe()
    return this.#cleared === undefined ? Effect.void : Deferred.await(this.#cleared)
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
