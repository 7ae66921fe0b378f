/** Closes a scope, the latest finalizer first, each with a time limit of its own: one that hangs holds up nobody for longer. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

type Finalizer = (exit: Exit.Exit<any, any>) => Effect.Effect<void>

/** `onLate` is called for each that did not end in `limitMs`: it goes on by itself, and nobody waits for it any more. */
export const closeWithin = (
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>,
  limitMs: number,
  onLate: () => void
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = scope
    const limited = (finalizer: Finalizer): Finalizer => limit(finalizer, limitMs, onLate)
    if (state._tag === "Open") {
      if (state.finalizer !== undefined) state.finalizer = limited(state.finalizer)
      for (const [key, finalizer] of state.finalizers ?? []) state.finalizers?.set(key, limited(finalizer))
    }
    return Scope.close(scope, exit)
  })

const limit =
  (finalizer: Finalizer, limitMs: number, onLate: () => void): Finalizer =>
  (exit) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkDetach(finalizer(exit), {
        startImmediately: true,
        uninterruptible: true
      })
      // Most are done by now, and need no clock.
      const done = fiber.pollUnsafe()
      if (done !== undefined) return yield* done
      return yield* Effect.interruptible(Fiber.join(fiber)).pipe(
        Effect.timeoutOrElse({ duration: limitMs, orElse: () => Effect.sync(onLate) })
      )
    })
