/**
 * What a node says of itself in its lease: a MessagePack map under the node's id in the bucket `leases`. Only that node writes
 * it. Open for new fields: a reader of another version keeps what it does not know.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Id } from "./Address.ts"
import { literalOrUnknown, openRecord, recordCodec } from "./internal/record.ts"

/** Absent in what an older version wrote. */
const or = <S extends Schema.Constraint>(schema: S, value: S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** Everything but who it is: what a node publishes again whenever it changes. */
const body = {
  /** Protocol versions it speaks: least and most. */
  proto: or(Schema.Tuple([Schema.Int, Schema.Int]), [0, 0]),
  /** The release it runs, as the deployer names it. */
  version: or(Schema.String, ""),
  life: or(
    literalOrUnknown([
      "Starting",
      "Serving",
      "Draining",
      "Evacuating",
      "Sealing",
      "Drained",
      "Stopped",
      "Failed"
    ]),
    "Unknown"
  ),
  admission: or(literalOrUnknown(["open", "cordoned", "closed"]), "Unknown"),
  control: Schema.optionalKey(literalOrUnknown(["connected", "isolated"])),
  host: or(Schema.String, ""),
  pid: or(Count, 0),
  /** Wall-clock milliseconds at which the process started. */
  startedAt: or(Schema.Finite, 0),
  /** How many of each live there. For showing and for placing; never for deciding whether a drain is over. */
  rooms: or(Count, 0),
  recordings: or(Count, 0)
}

export const NodeLeaseBody = openRecord(body)
export type NodeLeaseBody = typeof NodeLeaseBody.Type

export const NodeLease = openRecord({
  v: Schema.Int,
  node: Id,
  /** The incarnation that holds the lease. */
  inc: Id,
  ...body
})
export type NodeLease = typeof NodeLease.Type

export const { encode: encodeNodeLease, decode: decodeNodeLease } = recordCodec(NodeLease)

/**
 * The times all parties of one cluster must agree on; a bucket that was made with another TTL is refused. Milliseconds.
 *
 * A lease lives `ttlMs` from its last renewal, on the server's clock. Its holder stops acting `marginMs` before that, counted
 * from when it *sent* the renewal, and an observer calls it dead `marginMs` after: so an effect may take `marginMs`, and
 * clocks may drift by that much in `ttlMs`, before two could act for one.
 */
export interface LeaseTimes {
  readonly ttlMs: number
  readonly renewMs: number
  readonly marginMs: number
}

export const leaseTimes: LeaseTimes = { ttlMs: 15_000, renewMs: 4_000, marginMs: 3_000 }

/** Replaced only where real time is to be saved: in tests on a real server. */
export const LeaseTimes = Context.Reference<LeaseTimes>("@ebb/actors/LeaseTimes", {
  defaultValue: () => leaseTimes
})

export const leaseBucket = "leases"
