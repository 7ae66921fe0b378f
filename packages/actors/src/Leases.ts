/**
 * All nodes of the cluster as their leases tell of them, and the only judgement of who is dead. Owns a view that is kept by a
 * watch and by a clock of its own: an expired lease is announced to nobody.
 *
 * A lease that is removed by its owner, or replaced by another incarnation, is over at once. One that is merely missing
 * is a death only to an observer who was attentive for `ttlMs + marginMs`: after an outage every lease is gone at once,
 * and everybody lives. Until then the view keeps what it knew.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { RegistryUnavailable } from "./ActorError.ts"
import type { Id, Incarnation } from "./Address.ts"
import { attend } from "./internal/attention.ts"
import { tellDeaths } from "./internal/deathOracle.ts"
import { monotonicMillis } from "./internal/monotonic.ts"
import { decodeNodeLease, leaseBucket, LeaseTimes, type NodeLease } from "./NodeLease.ts"
import { type Change, type Entry, Registry } from "./Registry.ts"
import { Transport } from "./Transport.ts"

const watchAgainMs = 500
const firstViewMs = 5_000
/** Incarnations known to have ended: enough that none is asked for after it fell out. */
const endedMax = 10_000

export class Leases extends Context.Service<
  Leases,
  {
    /** Every node not known to be gone, by node id. */
    readonly current: Effect.Effect<ReadonlyArray<NodeLease>>
    /** `current` on each change; begins with the present one. */
    readonly changes: Stream.Stream<ReadonlyArray<NodeLease>>
    readonly node: (nodeId: Id) => Effect.Effect<NodeLease | undefined>
    readonly incarnation: (incarnation: Incarnation) => Effect.Effect<NodeLease | undefined>
    /** Milliseconds since its lease was seen renewed here; undefined when it has none. For showing; a death is told by `isDead`. */
    readonly unheardMs: (nodeId: Id) => Effect.Effect<number | undefined>
    /** True only on proof, which may be a second old; false is "alive, or not known". */
    readonly isDead: (incarnation: Incarnation) => Effect.Effect<boolean>
    /**
     * The proof: `ended`, it removed its lease or another incarnation has it; `missing`, an attentive observer missed it long
     * enough, and the registry was just asked.
     */
    readonly deathOf: (incarnation: Incarnation) => Effect.Effect<"ended" | "missing" | undefined>
  }
>()("@ebb/actors/Leases") {
  static readonly layer: Layer.Layer<Leases, RegistryUnavailable, Registry | Transport> = Layer.effect(
    Leases,
    Effect.suspend(() => observe)
  )
}

interface Seen {
  /** undefined: it cannot be read. */
  readonly lease: NodeLease | undefined
  readonly bytes: Uint8Array
  readonly revision: number
  /** Monotonic milliseconds at which this revision was first seen here. */
  readonly atMs: number
}

const observe: Effect.Effect<Leases["Service"], RegistryUnavailable, Registry | Transport | Scope.Scope> =
  Effect.gen(function* () {
    const times = yield* LeaseTimes
    /** How long a missing lease takes to be a death. */
    const deathMs = times.ttlMs + times.marginMs
    const bucket = yield* Effect.flatMap(Registry, (registry) =>
      registry.bucket(leaseBucket, { ttlMs: times.ttlMs })
    )
    const transport = yield* Transport
    const attention = yield* attend(bucket, transport, times)
    const seen = new Map<Id, Seen>()
    /** Over for good: removed by themselves, or replaced. */
    const ended = new Set<Incarnation>()
    /** Found missing, when, and by an eye attentive since when. */
    const missing = new Map<Incarnation, { readonly atMs: number; readonly since: number }>()
    const caught = yield* Deferred.make<void>()
    const view = yield* SubscriptionRef.make<ReadonlyArray<NodeLease>>([])

    const publish = Effect.suspend(() =>
      SubscriptionRef.set(
        view,
        [...seen.values()]
          .flatMap(({ lease }) => (lease === undefined ? [] : [lease]))
          .toSorted((a, b) => (a.node < b.node ? -1 : 1))
      )
    )

    const end = (incarnation: Incarnation | undefined) => {
      if (incarnation === undefined) return
      ended.add(incarnation)
      const [oldest] = ended
      if (ended.size > endedMax && oldest !== undefined) ended.delete(oldest)
    }

    /** Takes an entry in; true if it says something new. */
    const put = Effect.fnUntraced(function* (entry: Entry) {
      const before = seen.get(entry.key)
      const lease = Option.getOrUndefined(decodeNodeLease(entry.value))
      const same = before !== undefined && Buffer.compare(before.bytes, entry.value) === 0
      if (lease === undefined && !same) {
        yield* Effect.logWarning(
          `the lease of node '${entry.key}' cannot be read; it may be of a later version`
        )
      }
      if (before?.lease !== undefined && lease !== undefined && before.lease.inc !== lease.inc) {
        end(before.lease.inc)
      }
      if (lease !== undefined) missing.delete(lease.inc)
      // Seen again after a break, the same revision is no renewal.
      const atMs = same && before.revision === entry.revision ? before.atMs : yield* monotonicMillis
      seen.set(entry.key, { lease, bytes: entry.value, revision: entry.revision, atMs })
      return !same
    })

    const take = Effect.fnUntraced(function* (change: Change) {
      if (change._tag === "Caught") {
        yield* attention.began
        yield* Deferred.succeed(caught, undefined)
      } else if (change._tag === "Put") {
        if (yield* put(change.entry)) yield* publish
      } else {
        end(seen.get(change.key)?.lease?.inc)
        if (seen.delete(change.key)) yield* publish
      }
    })

    /** Drops what was missing for long enough under an attentive eye. */
    const expire = Effect.gen(function* () {
      const since = yield* attention.since
      if (since === undefined) return
      const now = yield* monotonicMillis
      const gone = [...seen].filter(([, { atMs }]) => Math.max(atMs, since) + deathMs <= now)
      for (const [nodeId] of gone) seen.delete(nodeId)
      if (gone.length > 0) yield* publish
    })

    yield* bucket.changes.pipe(
      Stream.runForEach(take),
      Effect.ignore,
      Effect.andThen(Effect.sync(() => missing.clear())),
      Effect.andThen(attention.broke),
      Effect.andThen(Effect.sleep(watchAgainMs)),
      Effect.forever,
      Effect.forkScoped
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(times.renewMs / 4), expire)))
    yield* Deferred.await(caught).pipe(
      Effect.timeoutOrElse({
        duration: firstViewMs,
        orElse: () => new RegistryUnavailable({ reason: `no view of the leases in ${firstViewMs} ms` })
      })
    )

    const findIncarnation = (incarnation: Incarnation) =>
      [...seen.values()].find(({ lease }) => lease?.inc === incarnation)?.lease

    /** What was found within `knownMs` is not looked for again. */
    const deathOf = Effect.fnUntraced(function* (incarnation: Incarnation, knownMs: number) {
      if (ended.has(incarnation)) return "ended"
      yield* expire
      const since = yield* attention.since
      if (findIncarnation(incarnation) !== undefined || since === undefined) return undefined
      const now = yield* monotonicMillis
      if (since + deathMs > now) return undefined
      const found = missing.get(incarnation)
      if (found?.since === since && now - found.atMs < knownMs) return "missing"
      // The watch may lag behind what the registry knows: behind a node that has just come, above all. And while there is a
      // lease that cannot be read, nobody can be told not to hold it.
      const entries = yield* Effect.option(bucket.entries)
      if (Option.isNone(entries)) return undefined
      const holders = entries.value.map(({ value }) => Option.getOrUndefined(decodeNodeLease(value))?.inc)
      if (holders.includes(incarnation) || holders.includes(undefined)) return undefined
      // The answer may have waited for this process to go on, and be of long ago.
      const answeredMs = (yield* monotonicMillis) - now
      if ((yield* attention.since) !== since || answeredMs > times.marginMs) return undefined
      missing.set(incarnation, { atMs: now, since })
      return "missing"
    })

    const isDead = (incarnation: Incarnation) =>
      Effect.map(deathOf(incarnation, times.renewMs / 4), (death) => death !== undefined)
    yield* tellDeaths(transport, isDead)

    return {
      current: SubscriptionRef.get(view),
      changes: SubscriptionRef.changes(view),
      node: (nodeId) => Effect.sync(() => seen.get(nodeId)?.lease),
      unheardMs: (nodeId) =>
        Effect.map(monotonicMillis, (now) => {
          const atMs = seen.get(nodeId)?.atMs
          return atMs === undefined ? undefined : now - atMs
        }),
      incarnation: (incarnation) => Effect.sync(() => findIncarnation(incarnation)),
      isDead,
      deathOf: (incarnation) => deathOf(incarnation, 0)
    }
  })
