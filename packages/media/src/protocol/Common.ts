/** Shapes and refusals that more than one protocol of the media package uses. */
import { Id, NodeDraining, NodeIsolated, RegistryUnavailable } from "@ebb/actors"
import * as Schema from "effect/Schema"

/** Never retry as it is: something of that id exists with other options. */
export class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {
  entity: Schema.String,
  id: Schema.String,
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.entity} '${this.id}' exists already: ${this.problem}`
  }
}

/** Never retry: no live node has it. `problem` says whether it was never there or its node is dead. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {
  entity: Schema.String,
  id: Schema.String,
  problem: Schema.optionalKey(Schema.String)
}) {
  readonly retry = "never"
  override get message() {
    return `no ${this.entity} '${this.id}'${this.problem === undefined ? "" : `: ${this.problem}`}`
  }
}

/** Safe to retry with a look-up: another process owns the name. */
export class Elsewhere extends Schema.TaggedError<Elsewhere>()("Elsewhere", { nodeId: Id, incarnation: Id }) {
  readonly retry = "safe"
  override get message() {
    return `it lives on node '${this.nodeId}'`
  }
}

/** Never retry as it is: the media layer refuses; `reason` says what to give instead. */
export class MediaRefused extends Schema.TaggedError<MediaRefused>()("MediaRefused", {
  code: Schema.String,
  reason: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return this.reason
  }
}

/** Safe to retry: the media layer cannot now (no worker, no port, no answer in time); another node may. */
export class MediaUnavailable extends Schema.TaggedError<MediaUnavailable>()("MediaUnavailable", {
  code: Schema.String,
  reason: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return this.reason
  }
}

/** Safe to retry: the disk refuses, or has too little left for the recordings that run and another one: then it says how much. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  reason: Schema.String,
  freeBytes: Schema.optionalKey(Schema.Number),
  wantedBytes: Schema.optionalKey(Schema.Number)
}) {
  readonly retry = "safe"
  override get message() {
    return this.reason
  }
}

/**
 * - `malformed`  it is no JWT, or a claim of it is missing
 * - `signature`  none of the node's keys signed it
 * - `expired`, `early`  its time is over, or has not come
 * - `room`       it is of another room
 * - `peer`       what it is used for belongs to another peer
 * - `grant`      it does not let its peer send that
 */
export type TokenRefusal = "malformed" | "signature" | "expired" | "early" | "room" | "peer" | "grant"

/** Never retry with this token. */
export class TokenRefused extends Schema.TaggedError<TokenRefused>()("TokenRefused", {
  /** Open: a later version may know another. See `TokenRefusal`. */
  reason: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the token is refused: ${refusals[this.reason] ?? this.reason}`
  }
}
const refusals: Readonly<Record<string, string>> = {
  malformed: "it is no JWT with room, sub, can and exp",
  signature: "no key of this node signed it",
  expired: "its time is over",
  early: "its time has not come",
  room: "it is of another room",
  peer: "what it is used for belongs to another peer",
  grant: "it does not let its peer send that"
} satisfies Record<TokenRefusal, string>

/** Never retry here before it was given one: the room's node has no key to check tokens by. */
export class NoTokenKey extends Schema.TaggedError<NoTokenKey>()("NoTokenKey", {}) {
  readonly retry = "never"
  override get message() {
    return "the room's node lets nobody in by WebRTC: start it with EBB_TOKEN_SECRET, or EBB_TOKEN_KEYS naming a file of keys"
  }
}

/** What claiming a name in the cluster may fail with. */
export const ClaimError = Schema.Union([Elsewhere, NodeIsolated, RegistryUnavailable])

/** What taking something new onto a node may fail with. */
export const AdmissionError = Schema.Union([NodeDraining, ...ClaimError.members, Conflict, MediaUnavailable])

/** A person's words about why: kept in states, journals and reports, which have to fit into one answer. */
export const Reason = Schema.String.check(Schema.isMaxLength(1024))

/** Milliseconds since 1970, wall clock. */
export const WallMs = Schema.Number
/** Milliseconds. */
export const Millis = Schema.Number
