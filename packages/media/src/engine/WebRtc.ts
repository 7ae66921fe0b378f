/**
 * The WebRTC side of a room's media: transports on the worker's one `WebRtcServer`, and what browsers send over them. A
 * transport belongs to the peer that it was opened for; whoever asks names a peer, and somebody else's is `ForeignPeer`.
 * Whether the asker is that peer is not decided here. As with all of a room: ids are the caller's, creates are idempotent.
 */
import type * as Effect from "effect/Effect"
import type {
  ForeignPeer,
  MediaConflict,
  MediaRejected,
  PortsExhausted,
  UnknownProducer,
  UnknownTransport,
  WebRtcOff
} from "../MediaError.ts"
import type {
  DtlsParameters,
  IceParameters,
  RtpParameters,
  SctpStreamParameters,
  WebRtcTransport
} from "../protocol/WebRtc.ts"
import type { Kind, RoomMediaError } from "./RoomMedia.ts"

export interface TransportOptions {
  readonly transportId: string
  readonly peerId: string
  /** With data channels. Default true. */
  readonly data?: boolean
}

interface OnTransport {
  readonly peerId: string
  readonly transportId: string
}

interface OfPeer {
  readonly peerId: string
  readonly producerId: string
}

export interface ProduceOptions extends OnTransport, OfPeer {
  readonly kind: Kind
  /** As the client's library gives them: with several encodings for simulcast, or one with a `scalabilityMode` for SVC. */
  readonly rtpParameters: RtpParameters
  readonly source?: string
  readonly muted?: boolean
}

export interface ProduceDataOptions extends OnTransport, OfPeer {
  readonly sctpStreamParameters: SctpStreamParameters
  readonly label?: string
  readonly protocol?: string
  readonly source?: string
}

export interface TransportReport extends OnTransport {
  /** mediasoup's words: new, connected, completed, disconnected. */
  readonly ice: string
  readonly dtls: string
}

type OwnError = RoomMediaError | ForeignPeer
type CreateError = OwnError | MediaConflict | MediaRejected | PortsExhausted

export interface WebRtc {
  /** It lives until it is closed, from either side, or the room ends. */
  readonly open: (options: TransportOptions) => Effect.Effect<WebRtcTransport, CreateError | WebRtcOff>
  /** The same again is no error. */
  readonly connect: (
    options: OnTransport & { readonly dtlsParameters: DtlsParameters }
  ) => Effect.Effect<void, CreateError | UnknownTransport>
  readonly produce: (
    options: ProduceOptions
  ) => Effect.Effect<{ readonly producerId: string }, CreateError | UnknownTransport>
  /** Over a data channel that the client opened. */
  readonly produceData: (
    options: ProduceDataOptions
  ) => Effect.Effect<{ readonly producerId: string }, CreateError | UnknownTransport>
  /** What the client gives to its own side next. Each call makes new ones; media flows on over the old path meanwhile. */
  readonly restartIce: (
    options: OnTransport
  ) => Effect.Effect<IceParameters, OwnError | MediaRejected | PortsExhausted | UnknownTransport>
  /** Its producers close with it. */
  readonly close: (options: OnTransport) => Effect.Effect<void, OwnError | UnknownTransport>
  readonly closeProducer: (options: OfPeer) => Effect.Effect<void, OwnError | UnknownProducer>
  /** A muted producer lives on; nothing of it is passed on or captured. Nothing for data. */
  readonly mute: (
    options: OfPeer & { readonly muted: boolean }
  ) => Effect.Effect<void, OwnError | MediaRejected | PortsExhausted | UnknownProducer>
  readonly transports: Effect.Effect<ReadonlyArray<TransportReport>>
}
