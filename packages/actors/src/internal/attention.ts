/**
 * Since when this process has been in touch with the registry without a break. Nobody is called dead by someone who was
 * away: not by one that was disconnected, nor stopped, nor one whose registry hung.
 *
 * A connection is not enough: for ten seconds it looks alive with nothing behind it. So the registry is asked something more
 * often than leases are renewed, and an answer that is late begins anew.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { LeaseTimes } from "../NodeLease.ts"
import type { Bucket } from "../Registry.ts"
import type { Transport } from "../Transport.ts"
import { monotonicMillis } from "./monotonic.ts"

export interface Attention {
  /** Monotonic milliseconds; undefined while away. Reads the clock: right also just after SIGSTOP. */
  readonly since: Effect.Effect<number | undefined>
  /** What is watched is known completely from now on. */
  readonly began: Effect.Effect<void>
  /** The watch broke. */
  readonly broke: Effect.Effect<void>
}

export const attend = Effect.fnUntraced(function* (
  bucket: Bucket,
  transport: Transport["Service"],
  { renewMs, ttlMs }: LeaseTimes
): Effect.fn.Return<Attention, never, Scope.Scope> {
  const probeMs = renewMs * 0.75
  // Between two answers. Well under the time by which a lease outlives its last renewal but one.
  const lateMs = ttlMs / 2
  let watching = false
  let since: number | undefined
  let answeredAt = Number.NEGATIVE_INFINITY

  const probe = Effect.gen(function* () {
    if (Exit.isFailure(yield* Effect.exit(bucket.get("probe")))) return
    const now = yield* monotonicMillis
    if (now - answeredAt > lateMs) since = undefined
    answeredAt = now
    if (watching) since ??= now
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(probe, Effect.sleep(probeMs))))

  return {
    since: Effect.gen(function* () {
      const connectedSince = yield* transport.connectedSince
      if (connectedSince === undefined || since === undefined) return undefined
      if ((yield* monotonicMillis) - answeredAt > lateMs) return undefined
      return Math.max(since, connectedSince)
    }),
    began: Effect.gen(function* () {
      watching = true
      since = yield* monotonicMillis
    }),
    broke: Effect.sync(() => {
      watching = false
      since = undefined
    })
  }
})
