/**
 * The end of one run of an actor: handlers, streams, children, scope, in this order. What hangs is left behind when its time is over, and
 * said: a drain may last as long as a call does, and no longer than that for somebody's finalizer.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { closeWithin } from "./closeWithin.ts"

/** What an actor holds at its end. */
export interface Run {
  readonly running: Set<Fiber.Fiber<unknown, unknown>>
  readonly stopGraceMs: number
  readonly finalizerMs: number
  readonly scope: Scope.Closeable
  readonly endStreams: () => void
  readonly holdsNothing: boolean
  /** Ends each child, the latest first, and awaits it. Run when the handlers are done: one of them may have spawned. */
  readonly endChildren: Effect.Effect<void>
  readonly warn: (what: string) => void
  readonly bug: (what: string, cause: Cause.Cause<unknown>) => void
}

/** Undefined when nothing has to be waited for; it is all done then. */
export const endRun = (run: Run): Effect.Effect<void> | undefined => {
  const { finalizerMs, running, scope } = run
  const late = (what: string) => run.warn(`${what} did not end in ${finalizerMs} ms; it is left behind`)
  const closed = Effect.suspend(() =>
    closeWithin(scope, Exit.void, {
      ms: finalizerMs,
      onLate: () => late("a finalizer"),
      onLateDeath: (cause) => run.bug("a finalizer that was left behind died", cause)
    })
  )
  if (running.size === 0 && run.holdsNothing && scope.state._tag === "Empty") {
    run.endStreams()
    Effect.runSync(closed)
    return undefined
  }
  const handlersDone = Effect.suspend(() =>
    running.size === 0
      ? Effect.void
      : Effect.timeoutOrElse(Fiber.awaitAll([...running]), {
          duration: run.stopGraceMs,
          orElse: () =>
            Effect.timeoutOrElse(
              Effect.suspend(() => Fiber.interruptAll([...running])),
              {
                duration: finalizerMs,
                orElse: () =>
                  Effect.sync(() => {
                    late("a handler")
                    running.clear()
                  })
              }
            )
        })
  )
  return handlersDone.pipe(
    Effect.andThen(Effect.sync(run.endStreams)),
    Effect.andThen(run.endChildren),
    Effect.andThen(closed),
    Effect.catchCause((cause) => Effect.sync(() => run.bug("a finalizer died", cause)))
  )
}
