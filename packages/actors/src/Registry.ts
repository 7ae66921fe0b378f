/**
 * The compare-and-set store that leases, the directory and receipts stand on. NATS JetStream KV implements it
 * (`nats/NatsRegistry`), a map in memory does for tests (`testing/TestRegistry`).
 *
 * Guarantees only what both have: `create` and `update` are linear per bucket, reads may be stale, an expired key is
 * announced to nobody, and revisions of a bucket grow as long as its store is kept. So ownership is decided by the outcome of a
 * write, never by a read. `Lease` and `Directory` make the rules of identity out of this.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { KeyConflict, RegistryUnavailable } from "./ActorError.ts"

export interface Entry {
  readonly key: string
  readonly value: Uint8Array
  readonly revision: number
}

/** A change seen by a watch. `Caught` comes once, after what was there when the watch began. */
export type Change =
  | { readonly _tag: "Put"; readonly entry: Entry }
  | { readonly _tag: "Removed"; readonly key: string; readonly revision: number }
  | { readonly _tag: "Caught" }

/** One bucket. Keys are ids joined by dots. Values are at most 1 MiB. */
export interface Bucket {
  readonly get: (key: string) => Effect.Effect<Entry | undefined, RegistryUnavailable>
  /** Fails with `KeyConflict` when the key is there; a removed or expired key may be created again. */
  readonly create: (
    key: string,
    value: Uint8Array
  ) => Effect.Effect<number, KeyConflict | RegistryUnavailable>
  /** Fails with `KeyConflict` unless the key's last revision is `revision`. */
  readonly update: (
    key: string,
    value: Uint8Array,
    revision: number
  ) => Effect.Effect<number, KeyConflict | RegistryUnavailable>
  /** Removes the key if its last revision is `revision`. */
  readonly remove: (key: string, revision: number) => Effect.Effect<void, KeyConflict | RegistryUnavailable>
  /** All live entries, in no order. */
  readonly entries: Effect.Effect<ReadonlyArray<Entry>, RegistryUnavailable>
  /**
   * What is there, then every change. Fails when the watch breaks; the caller watches again and compares. Expiry is not a
   * change: the reader needs a clock.
   */
  readonly changes: Stream.Stream<Change, RegistryUnavailable>
}

export interface BucketOptions {
  /** Milliseconds after which a key that was not written again is gone. Default: never. */
  readonly ttlMs?: number
}

export class Registry extends Context.Service<
  Registry,
  {
    /** Opens a bucket, creating it when absent; `name` is an id. */
    readonly bucket: (name: string, options?: BucketOptions) => Effect.Effect<Bucket, RegistryUnavailable>
  }
>()("@ebb/actors/Registry") {}
