/**
 * Who owns what in the cluster: one entry per kind and id, naming an owner incarnation, valid while that incarnation's lease
 * is. Entries have no TTL; only an explicit claim of the same id replaces a dead owner's.
 *
 * Ownership is decided by the outcome of a write, never by a read. An outcome that stays unknown is settled: by
 * the next claim, which takes its own entry up, or else by removing it once the registry answers.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { AlreadyOwned, type NodeIsolated, RegistryUnavailable } from "./ActorError.ts"
import type { Epoch, Id } from "./Address.ts"
import { decodeDirectoryEntry, type DirectoryEntry, encodeDirectoryEntry } from "./DirectoryEntry.ts"
import { monotonicMillis } from "./internal/monotonic.ts"
import { directoryBucket } from "./internal/registryId.ts"
import { registryIdentity } from "./internal/registryIdentity.ts"
import { leftovers } from "./internal/leftovers.ts"
import type { HeldLease } from "./Lease.ts"
import { Leases } from "./Leases.ts"
import { LeaseTimes } from "./NodeLease.ts"
import { type Entry, Registry } from "./Registry.ts"
import { Transport } from "./Transport.ts"

export interface Located {
  readonly entry: DirectoryEntry
  readonly epoch: Epoch
}

export interface Name {
  readonly kind: Id
  readonly id: Id
}

/** What became of an entry while its owner was away. */
export type Verified =
  /** It was still there, and was written anew: nobody can take it any more who thought this process dead. */
  | { readonly _tag: "Mine"; readonly epoch: Epoch }
  /** It was gone, with the registry's store, and was registered again: under a new epoch. */
  | { readonly _tag: "Retaken"; readonly epoch: Epoch }
  | { readonly _tag: "Superseded"; readonly by: DirectoryEntry; readonly epoch: Epoch }

export class Directory extends Context.Service<
  Directory,
  {
    /**
     * Registers the name for the lease's holder. One's own entry is taken up, whichever attempt wrote it; a dead owner's is
     * replaced. After `RegistryUnavailable` the outcome is unknown: claim again, or leave it, and it will be removed.
     */
    readonly claim: (
      name: Name,
      lease: HeldLease
    ) => Effect.Effect<Epoch, AlreadyOwned | RegistryUnavailable | NodeIsolated>
    readonly lookup: (name: Name) => Effect.Effect<Located | undefined, RegistryUnavailable>
    /** Removes the name if it is still held under this epoch; does so later when the registry is away. Never fails. */
    readonly release: (name: Name, epoch: Epoch, lease: HeldLease) => Effect.Effect<void>
    /** For after `HeldLease.resumed`: takes the entry up again, under a larger epoch, or says who took it over. */
    readonly verify: (
      name: Name,
      lease: HeldLease
    ) => Effect.Effect<Verified, RegistryUnavailable | NodeIsolated>
    readonly list: (kind: Id) => Effect.Effect<ReadonlyArray<Located>, RegistryUnavailable>
    readonly registryId: Effect.Effect<Id, RegistryUnavailable>
    /** The new id, each time the registry is found to have lost its store: everything has to be verified. */
    readonly registryLost: Stream.Stream<Id>
  }
>()("@ebb/actors/Directory") {
  static readonly layer: Layer.Layer<Directory, RegistryUnavailable, Registry | Transport | Leases> =
    Layer.effect(
      Directory,
      Effect.suspend(() => make)
    )
}

const make: Effect.Effect<
  Directory["Service"],
  RegistryUnavailable,
  Registry | Transport | Leases | Scope.Scope
> = Effect.gen(function* () {
  const leases = yield* Leases
  const times = yield* LeaseTimes
  const { ttlMs, marginMs } = times
  const bucket = yield* Effect.flatMap(Registry, (registry) => registry.bucket(directoryBucket))
  const identity = yield* registryIdentity(bucket, yield* Transport, times)
  const left = yield* leftovers(bucket, identity)

  const write = Effect.fnUntraced(function* (
    name: Name,
    lease: HeldLease,
    revision: number | undefined,
    claimedAt?: number
  ) {
    const at = claimedAt ?? (yield* Clock.currentTimeMillis)
    const value = encodeDirectoryEntry({ v: 1, ...name, node: lease.nodeId, inc: lease.incarnation, at })
    yield* lease.assertFresh
    const written =
      revision === undefined ? bucket.create(keyOf(name), value) : bucket.update(keyOf(name), value, revision)
    return yield* Effect.catchTag(written, "KeyConflict", () => Effect.succeed(undefined))
  })

  const read = Effect.fnUntraced(function* (name: Name) {
    const stored = yield* bucket.get(keyOf(name))
    return stored === undefined ? undefined : { entry: yield* decoded(stored), revision: stored.revision }
  })

  /** May its entries be replaced by the holder of this lease? */
  const isOver = Effect.fnUntraced(function* (incarnation: Id, lease: HeldLease) {
    const death = yield* leases.deathOf(incarnation)
    if (death !== "missing") return death === "ended"
    // Reads may have been answered all along while no lease could be renewed: one's own proves that writes went through.
    const since = yield* lease.unbrokenSince
    return since !== undefined && since + ttlMs + marginMs <= (yield* monotonicMillis)
  })

  const claim = (name: Name, lease: HeldLease, contested: boolean) =>
    identity.writing(
      Effect.fnUntraced(function* (epochOf) {
        while (true) {
          const created = yield* write(name, lease, undefined)
          if (created !== undefined) return epochOf(created)
          const found = yield* read(name)
          if (found === undefined) continue
          const mine = found.entry.inc === lease.incarnation
          // A removal of it may still be on its way; a new revision makes that one fail.
          if (mine && !contested) return epochOf(found.revision)
          if (!mine && !(yield* isOver(found.entry.inc, lease))) {
            const owner = { node: found.entry.node, incarnation: found.entry.inc }
            return yield* new AlreadyOwned({ ...name, owner, epoch: epochOf(found.revision) })
          }
          const updated = yield* write(name, lease, found.revision)
          if (updated !== undefined) return epochOf(updated)
        }
      })
    )

  return {
    claim: Effect.fnUntraced(function* (name, lease) {
      const contested = yield* left.keep(keyOf(name))
      return yield* claim(name, lease, contested).pipe(
        Effect.onExit((exit) => {
          const error = Exit.findErrorOption(exit)
          const known =
            Exit.isSuccess(exit) || (Option.isSome(error) && error.value._tag !== "RegistryUnavailable")
          return known ? Effect.void : left.abandon(keyOf(name), lease)
        })
      )
    }),

    lookup: (name) =>
      identity.within((epochOf) =>
        Effect.map(read(name), (found) => found && { entry: found.entry, epoch: epochOf(found.revision) })
      ),

    release: (name, epoch, lease) => left.remove(keyOf(name), lease, epoch),

    verify: Effect.fnUntraced(function* (name, lease) {
      let retaken = false
      return yield* identity.writing(
        Effect.fnUntraced(function* (epochOf): Effect.fn.Return<
          Verified,
          RegistryUnavailable | NodeIsolated
        > {
          yield* lease.assertFresh
          while (true) {
            const found = yield* read(name)
            if (found !== undefined && found.entry.inc !== lease.incarnation) {
              return { _tag: "Superseded", by: found.entry, epoch: epochOf(found.revision) }
            }
            // Written, not only read: whoever saw this process dead may be about to take the entry, and by this fails.
            const written = yield* write(name, lease, found?.revision, found?.entry.at)
            if (written === undefined) continue
            retaken ||= found === undefined
            return { _tag: retaken ? "Retaken" : "Mine", epoch: epochOf(written) }
          }
        })
      )
    }),

    list: (kind) =>
      identity.within((epochOf) =>
        Effect.map(bucket.entries, (entries) =>
          entries.flatMap((stored) => {
            if (!stored.key.startsWith(`${kind}.`)) return []
            const entry = Option.getOrUndefined(decodedOnce(stored))
            return entry === undefined ? [] : [{ entry, epoch: epochOf(stored.revision) }]
          })
        )
      ),

    registryId: identity.id,
    registryLost: identity.lost
  }
})

const keyOf = ({ kind, id }: Name): string => `${kind}.${id}`

/** A registry may give one and the same entry again and again, for as long as nobody has written it. */
const listed = new WeakMap<Entry, Option.Option<DirectoryEntry>>()
const decodedOnce = (stored: Entry): Option.Option<DirectoryEntry> => {
  const known = listed.get(stored) ?? decodeDirectoryEntry(stored.value)
  listed.set(stored, known)
  return known
}

const decoded = (stored: Entry): Effect.Effect<DirectoryEntry, RegistryUnavailable> =>
  Effect.mapError(
    Effect.fromOption(decodeDirectoryEntry(stored.value)),
    () => new RegistryUnavailable({ reason: `the entry '${stored.key}' cannot be read` })
  )
