/**
 * Since when this process has been in touch with the registry without a break. Nobody is called dead by someone who was
 * away: not by one that was disconnected, nor stopped, nor one whose registry hung.
 *
 * A connection is not enough: for ten seconds it looks alive with nothing behind it. So the registry is asked something every
 * `probeMs`, and one answer that fails or is late begins anew.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Bucket } from "../Registry.ts"
import type { Transport } from "../Transport.ts"
import { monotonicMillis } from "./monotonic.ts"

const probeMs = 3_000
/** Between two answers. Well under the time by which a lease outlives its renewals. */
const lateMs = 7_000

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
  transport: Transport["Service"]
): Effect.fn.Return<Attention, never, Scope.Scope> {
  let watching = false
  let since: number | undefined
  let answeredAt = Number.NEGATIVE_INFINITY

  const probe = Effect.gen(function* () {
    const answered = yield* Effect.isSuccess(bucket.get("probe"))
    const now = yield* monotonicMillis
    if (!answered || now - answeredAt > lateMs) since = undefined
    if (!answered) return
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
