/**
 * The way in for browsers: what a WebRTC client is told and tells, in the shapes of mediasoup and mediasoup-client, so that a
 * client's library takes the answers as they are. What is asked is closed and bounded; words in answers are open, because a
 * later version may know another.
 */
import { Id } from "@ebb/actors"
import * as Schema from "effect/Schema"
import { FormatParameters, MediaKind, Source } from "./Media.ts"

const text = (most: number) => Schema.String.check(Schema.isMaxLength(most))
const uint = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const ssrc = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 0xffff_ffff }))
const atMost = <S extends Schema.Constraint>(item: S, most: number) =>
  Schema.Array(item).check(Schema.isMaxLength(most))

/** A JWT of the room and the peer, as `ebb token` makes it: such has less than 400 characters. */
export const Token = text(4096)
export const bearer = { token: Token }

/** What a token may let its peer send. */
export const grants = ["audio", "video", "data"] as const
export type Grant = (typeof grants)[number]

// ---- asked ----

export const DtlsParameters = Schema.Struct({
  role: Schema.optionalKey(Schema.Literals(["auto", "client", "server"])),
  fingerprints: atMost(
    Schema.Struct({
      algorithm: Schema.Literals(["sha-1", "sha-224", "sha-256", "sha-384", "sha-512"]),
      value: text(256)
    }),
    8
  )
})
export type DtlsParameters = typeof DtlsParameters.Type

const Feedback = Schema.Struct({ type: text(64), parameter: Schema.optionalKey(text(64)) })

/** What mediasoup reads of a sender's RTP parameters. The rest of what mediasoup-client says is passed over. */
export const RtpParameters = Schema.Struct({
  mid: Schema.optionalKey(text(256)),
  msid: Schema.optionalKey(text(256)),
  codecs: atMost(
    Schema.Struct({
      mimeType: text(64),
      payloadType: uint(127),
      clockRate: uint(0xffff_ffff),
      channels: Schema.optionalKey(uint(255)),
      parameters: Schema.optionalKey(FormatParameters),
      rtcpFeedback: Schema.optionalKey(atMost(Feedback, 32))
    }),
    32
  ),
  headerExtensions: Schema.optionalKey(
    atMost(
      Schema.Struct({
        uri: text(256),
        id: uint(255),
        encrypt: Schema.optionalKey(Schema.Boolean),
        parameters: Schema.optionalKey(FormatParameters)
      }),
      32
    )
  ),
  /** One for each stream: more than one is simulcast. */
  encodings: Schema.optionalKey(
    atMost(
      Schema.Struct({
        ssrc: Schema.optionalKey(ssrc),
        rid: Schema.optionalKey(text(64)),
        codecPayloadType: Schema.optionalKey(uint(127)),
        rtx: Schema.optionalKey(Schema.Struct({ ssrc })),
        dtx: Schema.optionalKey(Schema.Boolean),
        scalabilityMode: Schema.optionalKey(text(64)),
        maxBitrate: Schema.optionalKey(uint(0xffff_ffff))
      }),
      8
    )
  ),
  rtcp: Schema.optionalKey(
    Schema.Struct({
      cname: Schema.optionalKey(text(256)),
      reducedSize: Schema.optionalKey(Schema.Boolean),
      mux: Schema.optionalKey(Schema.Boolean)
    })
  )
})
export type RtpParameters = typeof RtpParameters.Type

export const SctpStreamParameters = Schema.Struct({
  streamId: uint(65_535),
  ordered: Schema.optionalKey(Schema.Boolean),
  /** Milliseconds. */
  maxPacketLifeTime: Schema.optionalKey(uint(0xffff_ffff)),
  maxRetransmits: Schema.optionalKey(uint(0xffff_ffff))
})
export type SctpStreamParameters = typeof SctpStreamParameters.Type

export const OpenTransport = Schema.Struct({
  transportId: Id,
  /** With an SCTP association for data channels. Default true. */
  data: Schema.optionalKey(Schema.Boolean)
})

export const ConnectTransport = Schema.Struct({ transportId: Id, dtlsParameters: DtlsParameters })

export const Produce = Schema.Struct({
  transportId: Id,
  producerId: Id,
  kind: MediaKind,
  rtpParameters: RtpParameters,
  source: Schema.optionalKey(Source),
  /** Begin muted. Default false. */
  muted: Schema.optionalKey(Schema.Boolean)
})

export const ProduceData = Schema.Struct({
  transportId: Id,
  producerId: Id,
  sctpStreamParameters: SctpStreamParameters,
  label: Schema.optionalKey(text(256)),
  protocol: Schema.optionalKey(text(256)),
  source: Schema.optionalKey(Source)
})

// ---- answered ----

const FormatAnswer = Schema.Record(Schema.String, Schema.Union([Schema.Number, Schema.String]))
const FeedbackAnswer = Schema.Struct({ type: Schema.String, parameter: Schema.optionalKey(Schema.String) })

/** What a room's router takes, for mediasoup-client's `device.load({ routerRtpCapabilities })`. */
export const RtpCapabilities = Schema.Struct({
  codecs: Schema.Array(
    Schema.Struct({
      kind: Schema.String,
      mimeType: Schema.String,
      clockRate: Schema.Number,
      preferredPayloadType: Schema.optionalKey(Schema.Number),
      channels: Schema.optionalKey(Schema.Number),
      parameters: Schema.optionalKey(FormatAnswer),
      rtcpFeedback: Schema.optionalKey(Schema.Array(FeedbackAnswer))
    })
  ),
  headerExtensions: Schema.Array(
    Schema.Struct({
      kind: Schema.String,
      uri: Schema.String,
      preferredId: Schema.Number,
      preferredEncrypt: Schema.optionalKey(Schema.Boolean),
      direction: Schema.optionalKey(Schema.String)
    })
  )
})
export type RtpCapabilities = typeof RtpCapabilities.Type

export const IceParameters = Schema.Struct({
  usernameFragment: Schema.String,
  password: Schema.String,
  iceLite: Schema.optionalKey(Schema.Boolean)
})
export type IceParameters = typeof IceParameters.Type

/** What mediasoup-client's `device.createSendTransport({ id: transportId, … })` wants. */
export const WebRtcTransport = Schema.Struct({
  transportId: Id,
  iceParameters: IceParameters,
  iceCandidates: Schema.Array(
    Schema.Struct({
      foundation: Schema.String,
      priority: Schema.Number,
      ip: Schema.String,
      address: Schema.String,
      protocol: Schema.String,
      port: Schema.Number,
      type: Schema.String,
      tcpType: Schema.optionalKey(Schema.String)
    })
  ),
  dtlsParameters: Schema.Struct({
    role: Schema.optionalKey(Schema.String),
    fingerprints: Schema.Array(Schema.Struct({ algorithm: Schema.String, value: Schema.String }))
  }),
  /** Absent without data. Bytes where it says size. */
  sctpParameters: Schema.optionalKey(
    Schema.Struct({
      port: Schema.Number,
      OS: Schema.Number,
      MIS: Schema.Number,
      maxMessageSize: Schema.Number,
      maxSendMessageSize: Schema.Number,
      maxReceiveMessageSize: Schema.Number,
      sendBufferSize: Schema.Number,
      perStreamSendQueueLimit: Schema.Number,
      maxReceiverWindowBufferSize: Schema.Number,
      isDataChannel: Schema.Boolean
    })
  )
})
export type WebRtcTransport = typeof WebRtcTransport.Type

export const Produced = Schema.Struct({ producerId: Id })

/** As `room.get` tells of it. */
export const TransportInfo = Schema.Struct({
  transportId: Id,
  peerId: Schema.String,
  /** new, connected, completed, disconnected. A client that is gone without a word is `disconnected` after 30 s. */
  ice: Schema.String,
  /** new, connecting, connected. */
  dtls: Schema.String
})
