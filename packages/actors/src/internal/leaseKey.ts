/**
 * The one key of a node's lease, under compare-and-set. Owns its revision and the rule for conflicts: `wrong last sequence` is not
 * a lost lease. The key is read back: own incarnation, a reply was lost; absent, it expired or the store was lost, and
 * is created again; only another incarnation has taken it. What cannot be read is nobody's word: whoever holds the lease decides.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RegistryUnavailable } from "../ActorError.ts"
import type { Id, Incarnation } from "../Address.ts"
import { decodeNodeLease } from "../NodeLease.ts"
import type { Bucket } from "../Registry.ts"
import { monotonicMillis } from "./monotonic.ts"

export type WriteOutcome =
  | {
      readonly _tag: "Written"
      readonly revision: number
      /** Monotonic milliseconds just before the write left: when it was done is known no better. */
      readonly sentAt: number
      /** The key had gone since the last `Written`: nobody can be told that it was held meanwhile. */
      readonly created: boolean
    }
  | { readonly _tag: "Foreign"; readonly revision: number; readonly holder: Holder }
  | { readonly _tag: "Unreadable"; readonly revision: number }

export interface Holder {
  readonly incarnation: Incarnation
  readonly host: string
  readonly pid: number
}

export const leaseKey = (bucket: Bucket, nodeId: Id, incarnation: Incarnation) => {
  let revision: number | undefined
  let created = true

  const readBack: Effect.Effect<WriteOutcome | undefined, RegistryUnavailable> = Effect.gen(function* () {
    const entry = yield* bucket.get(nodeId)
    if (entry === undefined) {
      revision = undefined
      created = true
      return undefined
    }
    const lease = Option.getOrUndefined(decodeNodeLease(entry.value))
    if (lease === undefined) return { _tag: "Unreadable", revision: entry.revision }
    if (lease.inc !== incarnation) {
      const holder = { incarnation: lease.inc, host: lease.host, pid: lease.pid }
      return { _tag: "Foreign", revision: entry.revision, holder }
    }
    revision = entry.revision
    return undefined
  })

  const attempt = Effect.fnUntraced(function* (value: Uint8Array) {
    const sentAt = yield* monotonicMillis
    const written = yield* (
      revision === undefined ? bucket.create(nodeId, value) : bucket.update(nodeId, value, revision)
    ).pipe(Effect.catchTag("KeyConflict", () => Effect.succeed(undefined)))
    if (written === undefined) return yield* readBack
    const outcome: WriteOutcome = { _tag: "Written", revision: written, sentAt, created }
    revision = written
    created = false
    return outcome
  })

  const write = Effect.fnUntraced(function* (
    value: Uint8Array
  ): Effect.fn.Return<WriteOutcome, RegistryUnavailable> {
    let outcome = yield* attempt(value)
    while (outcome === undefined) outcome = yield* attempt(value)
    return outcome
  })

  /** The next write replaces what has this revision, whatever it is. */
  const replace = (found: number) =>
    Effect.sync(() => {
      revision = found
      created = true
    })

  /** Removes the key if this incarnation holds it, whatever is known of it here: an earlier write may have been cut short. */
  const remove = Effect.gen(function* () {
    const foreign = yield* readBack
    if (foreign === undefined && revision !== undefined) yield* bucket.remove(nodeId, revision)
  })

  return { write, replace, remove }
}
