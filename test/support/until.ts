/** Waiting for what other processes bring about: asked again until it holds, for as long as the test may take. */
import * as Effect from "effect/Effect"

/** The first value for which it holds. An error is an answer not yet given. */
export const until = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  Effect.gen(function* (): Effect.fn.Return<A, never, R> {
    while (true) {
      const seen = yield* Effect.option(look)
      if (seen._tag === "Some" && holds(seen.value)) return seen.value
      yield* Effect.sleep(20)
    }
  })

export const untilTrue = (holds: () => boolean): Effect.Effect<void> =>
  Effect.asVoid(until(Effect.sync(holds), (value) => value))
