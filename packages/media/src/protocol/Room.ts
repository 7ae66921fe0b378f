/** The messages of a room. A room's id never names its node: it is looked up, and may move one day. */
import { Id, message, protocol } from "@ebb/actors"
import type { Messages } from "@ebb/actors"
import * as Schema from "effect/Schema"
import {
  Conflict,
  MediaRefused,
  MediaUnavailable,
  Millis,
  NotFound,
  NoTokenKey,
  Reason,
  TokenRefused
} from "./Common.ts"
import { FormatParameters, MediaKind, Source } from "./Media.ts"
import {
  bearer,
  ConnectTransport,
  IceParameters,
  OpenTransport,
  Produce,
  Produced,
  ProduceData,
  RtpCapabilities,
  TransportInfo,
  WebRtcTransport
} from "./WebRtc.ts"

/** What a room is created with. The same id with other options is a `Conflict`. */
export const RoomOptions = Schema.Struct({
  /** The caller's own words about the room, given back as they are. At most 1024 characters. */
  metadata: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(1024)))
})
export type RoomOptions = typeof RoomOptions.Type

const Port = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))
const Ip = Schema.String.check(
  Schema.isPattern(/^[0-9a-fA-F.:]{2,45}$/, { message: "an IPv4 or IPv6 address, not a host name" })
)

/** Opus is 48000 Hz with two channels, video 90000 Hz: the clocks that their RTP formats allow. */
export const MediaCodec = Schema.Literals(["opus", "vp8", "vp9", "h264", "av1"])

/** The key of one direction: `keyBase64` is master key and salt. */
export const Srtp = Schema.Struct({
  cryptoSuite: Schema.Literals([
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM"
  ]),
  keyBase64: Schema.String.check(Schema.isMaxLength(128))
})

/** The same in an answer: words are open there, because a later version may know another. */
const SrtpAnswer = Schema.Struct({ cryptoSuite: Schema.String, keyBase64: Schema.String })

const FormatAnswer = Schema.Record(Schema.String, Schema.Union([Schema.Number, Schema.String]))
const LayerAnswer = Schema.Struct({
  ssrc: Schema.optionalKey(Schema.Number),
  rid: Schema.optionalKey(Schema.String),
  scalabilityMode: Schema.optionalKey(Schema.String)
})

/** A sender of RTP: one stream of one codec, from the address that is named, or else from wherever the first packet comes. */
export const AddProducer = Schema.Struct({
  producerId: Id,
  kind: MediaKind,
  codec: MediaCodec,
  payloadType: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 127 })),
  ssrc: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 0xffff_ffff })),
  /** RTCP on the same port as RTP. Default true. */
  rtcpMux: Schema.optionalKey(Schema.Boolean),
  /** Where it sends from: then nobody else is heard. An older version ignores all three. */
  ip: Schema.optionalKey(Ip),
  port: Schema.optionalKey(Port),
  /** Exactly when `rtcpMux` is false and there is an `ip`. */
  rtcpPort: Schema.optionalKey(Port),
  /** The sender's key, when it sends SRTP. */
  srtp: Schema.optionalKey(Srtp),
  /** Over what is usual: VP9 `profile-id` 0; H.264 `profile-level-id` 42e01f, `packetization-mode` 1. */
  parameters: Schema.optionalKey(FormatParameters),
  /** Whose it is. */
  peerId: Schema.optionalKey(Id),
  source: Schema.optionalKey(Source)
})

/** Where to send the RTP to. */
export const Producer = Schema.Struct({
  producerId: Id,
  ip: Schema.String,
  port: Port,
  rtcpPort: Schema.optionalKey(Port),
  srtp: Schema.optionalKey(SrtpAnswer)
})

/** A receiver of one producer's RTP, at an address of its own. */
export const AddConsumer = Schema.Struct({
  consumerId: Id,
  producerId: Id,
  ip: Ip,
  port: Port,
  /** Exactly when `rtcpMux` is false. */
  rtcpPort: Schema.optionalKey(Port),
  rtcpMux: Schema.optionalKey(Schema.Boolean),
  srtp: Schema.optionalKey(Srtp)
})

/** What will arrive at the receiver, and where from. */
export const Consumer = Schema.Struct({
  consumerId: Id,
  producerId: Id,
  kind: Schema.String,
  codec: Schema.String,
  payloadType: Schema.Int,
  clockRate: Schema.Int,
  ssrc: Schema.Number,
  sourceIp: Schema.String,
  sourcePort: Port,
  sourceRtcpPort: Schema.optionalKey(Port),
  srtp: Schema.optionalKey(SrtpAnswer),
  /** Absent in what an older version says, as `parameters`. */
  mimeType: Schema.optionalKey(Schema.String),
  parameters: Schema.optionalKey(FormatAnswer)
})

export const ProducerInfo = Schema.Struct({
  producerId: Id,
  kind: Schema.String,
  codec: Schema.String,
  ssrc: Schema.Number,
  /** RTP packets that reached the node. */
  packetsReceived: Schema.Number,
  /** Milliseconds since a packet was last seen to come. */
  silentMs: Millis,
  /** Absent in what an older version says, as what follows. */
  mimeType: Schema.optionalKey(Schema.String),
  parameters: Schema.optionalKey(FormatAnswer),
  /** The sender's encodings, in its order. More than one: simulcast. */
  layers: Schema.optionalKey(Schema.Array(LayerAnswer)),
  /** Where it is known whose it is. */
  peerId: Schema.optionalKey(Schema.String),
  source: Schema.optionalKey(Schema.String),
  /** By its client: nothing of it is passed on or recorded until it says otherwise. */
  muted: Schema.optionalKey(Schema.Boolean)
})

/** A sender of messages over a data channel. */
export const DataProducerInfo = Schema.Struct({
  producerId: Id,
  label: Schema.String,
  protocol: Schema.String,
  peerId: Schema.optionalKey(Schema.String),
  source: Schema.optionalKey(Schema.String),
  messagesReceived: Schema.Number,
  bytesReceived: Schema.Number
})

export const RoomInfo = Schema.Struct({
  roomId: Id,
  nodeId: Id,
  options: RoomOptions,
  ageMs: Millis,
  producers: Schema.Array(ProducerInfo),
  consumers: Schema.Array(Schema.Struct({ consumerId: Id, producerId: Id })),
  /** Absent in what an older version says, as `transports`. */
  dataProducers: Schema.optionalKey(Schema.Array(DataProducerInfo)),
  /** Of WebRTC. */
  transports: Schema.optionalKey(Schema.Array(TransportInfo))
})
export type RoomInfo = typeof RoomInfo.Type

const mediaErrors = [MediaRefused, MediaUnavailable] as const
const bearerErrors = Schema.Union([TokenRefused, NoTokenKey, NotFound, ...mediaErrors])
const createErrors = Schema.Union([Conflict, ...bearerErrors.members])

export const RoomProtocol = protocol(
  message("Get", { success: RoomInfo, error: Schema.Union(mediaErrors) }),
  message("AddProducer", {
    payload: AddProducer,
    success: Producer,
    error: Schema.Union([Conflict, ...mediaErrors])
  }),
  message("CloseProducer", {
    payload: { producerId: Id },
    error: Schema.Union([NotFound, ...mediaErrors])
  }),
  message("AddConsumer", {
    payload: AddConsumer,
    success: Consumer,
    error: Schema.Union([Conflict, NotFound, ...mediaErrors])
  }),
  message("CloseConsumer", {
    payload: { consumerId: Id },
    error: Schema.Union([NotFound, ...mediaErrors])
  }),
  /** What a WebRTC client needs to know before it can offer anything. */
  message("Capabilities", {
    success: Schema.Struct({ rtpCapabilities: RtpCapabilities }),
    error: Schema.Union(mediaErrors)
  }),
  /** The way in for browsers. Each carries its peer's token, and reaches only what is that peer's. */
  message("OpenTransport", {
    payload: { ...bearer, ...OpenTransport.fields },
    success: WebRtcTransport,
    error: createErrors
  }),
  message("ConnectTransport", { payload: { ...bearer, ...ConnectTransport.fields }, error: createErrors }),
  message("RestartIce", {
    payload: { ...bearer, transportId: Id },
    success: Schema.Struct({ iceParameters: IceParameters }),
    error: bearerErrors
  }),
  message("CloseTransport", { payload: { ...bearer, transportId: Id }, error: bearerErrors }),
  message("Produce", { payload: { ...bearer, ...Produce.fields }, success: Produced, error: createErrors }),
  message("ProduceData", {
    payload: { ...bearer, ...ProduceData.fields },
    success: Produced,
    error: createErrors
  }),
  message("Mute", { payload: { ...bearer, producerId: Id, muted: Schema.Boolean }, error: bearerErrors }),
  message("EndProducer", { payload: { ...bearer, producerId: Id }, error: bearerErrors }),
  /** Ends the room. Its recordings go on to be sealed and computed. */
  message("Close", { payload: { reason: Reason } })
)
export type RoomMessage = Messages<typeof RoomProtocol>

export const roomKind = "room"
