/**
 * Which registry this process talks to, known anew after every reconnect. Owns the rule that an epoch names the registry that
 * gave its revision: what began before a reconnect and ended after it has an unknown outcome.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { RegistryUnavailable } from "../ActorError.ts"
import type { Epoch, Id } from "../Address.ts"
import type { Bucket } from "../Registry.ts"
import type { Transport } from "../Transport.ts"
import { readRegistryId } from "./registryId.ts"

export interface RegistryIdentity {
  readonly id: Effect.Effect<Id, RegistryUnavailable>
  /** Runs within one connection to one registry, and makes the epoch of a revision that it gave. */
  readonly within: <A, E>(
    run: (epochOf: (revision: number) => Epoch) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | RegistryUnavailable>
  /** The new id, each time it is another than before. */
  readonly lost: Stream.Stream<Id>
}

export const registryIdentity = Effect.fnUntraced(function* (
  directory: Bucket,
  transport: Transport["Service"]
): Effect.fn.Return<RegistryIdentity, RegistryUnavailable, Scope.Scope> {
  const lost = yield* PubSub.unbounded<Id>()
  let known: { readonly id: Id; readonly since: number } | undefined

  const current = Effect.gen(function* () {
    const since = yield* transport.connectedSince
    if (since === undefined) return yield* new RegistryUnavailable({ reason: "not connected" })
    if (known?.since === since) return known
    const before = known?.id
    const now = { id: yield* readRegistryId(directory), since }
    // Read over a connection that is gone by now, it would pass for what the next one says.
    if ((yield* transport.connectedSince) !== since) {
      return yield* new RegistryUnavailable({ reason: "the connection broke meanwhile" })
    }
    known = now
    if (before !== undefined && before !== now.id) {
      yield* Effect.logWarning(`the registry has lost its store: it was ${before} and is ${now.id}`)
      yield* PubSub.publish(lost, now.id)
    }
    return now
  })

  yield* current
  yield* transport.connected.pipe(
    Stream.filter((connected) => connected),
    Stream.runForEach(() =>
      // Until it is known, or the connection is gone again.
      current.pipe(
        Effect.retry({
          schedule: Schedule.spaced("500 millis"),
          while: () => Effect.map(transport.connectedSince, (since) => since !== undefined)
        }),
        Effect.ignore
      )
    ),
    Effect.forkScoped
  )

  return {
    id: Effect.map(current, ({ id }) => id),
    within: Effect.fnUntraced(function* (run) {
      const { id, since } = yield* current
      const result = yield* run((revision) => ({ registry: id, revision }))
      if ((yield* transport.connectedSince) === since) return result
      return yield* new RegistryUnavailable({ reason: "the connection broke meanwhile" })
    }),
    lost: Stream.fromPubSub(lost)
  }
})
