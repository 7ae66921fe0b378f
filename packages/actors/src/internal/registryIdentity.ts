/**
 * Which registry this process talks to, known anew after every reconnect. Owns the rule that an epoch names the registry that
 * gave its revision: what began before a reconnect and ended after it has an unknown outcome.
 *
 * A store may be lost behind a connection that holds: another server of the cluster had it, or somebody removed it. So the registry is
 * asked again, every now and then, and after each write that gives an epoch.
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

type Within = <A, E>(
  run: (epochOf: (revision: number) => Epoch) => Effect.Effect<A, E>
) => Effect.Effect<A, E | RegistryUnavailable>

export interface RegistryIdentity {
  readonly id: Effect.Effect<Id, RegistryUnavailable>
  /** Runs within one connection to one registry, and makes the epoch of a revision that it gave. */
  readonly within: Within
  /** The same for what writes: it is certain that the registry was this one all along. May run more than once. */
  readonly writing: Within
  /** The new id, each time it is another than before. */
  readonly lost: Stream.Stream<Id>
}

interface Known {
  readonly id: Id
  /** Of the connection. */
  readonly since: number
}

export const registryIdentity = Effect.fnUntraced(function* (
  directory: Bucket,
  transport: Transport["Service"],
  { renewMs }: { readonly renewMs: number }
): Effect.fn.Return<RegistryIdentity, RegistryUnavailable, Scope.Scope> {
  const lost = yield* PubSub.unbounded<Id>()
  let known: Known | undefined

  const ask = Effect.gen(function* () {
    const since = yield* transport.connectedSince
    if (since === undefined) return yield* new RegistryUnavailable({ reason: "not connected" })
    const now: Known = { id: yield* readRegistryId(directory), since }
    // Read over a connection that is gone by now, it would pass for what the next one says.
    if ((yield* transport.connectedSince) !== since) {
      return yield* new RegistryUnavailable({ reason: "the connection broke meanwhile" })
    }
    const before = known?.id
    known = now
    if (before !== undefined && before !== now.id) {
      yield* Effect.logWarning(`the registry has lost its store: it was ${before} and is ${now.id}`)
      yield* PubSub.publish(lost, now.id)
    }
    return now
  })

  const current = Effect.flatMap(transport.connectedSince, (since) =>
    known !== undefined && known.since === since ? Effect.succeed(known) : ask
  )

  const within: Within = Effect.fnUntraced(function* (run) {
    const { id, since } = yield* current
    const result = yield* run((revision) => ({ registry: id, revision }))
    if ((yield* transport.connectedSince) === since) return result
    return yield* new RegistryUnavailable({ reason: "the connection broke meanwhile" })
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
  yield* Effect.sleep(renewMs).pipe(Effect.andThen(Effect.ignore(ask)), Effect.forever, Effect.forkScoped)

  return {
    id: Effect.map(current, ({ id }) => id),
    within,
    writing: Effect.fnUntraced(function* (run) {
      while (true) {
        const { id } = yield* current
        const result = yield* within(run)
        if ((yield* ask).id === id) return result
      }
    }),
    lost: Stream.fromPubSub(lost)
  }
})
