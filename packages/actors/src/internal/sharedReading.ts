/**
 * One reading for all who ask while another is at work: they get the next, which begins after they asked, so nobody is given what was
 * read before. However many ask, one reads at a time.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

/** It is read in the scope, whoever of those who wait for it gives up. */
export const sharedReading = Effect.fnUntraced(function* <A, E>(
  read: Effect.Effect<A, E>
): Effect.fn.Return<Effect.Effect<A, E>, never, Scope.Scope> {
  let next: Deferred.Deferred<A, E> | undefined
  const wanted = yield* Queue.sliding<void>(1)
  yield* Queue.take(wanted).pipe(
    Effect.andThen(
      Effect.suspend(() => {
        const mine = next
        next = undefined
        return mine === undefined ? Effect.void : Deferred.into(read, mine)
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  return Effect.suspend(() => {
    next ??= Deferred.makeUnsafe<A, E>()
    Queue.offerUnsafe(wanted, undefined)
    return Deferred.await(next)
  })
})
