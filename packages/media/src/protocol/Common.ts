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

/** Safe to retry: the disk refuses. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  reason: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return this.reason
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
