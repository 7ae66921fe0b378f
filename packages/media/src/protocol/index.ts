/** What crosses processes: all of the media package that the deployer may import. */
export {
  AdmissionError,
  ClaimError,
  Conflict,
  Elsewhere,
  MediaRefused,
  MediaUnavailable,
  NotFound,
  NoTokenKey,
  StorageUnavailable,
  TokenRefused
} from "./Common.ts"
export type { NodeMessage } from "./Node.ts"
export { Blocker, nodeKind, NodeProtocol, NodeReport, OpenedRoom } from "./Node.ts"
export type { RecordingMessage } from "./Recording.ts"
export {
  areSameOptions,
  RecordingInfo,
  recordingKind,
  RecordingOptions,
  RecordingProgress,
  RecordingProtocol,
  RecordingState
} from "./Recording.ts"
export type { RoomMessage } from "./Room.ts"
export {
  AddConsumer,
  AddProducer,
  Consumer,
  Producer,
  RoomInfo,
  roomKind,
  RoomOptions,
  RoomProtocol
} from "./Room.ts"
export type { Grant } from "./WebRtc.ts"
export {
  DtlsParameters,
  grants,
  IceParameters,
  RtpCapabilities,
  RtpParameters,
  SctpStreamParameters,
  WebRtcTransport
} from "./WebRtc.ts"
export type { ControlMessage } from "./Control.ts"
export {
  AnswerTooLarge,
  ControlError,
  ControlProtocol,
  NodeSummary,
  NoNodeAdmits,
  RoomSummary
} from "./Control.ts"
export type { CallOptions, ControlClient } from "./ControlClient.ts"
export { makeControlClient } from "./ControlClient.ts"
