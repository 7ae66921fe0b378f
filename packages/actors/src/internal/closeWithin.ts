/** Closes a scope, the latest finalizer first, each with a time limit of its own: one that hangs holds up nobody for longer. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

type Finalizer = (exit: Exit.Exit<any, any>) => Effect.Effect<void>

export interface Limit {
  readonly ms: number
  /** For each that did not end in that time: it goes on by itself, and nobody waits for it any more. */
  readonly onLate: () => void
  /** It died after that. What dies in time is in the cause of the whole. */
  readonly onLateDeath: (cause: Cause.Cause<unknown>) => void
}

export const closeWithin = (
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>,
  limit: Limit
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = scope
    if (state._tag === "Open") {
      if (state.finalizer !== undefined) state.finalizer = limited(state.finalizer, limit)
      for (const [key, finalizer] of state.finalizers ?? [])
        state.finalizers?.set(key, limited(finalizer, limit))
    }
    return Scope.close(scope, exit)
  })

const limited =
  (finalizer: Finalizer, { ms, onLate, onLateDeath }: Limit): Finalizer =>
  (exit) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkDetach(finalizer(exit), {
        startImmediately: true,
        uninterruptible: true
      })
      // Most are done by now, and need no clock.
      const done = fiber.pollUnsafe()
      if (done !== undefined) return yield* done
      const leave = Effect.sync(() => {
        onLate()
        fiber.addObserver((end) => {
          if (Exit.isFailure(end)) onLateDeath(end.cause)
        })
      })
      return yield* Effect.interruptible(Fiber.join(fiber)).pipe(
        Effect.timeoutOrElse({ duration: ms, orElse: () => leave })
      )
    })
