/**
 * The media of one room: what goes in (RTP producers), what goes out (RTP consumers), and what is captured for
 * recordings. It owns a mediasoup router and all that hangs on it, for the life of the scope it was opened in.
 * Ids are the caller's. A create that is sent twice with the same options returns what exists; a create goes on when its
 * caller is interrupted, so that the answer to a lost reply is to ask again.
 * It knows nothing of peers, admission or files.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type {
  EngineTimeout,
  MediaConflict,
  MediaRejected,
  PlainOnNetworkRefused,
  PortsExhausted,
  RoomMediaClosed,
  UnknownConsumer,
  UnknownProducer,
  WorkerDied
} from "../MediaError.ts"
import type { RtpCapabilities } from "../protocol/WebRtc.ts"
import type { WebRtc } from "./WebRtc.ts"

export type Kind = "audio" | "video"

/** Each with the one clock its RTP payload format allows: Opus 48000 Hz and 2 channels, video 90000 Hz. */
export type Codec = "opus" | "vp8" | "vp9" | "h264" | "av1"

/** A codec's fmtp, by name: `profile-level-id` and `packetization-mode` of H.264, `profile-id` of VP9, ... */
export type FormatParameters = Readonly<Record<string, string | number>>

export interface CodecParameters {
  readonly codec: Codec
  /** audio/opus, video/VP8, video/VP9, video/H264, video/AV1. */
  readonly mimeType: string
  readonly payloadType: number
  /** Hz. */
  readonly clockRate: number
  /** Absent for video. */
  readonly channels?: number
  /** Empty when the sender says nothing. */
  readonly parameters: FormatParameters
}

/** One encoding of a producer. SVC has one, with all its layers in one stream. */
export interface Layer {
  /** Absent until packets come, for a sender that names its streams by `rid` alone. */
  readonly ssrc?: number
  readonly rid?: string
  /** As the sender gives it: L1T3, L3T3_KEY, ... */
  readonly scalabilityMode?: string
}

/** The key of one direction, of the side that sends. */
export interface SrtpParameters {
  readonly cryptoSuite:
    | "AES_CM_128_HMAC_SHA1_80"
    | "AES_CM_128_HMAC_SHA1_32"
    | "AEAD_AES_128_GCM"
    | "AEAD_AES_256_GCM"
  /** Master key and salt, Base64. */
  readonly keyBase64: string
}

/** An address outside. `ip` is an address, never a host name; `rtcpPort` belongs there exactly when `rtcpMux` is false. */
export interface RtpAddress {
  readonly ip: string
  readonly port: number
  readonly rtcpPort?: number
}

export interface RtpProducerOptions {
  readonly producerId: string
  readonly kind: Kind
  readonly codec: Codec
  /** 0 to 127. */
  readonly payloadType: number
  /** 1 to 2^32 - 1. */
  readonly ssrc: number
  /** RTP and RTCP on one port. Default true; ffmpeg with SRTP wants false. */
  readonly rtcpMux?: boolean
  /** Where the packets come from. Default: whoever sends first, and from then on nobody else. */
  readonly remote?: RtpAddress
  /** The sender's key. Given: only SRTP is accepted. */
  readonly srtp?: SrtpParameters
  /** The codec's fmtp, over what is usual: VP9 profile 0; H.264 constrained baseline, packetization mode 1. */
  readonly parameters?: FormatParameters
  /** Whose it is. */
  readonly peerId?: string
  /** A free label: camera, screen, microphone, ... */
  readonly source?: string
}

/** Where to send to. */
export interface RtpProducer {
  readonly producerId: string
  readonly ip: string
  readonly port: number
  /** Present when `rtcpMux` is false. */
  readonly rtcpPort?: number
  /** The node's own key, for the RTCP that it sends back. */
  readonly srtp?: SrtpParameters
}

export interface RtpConsumerOptions extends RtpAddress {
  readonly consumerId: string
  readonly producerId: string
  /** Default true. */
  readonly rtcpMux?: boolean
  /** The receiver's key, for its RTCP. Given: the node sends SRTP, with the key it returns. */
  readonly srtp?: SrtpParameters
}

/** What will arrive, and where from. */
export interface RtpConsumer extends CodecParameters {
  readonly consumerId: string
  readonly producerId: string
  readonly kind: Kind
  readonly ssrc: number
  readonly sourceIp: string
  readonly sourcePort: number
  readonly sourceRtcpPort?: number
  readonly srtp?: SrtpParameters
}

export interface ProducerInfo extends CodecParameters {
  readonly producerId: string
  readonly kind: Kind
  /** The sender's, of its first encoding; 0 when it names its streams by `rid` alone. */
  readonly ssrc: number
  /** The sender's encodings, in its order. More than one: simulcast. */
  readonly layers: ReadonlyArray<Layer>
  readonly peerId?: string
  readonly source?: string
}

/** A sender of messages over a data channel. */
export interface DataProducerInfo {
  readonly producerId: string
  readonly kind: "data"
  /** As the sender labels it, possibly empty. */
  readonly label: string
  readonly protocol: string
  readonly peerId?: string
  readonly source?: string
}

export type AnyProducerInfo = ProducerInfo | DataProducerInfo

export interface ProducerReport extends ProducerInfo {
  /** RTP packets that reached the worker, all in all. */
  readonly packetsReceived: number
  /**
   * Milliseconds since the count was last seen to grow, or since the producer was added. Seen by this call and the ones
   * before it, so no finer than the caller's own interval.
   */
  readonly silentMs: number
  /** By its client: nothing of it is passed on or captured until it says otherwise. */
  readonly muted: boolean
}

export interface DataProducerReport extends DataProducerInfo {
  readonly messagesReceived: number
  readonly bytesReceived: number
}

export interface CaptureInfo extends ProducerInfo {
  /** The SSRCs that the sink sees, one per layer, in the order of the sender's encodings. They are mediasoup's, not the sender's. */
  readonly ssrcs: ReadonlyArray<number>
  /** The same, with what the sender says of each. */
  readonly layers: ReadonlyArray<Layer & { readonly ssrc: number }>
}

/** One RTCP sender report of the producer, as it was sent: RTP time `rtpTimestamp` was the sender's wall clock `ntpMs`. */
export interface SenderReport {
  /** One of `CaptureInfo.ssrcs`. */
  readonly ssrc: number
  /** The sender's NTP clock as Unix time in milliseconds, with a fraction. */
  readonly ntpMs: number
  readonly rtpTimestamp: number
  /** How long ago it came. Above 0 only for the last report before the capture began, which is given first. */
  readonly ageMs: number
}

/** Why a capture is over: its scope closed, the producer or its room closed, or the worker died. */
export type CaptureEnd = "capture" | "producer" | "worker"

/**
 * Takes a producer's packets. The calls are synchronous, in the order of arrival, and must not throw. A packet's memory
 * is its own: mediasoup copies each out of its channel, so that it may be kept.
 */
export interface CaptureSink {
  /** RTP timestamps are the sender's; sequence numbers are renumbered, with the sender's gaps. */
  rtp(packet: Uint8Array): void
  senderReport(report: SenderReport): void
  /** Once, after the last packet. */
  closed(end: CaptureEnd): void
}

/** One message of a data channel. */
export interface DataMessage {
  readonly payload: Uint8Array
  /** WebRTC's: 51 text, 53 binary, 56 empty text, 57 empty binary (RFC 8831). An empty message comes as one byte. */
  readonly ppid: number
}

/** Takes a data producer's messages. As with `CaptureSink`: synchronous, in order, and must not throw. */
export interface DataSink {
  message(message: DataMessage): void
  /** Once, after the last message. */
  closed(end: CaptureEnd): void
}

export interface ProducerWatcher {
  /** Run for each producer that is there, and for each later one before its address is given out. */
  readonly opened: (producer: AnyProducerInfo) => Effect.Effect<void>
  /** Run when it was closed, after its captures got their last packet. Not at the room's end: its captures' sinks hear of that. */
  readonly closed: (producer: AnyProducerInfo) => Effect.Effect<void>
}

/** What any call may fail with, whatever its options. */
export type RoomMediaError = WorkerDied | RoomMediaClosed | EngineTimeout

export interface RoomMedia {
  readonly roomId: string
  /** The worker process under the room. */
  readonly workerPid: number
  /** What a WebRTC client needs to know of the router. */
  readonly rtpCapabilities: RtpCapabilities
  readonly webRtc: WebRtc

  /** Opens a port for one sender. It lives until `closeProducer` or the room's end. */
  readonly addRtpProducer: (
    options: RtpProducerOptions
  ) => Effect.Effect<
    RtpProducer,
    RoomMediaError | MediaConflict | MediaRejected | PlainOnNetworkRefused | PortsExhausted
  >

  /** Sends a producer's packets to an address. Created paused and resumed at once, which asks the sender for a key frame. */
  readonly addRtpConsumer: (
    options: RtpConsumerOptions
  ) => Effect.Effect<
    RtpConsumer,
    RoomMediaError | MediaConflict | MediaRejected | PlainOnNetworkRefused | PortsExhausted | UnknownProducer
  >

  /** Its consumers close with it. */
  readonly closeProducer: (producerId: string) => Effect.Effect<void, RoomMediaError | UnknownProducer>
  readonly closeConsumer: (consumerId: string) => Effect.Effect<void, RoomMediaError | UnknownConsumer>

  /**
   * Gives every packet of a producer that reaches the node to a sink, until the scope closes. The capture is created
   * paused; `sink` may be an effect that makes the sink out of what will come (a manifest written first, say), and
   * packets flow when it is done, for video from the next key frame on, which is asked for. Packets out of order and packets
   * sent twice are given as they come. mediasoup keeps back those without a payload, and the first two after a jump of
   * more than 3000 in the sequence (RFC 3550, A.1).
   * Closing the scope waits for the packets that the worker has taken before.
   */
  readonly capture: <E = never, R = never>(
    producerId: string,
    sink: CaptureSink | ((info: CaptureInfo) => Effect.Effect<CaptureSink, E, R>)
  ) => Effect.Effect<CaptureInfo, E | RoomMediaError | UnknownProducer, R | Scope.Scope>

  /**
   * Gives every message of a data producer that reaches the node to a sink, until the scope closes: as `capture` does for packets.
   */
  readonly captureData: <E = never, R = never>(
    producerId: string,
    sink: DataSink | ((info: DataProducerInfo) => Effect.Effect<DataSink, E, R>)
  ) => Effect.Effect<DataProducerInfo, E | RoomMediaError | UnknownProducer, R | Scope.Scope>

  /** Asks the sender for a key frame of each layer. Nothing for audio. mediasoup sends at most one request in a second. */
  readonly requestKeyFrame: (producerId: string) => Effect.Effect<void, RoomMediaError | UnknownProducer>

  /**
   * Watches producers come and go until the scope closes. `opened` is awaited before the producer's address is given to
   * whoever adds it, up to `MediaEngineOptions.watcherTimeout`: a capture made there misses nothing.
   */
  readonly watchProducers: (watcher: ProducerWatcher) => Effect.Effect<void, never, Scope.Scope>

  readonly producers: Effect.Effect<ReadonlyArray<ProducerReport>, RoomMediaError>
  readonly dataProducers: Effect.Effect<ReadonlyArray<DataProducerReport>, RoomMediaError>
  readonly consumers: Effect.Effect<ReadonlyArray<RtpConsumer>>

  /** Completes when the worker under the room has died, and never otherwise. */
  readonly ended: Effect.Effect<WorkerDied>
}
