/**
 * The control commands: what a backend in any language sends to `ebb.v1.<cluster>.ctl.<command>`. docs/control-api.md is their
 * reference for people without this file.
 *
 * Request: the payload itself, a MessagePack map. Reply: `{ok: …}` or `{error: {_tag, message, retry, …}}`. Every command that creates takes
 * the caller's id and is idempotent by it, so that one whose outcome is unknown is simply sent again, to any node.
 */
import {
  ActorCrashed,
  AskTimeout,
  DrainDeadlines,
  Id,
  MailboxFull,
  MalformedMessage,
  message,
  NodeDraining,
  NodeIsolated,
  NodeUnreachable,
  NoSuchActor,
  protocol,
  RegistryUnavailable,
  StaleEpoch,
  UndrainRefused,
  UnsupportedMessage
} from "@ebb/actors"
import type { Messages } from "@ebb/actors"
import * as Schema from "effect/Schema"
import {
  Conflict,
  Elsewhere,
  MediaRefused,
  MediaUnavailable,
  Millis,
  NotFound,
  NoTokenKey,
  Reason,
  StorageUnavailable,
  TokenRefused,
  WallMs
} from "./Common.ts"
import { NodeReport, OpenedRoom } from "./Node.ts"
import { PauseCause, RecordingInfo, RecordingOptions } from "./Recording.ts"
import { AddConsumer, AddProducer, Consumer, Producer, RoomInfo, RoomOptions } from "./Room.ts"
import {
  bearer,
  ConnectTransport,
  IceParameters,
  OpenTransport,
  Produce,
  Produced,
  ProduceData,
  RtpCapabilities,
  WebRtcTransport
} from "./WebRtc.ts"

/** Safe to retry: no live node takes a new room now. `nodes` says how each stands. */
export class NoNodeAdmits extends Schema.TaggedError<NoNodeAdmits>()("NoNodeAdmits", {
  nodes: Schema.Array(Schema.Struct({ nodeId: Id, life: Schema.String, admission: Schema.String }))
}) {
  readonly retry = "safe"
  override get message() {
    const nodes = this.nodes
      .map(({ admission, life, nodeId }) => `${nodeId} is ${life}, ${admission}`)
      .join("; ")
    return `no node takes a new room: ${nodes === "" ? "no node is alive" : nodes}`
  }
}

/** Never retry as it is: the answer does not fit into a frame. Ask for a smaller page. */
export class AnswerTooLarge extends Schema.TaggedError<AnswerTooLarge>()("AnswerTooLarge", {
  bytes: Schema.Int,
  maxBytes: Schema.Int
}) {
  readonly retry = "never"
  override get message() {
    return `the answer has ${this.bytes} bytes, and ${this.maxBytes} can be sent`
  }
}

/** Everything a control command can fail with. */
export const ControlError = Schema.Union([
  // Not executed, safe to retry.
  NoNodeAdmits,
  NodeDraining,
  NodeIsolated,
  NodeUnreachable,
  NoSuchActor,
  MailboxFull,
  StaleEpoch,
  Elsewhere,
  MediaUnavailable,
  StorageUnavailable,
  // Not executed, never to be retried as it is.
  MalformedMessage,
  UnsupportedMessage,
  Conflict,
  NotFound,
  MediaRefused,
  UndrainRefused,
  AnswerTooLarge,
  TokenRefused,
  NoTokenKey,
  // Outcome unknown: creates may be sent again, because they are idempotent by their id.
  AskTimeout,
  ActorCrashed,
  RegistryUnavailable
])
export type ControlError = typeof ControlError.Type

/** One line of `node.list`: what the node's lease says. */
export const NodeSummary = Schema.Struct({
  nodeId: Id,
  incarnation: Id,
  version: Schema.String,
  life: Schema.String,
  admission: Schema.String,
  control: Schema.String,
  host: Schema.String,
  pid: Schema.Number,
  startedAt: WallMs,
  rooms: Schema.Number,
  recordings: Schema.Number,
  /** Since the node that answers has seen the lease renewed. Absent in what an older version says. */
  lastHeardMs: Schema.optionalKey(Millis)
})
export type NodeSummary = typeof NodeSummary.Type

/** One line of `room.list`. `lost`: its node is dead, and nobody has created it again. */
export const RoomSummary = Schema.Struct({ roomId: Id, nodeId: Id, lost: Schema.Boolean })
export type RoomSummary = typeof RoomSummary.Type

const room = { roomId: Id }
const recording = { recordingId: Id }
const node = { nodeId: Id }
const cause = {
  /** Who asks, and why: kept in the node's state. */
  by: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(256))),
  reason: Schema.optionalKey(Reason)
}
/** Lists come in pages, by id. */
const page = {
  /** The `next` of the page before; absent for the first page. */
  after: Schema.optionalKey(Id),
  /** At most so many. Default 500. */
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
}
/** Present when there is more. */
const next = { next: Schema.optionalKey(Id) }
const error = ControlError

export const ControlProtocol = protocol(
  message("room.create", {
    payload: {
      ...room,
      options: Schema.optionalKey(RoomOptions),
      /** `strict` (default): when every node drains, refuse. `prefer`: then take one that drains and does not evacuate. */
      admission: Schema.optionalKey(Schema.Literals(["strict", "prefer"]))
    },
    success: OpenedRoom,
    error
  }),
  message("room.get", { payload: room, success: RoomInfo, error }),
  message("room.list", {
    payload: page,
    success: Schema.Struct({ rooms: Schema.Array(RoomSummary), ...next }),
    error
  }),
  message("room.close", { payload: { ...room, reason: Schema.optionalKey(Reason) }, error }),
  message("producer.add", { payload: { ...room, ...AddProducer.fields }, success: Producer, error }),
  message("producer.close", { payload: { ...room, producerId: Id }, error }),
  message("consumer.add", { payload: { ...room, ...AddConsumer.fields }, success: Consumer, error }),
  message("consumer.close", { payload: { ...room, consumerId: Id }, error }),
  message("room.capabilities", {
    payload: room,
    success: Schema.Struct({ rtpCapabilities: RtpCapabilities }),
    error
  }),
  message("webrtc.open", {
    payload: { ...room, ...bearer, ...OpenTransport.fields },
    success: WebRtcTransport,
    error
  }),
  message("webrtc.connect", { payload: { ...room, ...bearer, ...ConnectTransport.fields }, error }),
  message("webrtc.restartIce", {
    payload: { ...room, ...bearer, transportId: Id },
    success: Schema.Struct({ iceParameters: IceParameters }),
    error
  }),
  message("webrtc.close", { payload: { ...room, ...bearer, transportId: Id }, error }),
  message("webrtc.produce", {
    payload: { ...room, ...bearer, ...Produce.fields },
    success: Produced,
    error
  }),
  message("webrtc.produceData", {
    payload: { ...room, ...bearer, ...ProduceData.fields },
    success: Produced,
    error
  }),
  message("webrtc.mute", {
    payload: { ...room, ...bearer, producerId: Id, muted: Schema.Boolean },
    error
  }),
  message("webrtc.closeProducer", { payload: { ...room, ...bearer, producerId: Id }, error }),
  message("recording.start", {
    payload: { ...recording, ...room, options: Schema.optionalKey(RecordingOptions) },
    success: Schema.Struct({ created: Schema.Boolean, recording: RecordingInfo }),
    error
  }),
  message("recording.pause", { payload: { ...recording, ...PauseCause }, success: RecordingInfo, error }),
  message("recording.resume", { payload: { ...recording, ...PauseCause }, success: RecordingInfo, error }),
  message("recording.stop", {
    payload: { ...recording, reason: Schema.optionalKey(Reason) },
    success: RecordingInfo,
    error
  }),
  message("recording.get", { payload: recording, success: RecordingInfo, error }),
  /** Its result, its receipt and its journals go, on every live node. Who, when and why stays. Done again, it goes on where it was. */
  message("recording.delete", {
    payload: { ...recording, by: cause.by, reason: Reason.check(Schema.isMinLength(1)) },
    success: Schema.Struct({
      recording: RecordingInfo,
      /** How many were removed by this command. */
      journals: Schema.Number,
      /** Nodes that could not do their part now, and why: they do it at their next start, or when it is done again. */
      left: Schema.Array(Schema.Struct({ nodeId: Id, problem: Schema.String }))
    }),
    error
  }),
  message("recording.list", {
    payload: {
      ...page,
      /** True: those that were deleted, and no others. Default: no deleted ones. */
      deleted: Schema.optionalKey(Schema.Boolean)
    },
    success: Schema.Struct({ recordings: Schema.Array(RecordingInfo), ...next }),
    error
  }),
  message("node.list", { success: Schema.Struct({ nodes: Schema.Array(NodeSummary) }), error }),
  message("node.status", { payload: node, success: NodeReport, error }),
  message("node.cordon", {
    payload: { ...node, ...cause },
    success: Schema.Struct({ changed: Schema.Boolean }),
    error
  }),
  message("node.uncordon", {
    payload: { ...node, ...cause },
    success: Schema.Struct({ changed: Schema.Boolean }),
    error
  }),
  message("node.drain", {
    payload: {
      ...node,
      ...cause,
      /** End what is served now, gently, instead of waiting for it. Default false. */
      evacuate: Schema.optionalKey(Schema.Boolean),
      deadlines: Schema.optionalKey(DrainDeadlines)
    },
    error
  }),
  message("node.undrain", { payload: { ...node, ...cause }, error })
)
export type ControlMessage = Messages<typeof ControlProtocol>
