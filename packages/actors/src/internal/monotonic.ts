/** Milliseconds of the monotonic clock: for measuring and comparing within this process, never for the wire. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export const monotonicMillis: Effect.Effect<number> = Effect.map(
  Clock.monotonicTimeNanos,
  (nanos) => Number(nanos / 1_000n) / 1_000
)

/** The same clock, for where no effect can run. */
export const monotonicUnsafe: Effect.Effect<() => number> = Effect.clockWith((clock) =>
  Effect.succeed(() => Number(clock.monotonicTimeNanosUnsafe() / 1_000n) / 1_000)
)
