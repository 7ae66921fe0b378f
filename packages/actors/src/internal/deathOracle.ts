/**
 * Who is dead, for the runtime of a process: what the leases know that stand on the same transport. Neither has to be given the other, and
 * either may be there first.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Incarnation } from "../Address.ts"
import type { Transport } from "../Transport.ts"

export type IsDead = (incarnation: Incarnation) => Effect.Effect<boolean>

const oracles = new WeakMap<Transport["Service"], IsDead>()

/** Until the scope closes. Of several the latest is asked. */
export const tellDeaths = (
  transport: Transport["Service"],
  isDead: IsDead
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => void oracles.set(transport, isDead)),
    () =>
      Effect.sync(() => {
        if (oracles.get(transport) === isDead) oracles.delete(transport)
      })
  )

/** False while nobody can tell. */
export const isKnownDead = (
  transport: Transport["Service"],
  incarnation: Incarnation
): Effect.Effect<boolean> =>
  Effect.suspend(() => oracles.get(transport)?.(incarnation) ?? Effect.succeed(false))
