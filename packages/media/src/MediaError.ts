/**
 * The errors of the media package, each with the data that a caller acts on. The line above each says which of the three
 * kinds it is: not executed and safe to retry, not executed and never to retry as it is, or outcome unknown.
 */
import * as Schema from "effect/Schema"

/** Not executed; safe to retry, here later or on another node. No worker can take the room. */
export class WorkerUnavailable extends Schema.TaggedError<WorkerUnavailable>()("WorkerUnavailable", {
  reason: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `no mediasoup worker: ${this.reason}`
  }
}

/**
 * Not executed; never to retry. mediasoup's signal listeners are not the ones that the engine knows how to remove, so a
 * SIGTERM could end rooms: the engine refuses to start with this version of mediasoup.
 */
export class SignalListenersUnexpected extends Schema.TaggedError<SignalListenersUnexpected>()(
  "SignalListenersUnexpected",
  {
    /** Names of the process events to which mediasoup added a listener, once per listener. */
    found: Schema.Array(Schema.String),
    expected: Schema.Array(Schema.String)
  }
) {
  readonly retry = "never"
  override get message() {
    return `mediasoup listens on the process for [${this.found.join()}], expected [${this.expected.join()}]`
  }
}

/** Outcome unknown, and of no more matter: the worker process under the room is gone, with all media of the room. */
export class WorkerDied extends Schema.TaggedError<WorkerDied>()("WorkerDied", {
  workerPid: Schema.Int,
  /** What mediasoup says of it: exit code and signal. */
  reason: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    return `mediasoup worker ${this.workerPid} died: ${this.reason}`
  }
}

/** Not executed; never to retry. The room's media was closed. */
export class RoomMediaClosed extends Schema.TaggedError<RoomMediaClosed>()("RoomMediaClosed", {
  roomId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the media of room ${this.roomId} is closed`
  }
}

/** Outcome unknown; ask again with the same id. The worker did not answer in time. */
export class EngineTimeout extends Schema.TaggedError<EngineTimeout>()("EngineTimeout", {
  roomId: Schema.String,
  operation: Schema.String,
  afterMs: Schema.Finite
}) {
  readonly retry = "unknown"
  override get message() {
    return `${this.operation} in room ${this.roomId}: no answer from the worker in ${this.afterMs} ms`
  }
}

/** Not executed; never to retry as it is. The id is there with other options. */
export class MediaConflict extends Schema.TaggedError<MediaConflict>()("MediaConflict", {
  roomId: Schema.String,
  entity: Schema.Literals(["producer", "consumer", "transport"]),
  id: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.entity} ${this.id} of room ${this.roomId} exists with other options`
  }
}

/** Not executed; never to retry as it is. An option that the media layer cannot take. */
export class MediaRejected extends Schema.TaggedError<MediaRejected>()("MediaRejected", {
  operation: Schema.String,
  /** What is wrong, and what to give instead. */
  reason: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.operation} refused: ${this.reason}`
  }
}

/** Not executed; never to retry as it is. RTP without encryption would cross a network. */
export class PlainOnNetworkRefused extends Schema.TaggedError<PlainOnNetworkRefused>()(
  "PlainOnNetworkRefused",
  {
    ip: Schema.String
  }
) {
  readonly retry = "never"
  override get message() {
    return `plain RTP on ${this.ip}, which is not a loopback address: give srtp, or start the node with allowPlainOnNetwork`
  }
}

/** Not executed; safe to retry once something has closed, or on another node. */
export class PortsExhausted extends Schema.TaggedError<PortsExhausted>()("PortsExhausted", {
  ip: Schema.String,
  min: Schema.Int,
  max: Schema.Int
}) {
  readonly retry = "safe"
  override get message() {
    return `every UDP port of ${this.ip} from ${this.min} to ${this.max} is taken`
  }
}

/** Not executed; never to retry as it is. */
export class UnknownProducer extends Schema.TaggedError<UnknownProducer>()("UnknownProducer", {
  roomId: Schema.String,
  producerId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `room ${this.roomId} has no producer ${this.producerId}`
  }
}

/** Not executed; never to retry as it is. */
export class UnknownConsumer extends Schema.TaggedError<UnknownConsumer>()("UnknownConsumer", {
  roomId: Schema.String,
  consumerId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `room ${this.roomId} has no consumer ${this.consumerId}`
  }
}

/** Not executed; never to retry as it is. It was never there, or one of the two sides closed it. */
export class UnknownTransport extends Schema.TaggedError<UnknownTransport>()("UnknownTransport", {
  roomId: Schema.String,
  transportId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `room ${this.roomId} has no transport ${this.transportId}`
  }
}

/** Not executed; never to retry. The transport or producer is another peer's. */
export class ForeignPeer extends Schema.TaggedError<ForeignPeer>()("ForeignPeer", {
  entity: Schema.Literals(["producer", "transport"]),
  id: Schema.String,
  peerId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.entity} ${this.id} is not of peer ${this.peerId}`
  }
}

/** Not executed; never to retry here. The engine was started without `webRtc`: it listens for no browser. */
export class WebRtcOff extends Schema.TaggedError<WebRtcOff>()("WebRtcOff", { roomId: Schema.String }) {
  readonly retry = "never"
  override get message() {
    return `the node of room ${this.roomId} listens for no WebRTC`
  }
}

/** Not executed; never to retry. A node cannot start with that key: it could let nobody in, or the wrong ones. */
export class TokenKeyInvalid extends Schema.TaggedError<TokenKeyInvalid>()("TokenKeyInvalid", {
  /** Has nothing of the key. */
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `a key for tokens cannot be used: ${this.problem}`
  }
}

// ---- recordings ----

/** Safe to retry: the disk refused. What was written before stays; a journal counts what it could not write. */
export class RecordingStorageError extends Schema.TaggedError<RecordingStorageError>()(
  "RecordingStorageError",
  {
    operation: Schema.String,
    path: Schema.String,
    /** The system's code (`ENOSPC`, `EIO`, ...), or `Unknown`. */
    code: Schema.String,
    detail: Schema.String
  }
) {
  readonly retry = "safe"
  override get message() {
    return `cannot ${this.operation} ${this.path}: ${this.detail}`
  }
}

/** Not executed; never to retry with this version. A newer major version wrote the file; it was not touched. */
export class UnsupportedFormat extends Schema.TaggedError<UnsupportedFormat>()("UnsupportedFormat", {
  path: Schema.String,
  version: Schema.Number,
  supported: Schema.Number
}) {
  readonly retry = "never"
  override get message() {
    return `${this.path} has format version ${this.version}; this software reads up to ${this.supported}`
  }
}

/** Not executed; never to retry. A manifest, receipt or journal does not decode; it was not touched. */
export class RecordingFileInvalid extends Schema.TaggedError<RecordingFileInvalid>()("RecordingFileInvalid", {
  path: Schema.String,
  detail: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.path} cannot be read: ${this.detail}`
  }
}

/** Not executed; never to retry. The folder has a journal with content but no manifest. The journal is kept. */
export class ManifestMissing extends Schema.TaggedError<ManifestMissing>()("ManifestMissing", {
  folder: Schema.String,
  journalBytes: Schema.Number
}) {
  readonly retry = "never"
  override get message() {
    return `${this.folder} has a journal of ${this.journalBytes} bytes but no manifest`
  }
}

/** Not executed; never to retry. The manifest's journal, which is created before it, was removed by somebody. */
export class JournalMissing extends Schema.TaggedError<JournalMissing>()("JournalMissing", {
  folder: Schema.String,
  recordingId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the journal of recording ${this.recordingId} is gone from ${this.folder}`
  }
}

/** Not executed; never to retry. This process has a journal of that recording already, whatever became of it; it was not touched. */
export class JournalExists extends Schema.TaggedError<JournalExists>()("JournalExists", {
  folder: Schema.String,
  recordingId: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `there is a journal of recording ${this.recordingId} in ${this.folder}`
  }
}

/** Not executed; safe to retry later. A living process holds the lock of the folder. */
export class FolderHeld extends Schema.TaggedError<FolderHeld>()("FolderHeld", {
  folder: Schema.String,
  /** What the lock file says of its holder. */
  holder: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `${this.folder} is held by a living process: ${this.holder}`
  }
}

/** Not executed; never to retry with this address: somebody else has it, or it is not this machine's. */
export class MetricsPortUnavailable extends Schema.TaggedError<MetricsPortUnavailable>()(
  "MetricsPortUnavailable",
  { host: Schema.String, port: Schema.Int, reason: Schema.String }
) {
  readonly retry = "never"
  override get message() {
    return `no metrics at ${this.host}:${this.port}: ${this.reason}`
  }
}

/** Not executed; never to retry before ffmpeg is installed. Nothing can be verified, so nothing can be computed. */
export class FfmpegMissing extends Schema.TaggedError<FfmpegMissing>()("FfmpegMissing", {
  command: Schema.String,
  detail: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.command} is needed to verify recordings and cannot be used: ${this.detail}`
  }
}

/** Safe to retry. ffmpeg gave no sign of progress and was killed; nothing is known about the file. */
export class FfmpegStalled extends Schema.TaggedError<FfmpegStalled>()("FfmpegStalled", {
  command: Schema.String,
  silentMs: Schema.Finite
}) {
  readonly retry = "safe"
  override get message() {
    return `${this.command} stood still for ${this.silentMs} ms and was killed`
  }
}

/** Never to retry with this version. The file does not decode to what was muxed; the journal is kept. */
export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  recordingId: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  readonly retry = "never"
  override get message() {
    return `recording ${this.recordingId} does not verify: ${this.problems.join("; ")}`
  }
}

/** Safe to retry. The computing process ended without an outcome, killed or crashed; the journal is kept. */
export class ComputeFailed extends Schema.TaggedError<ComputeFailed>()("ComputeFailed", {
  folder: Schema.String,
  detail: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `computing ${this.folder} ended without an outcome: ${this.detail}`
  }
}

/** Not executed; never to retry before a person has done what `advice` says. The store of results answers, and refuses. */
export class StoreRefused extends Schema.TaggedError<StoreRefused>()("StoreRefused", {
  location: Schema.String,
  /** `noCredentials`, `credentialsRefused`, `accessDenied`, `bucketMissing`, `wrongRegion`, `clockSkewed`, `badLocation`. Open. */
  problem: Schema.String,
  /** What the store said. Never a secret. */
  detail: Schema.String,
  advice: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the store ${this.location} refuses: ${this.detail}; ${this.advice}`
  }
}

/** Not executed; never to retry: it was deleted, and does not come back. */
export class RecordingDeleted extends Schema.TaggedError<RecordingDeleted>()("RecordingDeleted", {
  recordingId: Schema.String,
  by: Schema.String,
  at: Schema.Finite,
  reason: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `recording ${this.recordingId} was deleted by ${this.by}: ${this.reason}`
  }
}

/** Safe to retry: the store of results cannot be reached, or is busy. What was uploaded before stays. */
export class StoreUnreachable extends Schema.TaggedError<StoreUnreachable>()("StoreUnreachable", {
  location: Schema.String,
  detail: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `the store ${this.location} cannot be reached: ${this.detail}; is AWS_ENDPOINT_URL_S3 right, and the network there?`
  }
}

/** Never to retry in this process: the thread that writes journals has died again and again. What was written is kept, for a later start. */
export class JournalThreadDied extends Schema.TaggedError<JournalThreadDied>()("JournalThreadDied", {
  deaths: Schema.Int,
  detail: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the thread that writes journals has died ${this.deaths} times within a minute: ${this.detail}`
  }
}

/** Not executed; safe to retry later: the recordings that run may need what is left of the disk. */
export class DiskNearlyFull extends Schema.TaggedError<DiskNearlyFull>()("DiskNearlyFull", {
  path: Schema.String,
  freeBytes: Schema.Finite,
  /** For the recordings that run, this one, and the floor. */
  wantedBytes: Schema.Finite
}) {
  readonly retry = "safe"
  override get message() {
    return `the disk of ${this.path} has ${this.freeBytes} bytes left, and ${this.wantedBytes} are wanted for the recordings that run and this one`
  }
}

/** Not executed; safe to retry later: the disk has not answered for a while. What is recorded waits in memory, and is lost beyond that. */
export class DiskStalled extends Schema.TaggedError<DiskStalled>()("DiskStalled", {
  path: Schema.String,
  stalledMs: Schema.Finite
}) {
  readonly retry = "safe"
  override get message() {
    return `the disk of ${this.path} has not answered for ${this.stalledMs} ms`
  }
}
