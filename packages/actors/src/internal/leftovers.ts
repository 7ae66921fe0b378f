/**
 * Directory entries that may be this process's and that nobody here stands for: of a claim whose outcome stayed unknown, or
 * of a release that did not get through. Owns removing them, however long the registry is away, and never one that was
 * claimed again meanwhile.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Semaphore from "effect/Semaphore"
import { RegistryUnavailable } from "../ActorError.ts"
import type { Epoch } from "../Address.ts"
import { decodeDirectoryEntry } from "../DirectoryEntry.ts"
import type { HeldLease } from "../Lease.ts"
import type { Bucket } from "../Registry.ts"
import type { RegistryIdentity } from "./registryIdentity.ts"

const againMs = 1_000

interface Leftover {
  /** A claim must not take the entry up while its removal is being sent. */
  readonly lock: Semaphore.Semaphore
  readonly lease: HeldLease
  /** undefined: whatever this incarnation has there. */
  readonly epoch: Epoch | undefined
  /** It was not there at the last look. */
  absent: boolean
}

export const leftovers = Effect.fnUntraced(function* (bucket: Bucket, identity: RegistryIdentity) {
  const pending = new Map<string, Leftover>()
  const later = yield* Queue.unbounded<string>()
  const settle = Effect.fnUntraced(function* (key: string) {
    const leftover = pending.get(key)
    if (leftover === undefined) return
    const { lease, epoch } = leftover
    yield* identity.within(
      Effect.fnUntraced(function* (epochOf) {
        const stored = yield* bucket.get(key)
        const entry = stored && Option.getOrUndefined(decodeDirectoryEntry(stored.value))
        if (stored === undefined && epoch === undefined && !leftover.absent) {
          // The write may still wait in the server behind a connection that broke: looked at once more, later.
          leftover.absent = true
          return yield* new RegistryUnavailable({ reason: "not there yet" })
        }
        if (stored === undefined || entry?.inc !== lease.incarnation) return
        const found = epochOf(stored.revision)
        if (epoch !== undefined && epoch.registry === found.registry && epoch.revision !== found.revision)
          return
        yield* lease.assertFresh
        yield* Effect.catchTag(bucket.remove(key, stored.revision), "KeyConflict", () => Effect.void)
      })
    )
    if (pending.get(key) === leftover) pending.delete(key)
  })

  const enter = (key: string, lease: HeldLease, epoch: Epoch | undefined) => {
    const lock = pending.get(key)?.lock ?? Semaphore.makeUnsafe(1)
    pending.set(key, { lock, lease, epoch, absent: false })
  }
  const locked = <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => pending.get(key)?.lock.withPermit(effect) ?? effect)

  const attempt = (key: string) =>
    locked(key, settle(key)).pipe(
      Effect.as(true),
      Effect.orElseSucceed(() => false)
    )

  yield* Queue.takeAll(later).pipe(
    Effect.tap(() => Effect.sleep(againMs)),
    Effect.flatMap((keys) =>
      Effect.forEach(
        new Set(keys),
        (key) => Effect.flatMap(attempt(key), (done) => (done ? Effect.void : Queue.offer(later, key))),
        { concurrency: 16 }
      )
    ),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    /** Whatever this incarnation has there, or will have when a write that is under way is done. Returns at once. */
    abandon: (key: string, lease: HeldLease) =>
      Effect.suspend(() => {
        enter(key, lease, undefined)
        return Effect.asVoid(Queue.offer(later, key))
      }),
    /** Removes the key now, or as soon as it can be. */
    remove: Effect.fnUntraced(function* (key: string, lease: HeldLease, epoch: Epoch | undefined) {
      enter(key, lease, epoch)
      if (!(yield* attempt(key))) yield* Queue.offer(later, key)
    }),
    /** The key is wanted again. True if it was to be removed: such a removal may still be on its way. */
    keep: (key: string) =>
      pending.has(key)
        ? locked(
            key,
            Effect.sync(() => pending.delete(key))
          )
        : Effect.succeed(false)
  }
})
