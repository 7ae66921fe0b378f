/**
 * The entries of a bucket, from a copy that a watch keeps: a list of what is there costs one small question to the server, and not the
 * whole bucket again. The watch begins with the first list, and goes on until the scope closes.
 *
 * Guarantees that a list has every write that was done before it was asked for: the server says how far the bucket is, and the copy has
 * come as far. A bucket that was made again after its store was lost is another one, and is read anew.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { RegistryUnavailable } from "../ActorError.ts"
import { sharedReading } from "../internal/sharedReading.ts"
import type { Change, Entry } from "../Registry.ts"

export interface KvPosition {
  /** Another one for a bucket that was made again. */
  readonly store: string
  /** Of the last write, which may have been a removal. */
  readonly revision: number
}

interface Copy {
  readonly store: string
  readonly live: Map<string, Entry>
  /** Has what was there when the watch began. */
  isComplete: boolean
  /** Once it is complete, all writes up to this revision are in it. */
  reached: number
  /** Counts what came. */
  changes: number
}

/** A list fails after `waitMs`; so does what is kept, when nothing came of it for as long though there was more. */
export const kvCopy = Effect.fnUntraced(function* (options: {
  readonly position: Effect.Effect<KvPosition, RegistryUnavailable>
  readonly changes: Stream.Stream<Change, RegistryUnavailable>
  readonly waitMs: number
  readonly late: () => RegistryUnavailable
}): Effect.fn.Return<Effect.Effect<ReadonlyArray<Entry>, RegistryUnavailable>, never, Scope.Scope> {
  const { waitMs } = options
  const late = Effect.suspend(() => Effect.fail(options.late()))
  const scope = yield* Effect.scope
  let copy: Copy | undefined
  let watch: Fiber.Fiber<void, unknown> | undefined
  let awaited:
    | { readonly revision: number; readonly done: Deferred.Deferred<void, RegistryUnavailable> }
    | undefined

  const has = (of: Copy, revision: number) => of.isComplete && of.reached >= revision

  const take = (into: Copy, change: Change) => {
    into.changes += 1
    if (change._tag === "Caught") into.isComplete = true
    else if (change._tag === "Put") {
      into.live.set(change.entry.key, change.entry)
      into.reached = Math.max(into.reached, change.entry.revision)
    } else {
      into.live.delete(change.key)
      into.reached = Math.max(into.reached, change.revision)
    }
  }

  /** `from` was read before the watch begins: it starts with all that was written until then. */
  const follow = Effect.fnUntraced(function* (from: KvPosition) {
    if (watch !== undefined) yield* Fiber.interrupt(watch)
    const mine: Copy = {
      store: from.store,
      live: new Map(),
      isComplete: false,
      reached: from.revision,
      changes: 0
    }
    copy = mine
    watch = yield* options.changes.pipe(
      Stream.runForEachArray((changes) =>
        Effect.sync(() => {
          for (const change of changes) take(mine, change)
          if (awaited !== undefined && has(mine, awaited.revision)) {
            Deferred.doneUnsafe(awaited.done, Effect.void)
          }
        })
      ),
      Effect.andThen(late),
      Effect.onError((cause) =>
        Effect.sync(() => {
          if (copy === mine) copy = undefined
          if (awaited !== undefined) Deferred.doneUnsafe(awaited.done, Effect.failCause(cause))
        })
      ),
      Effect.ignore,
      Effect.forkIn(scope)
    )
    return mine
  })

  const read = Effect.gen(function* () {
    const there = yield* options.position
    const mine = copy?.store === there.store ? copy : yield* follow(there)
    if (!has(mine, there.revision)) {
      const before = mine.changes
      const done = Deferred.makeUnsafe<void, RegistryUnavailable>()
      awaited = { revision: there.revision, done }
      yield* Effect.timeoutOrElse(Deferred.await(done), {
        duration: waitMs,
        orElse: () => {
          // Still being read; or deaf, and then begun anew by whoever lists next.
          if (mine.changes === before && copy === mine) copy = undefined
          return late
        }
      })
    }
    return [...mine.live.values()]
  })

  return Effect.timeoutOrElse(yield* sharedReading(read), { duration: waitMs, orElse: () => late })
})
