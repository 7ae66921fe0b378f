/** Without log lines: for tests that provoke what is logged. */
import * as Effect from "effect/Effect"
import * as References from "effect/References"

export const quietly: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(References.MinimumLogLevel, "None")
