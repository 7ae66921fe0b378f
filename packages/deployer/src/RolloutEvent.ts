/**
 * What happens in a rollout, as it is kept in the log and shown to people: the only durable truth of a rollout.
 *
 * Compatible change: a new optional field, a new reason of a failure, or a new tag. An event of an unknown tag is read as `undefined`: a
 * rollout that a later version has written to is refused, never guessed at.
 */
import { Id, literalOrUnknown, pack, unpack } from "@ebb/actors"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"

/** `evacuate`: end what is served, gently, and seal its recordings. `kill`: end the process, and recover its recordings from disk. */
export const ForceMode = Schema.Literals(["evacuate", "kill"])
export type ForceMode = typeof ForceMode.Type

/** One that is to be replaced. `cordoned`: by somebody else, before; it is left so should the rollout stop. */
export const OldInstance = Schema.Struct({
  instance: Id,
  version: Schema.String,
  cordoned: Schema.Boolean
})
export type OldInstance = typeof OldInstance.Type

/**
 * Why a rollout stopped.
 *
 * - `NotServing`       the new instance did not serve, or did so no longer; no old one was touched in this step
 * - `ProtocolGap`      the new instance and a node that serves are more than one version of the protocols apart; no old one was touched
 * - `NotAcknowledged`  the old node was told to drain and did not begin, or could not be asked
 * - `Ended`            the old instance ended otherwise than drained: crashed, killed, or with recordings left
 * - `RecordingsLeft`   it is gone, and these recordings have no receipt
 * - `Unknown`          a reason of a later version
 */
export const FailureReason = literalOrUnknown([
  "NotServing",
  "ProtocolGap",
  "NotAcknowledged",
  "Ended",
  "RecordingsLeft"
])

export const RolloutFailure = Schema.Struct({
  reason: FailureReason,
  instance: Id,
  /** What was seen, in words. */
  detail: Schema.String,
  recordings: Schema.Array(Id)
})
export type RolloutFailure = typeof RolloutFailure.Type

const step = Schema.Int

export const RolloutEvent = Schema.Union([
  Schema.TaggedStruct("RolloutStarted", {
    rollout: Id,
    to: Schema.String,
    old: Schema.Array(OldInstance)
  }),
  /** Another process goes on with it; whoever did so before may append no more. */
  Schema.TaggedStruct("DeployerAttached", {}),
  Schema.TaggedStruct("NodesCordoned", {}),
  Schema.TaggedStruct("StartIntended", { step, instance: Id }),
  Schema.TaggedStruct("InstanceServing", { step, instance: Id, incarnation: Id }),
  /** Before the signal. `recordings`: those that live on it. */
  Schema.TaggedStruct("DrainIntended", {
    step,
    instance: Id,
    rooms: Schema.Array(Id),
    recordings: Schema.Array(Id)
  }),
  /** Begun on it since. */
  Schema.TaggedStruct("RecordingsSeen", { step, recordings: Schema.Array(Id) }),
  /** Before the force; what it cuts. */
  Schema.TaggedStruct("ForceIntended", {
    step,
    instance: Id,
    mode: ForceMode,
    rooms: Schema.Array(Id),
    recordings: Schema.Array(Id)
  }),
  Schema.TaggedStruct("InstanceEnded", {
    step,
    instance: Id,
    /** Absent when nobody will ever know it. */
    code: Schema.optionalKey(Schema.Int),
    cause: Schema.optionalKey(Schema.String)
  }),
  /** Its journals were finished from disk. `empty`: of recordings that had not caught a packet. */
  Schema.TaggedStruct("RecordingsRecovered", {
    step,
    computed: Schema.Array(Id),
    empty: Schema.Array(Id),
    failed: Schema.Array(Id)
  }),
  Schema.TaggedStruct("StepFinished", { step, instance: Id, replacedBy: Id, recordings: Schema.Array(Id) }),
  Schema.TaggedStruct("RolloutFailed", { failure: RolloutFailure }),
  /** What was not replaced takes new rooms again as before. */
  Schema.TaggedStruct("RolloutStopped", {}),
  Schema.TaggedStruct("RolloutResumed", {}),
  Schema.TaggedStruct("RolloutCompleted", { replaced: Schema.Int })
])
export type RolloutEvent = typeof RolloutEvent.Type
export type RolloutEventOf<T extends RolloutEvent["_tag"]> = Extract<RolloutEvent, { readonly _tag: T }>

/** An event as it is in the log: by which deployer process, and when (epoch milliseconds). `nonce` tells one's own from another's. */
const Record = Schema.Struct({
  v: Schema.Literal(1),
  by: Id,
  nonce: Id,
  at: Schema.Number,
  event: RolloutEvent
})
export type RolloutRecord = typeof Record.Type

const encode = Schema.encodeSync(Record)
const decode = Schema.decodeUnknownExit(Record)

export const encodeRecord = (record: RolloutRecord): Uint8Array => pack(encode(record))

/** Undefined when a later version wrote it. */
export const decodeRecord = (bytes: Uint8Array): RolloutRecord | undefined => {
  const value = unpack(bytes)
  const record = Exit.isSuccess(value) ? decode(value.value) : undefined
  return record !== undefined && Exit.isSuccess(record) ? record.value : undefined
}
