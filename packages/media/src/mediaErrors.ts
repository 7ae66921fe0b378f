/** The engine's errors as a room's protocol says them: what to give instead, or that it may be tried again. */
import * as Effect from "effect/Effect"
import type {
  EngineTimeout,
  ForeignPeer,
  MediaConflict,
  MediaRejected,
  PlainOnNetworkRefused,
  PortsExhausted,
  RoomMediaClosed,
  UnknownConsumer,
  UnknownProducer,
  UnknownTransport,
  WebRtcOff,
  WorkerDied,
  WorkerUnavailable
} from "./MediaError.ts"
import { Conflict, MediaRefused, MediaUnavailable, NotFound, TokenRefused } from "./protocol/Common.ts"

type Refused = MediaRejected | PlainOnNetworkRefused | WebRtcOff
type Unavailable = EngineTimeout | PortsExhausted | RoomMediaClosed | WorkerDied | WorkerUnavailable
type Unknown = UnknownConsumer | UnknownProducer | UnknownTransport
type EngineError = Refused | Unavailable | Unknown | MediaConflict | ForeignPeer

type Said<E extends EngineError> =
  | (E extends Refused ? MediaRefused : never)
  | (E extends Unavailable ? MediaUnavailable : never)
  | (E extends Unknown ? NotFound : never)
  | (E extends MediaConflict ? Conflict : never)
  | (E extends ForeignPeer ? TokenRefused : never)

const say = (error: EngineError) => {
  switch (error._tag) {
    case "MediaConflict":
      return new Conflict({ entity: error.entity, id: error.id, problem: "with other options" })
    case "UnknownProducer":
      return new NotFound({ entity: "producer", id: error.producerId })
    case "UnknownConsumer":
      return new NotFound({ entity: "consumer", id: error.consumerId })
    case "UnknownTransport":
      return new NotFound({ entity: "transport", id: error.transportId })
    // A peer is whom its token names.
    case "ForeignPeer":
      return new TokenRefused({ reason: "peer" })
    case "MediaRejected":
    case "WebRtcOff":
    case "PlainOnNetworkRefused":
      return new MediaRefused({ code: error._tag, reason: error.message })
    case "EngineTimeout":
    case "PortsExhausted":
    case "RoomMediaClosed":
    case "WorkerDied":
    case "WorkerUnavailable":
      return new MediaUnavailable({ code: error._tag, reason: error.message })
  }
}

/** Every create of the engine is idempotent by id, so that even an unanswered one (`EngineTimeout`) is safe to send again. */
export const asProtocolError = <A, E extends EngineError, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (error) => say(error) as Said<E>)
