/**
 * The bytes of `journal.ebbj`: a file header, then records. docs/journal-format.md is the specification; a test decodes
 * that page's own example.
 *
 * Every record carries type, track, length, CRC and the arrival on the node's monotonic clock, so that a reader can skip
 * what it does not know and find its way again after damage. Numbers are big-endian. A compatible change is a new record type
 * or a new field in a MessagePack map; anything else raises `major`.
 */
import * as MessagePack from "@msgpack/msgpack"
import * as Schema from "effect/Schema"
import { recordType } from "./internal/recordBytes.ts"
import { openLiterals } from "./internal/storedSchema.ts"

export {
  checksum,
  encodeMap,
  maxPayloadBytes,
  recordHeaderBytes,
  recordMarker,
  recordType,
  sealHeader
} from "./internal/recordBytes.ts"

export const journalName = "journal.ebbj"
export const journalMajor = 1
export const journalMinor = 0
export const fileHeader: Uint8Array = Uint8Array.of(0x45, 0x42, 0x42, 0x4a, journalMajor, journalMinor, 0, 0)

/** Numbers the tracks of one journal from 1; 0 means no track. */
export type TrackNumber = number

export const TrackInfo = Schema.Struct({
  producerId: Schema.String,
  /** Tracks of one peer share one sender clock. Without it the track is on its own. */
  peerId: Schema.optionalKey(Schema.String),
  kind: openLiterals(["audio", "video", "data"]),
  /** audio/opus, video/VP8, video/VP9, video/H264, video/AV1; of data application/octet-stream or text/plain. */
  mimeType: Schema.String,
  /** Hz; of data 1000. */
  clockRate: Schema.Finite,
  channels: Schema.optionalKey(Schema.Finite),
  /** When given, packets with another payload type (RTX, comfort noise) are counted and left out. */
  payloadType: Schema.optionalKey(Schema.Finite),
  /** When given, packets with another SSRC are counted and left out. */
  ssrc: Schema.optionalKey(Schema.Finite),
  /** Of simulcast: the index of the sender's encoding, in the order it gave them. Each is a track of its own, with the same `producerId`. */
  layer: Schema.optionalKey(Schema.Finite),
  /** The encoding's name, where the sender gave one (RFC 8851). */
  rid: Schema.optionalKey(Schema.String),
  /** The sender's own word: camera, screen, microphone. */
  source: Schema.optionalKey(Schema.String),
  /** The codec's format parameters (`fmtp`): profile-level-id, packetization-mode, profile-id. */
  parameters: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
  ),
  /** Of a data channel (RFC 8832). */
  label: Schema.optionalKey(Schema.String),
  protocol: Schema.optionalKey(Schema.String)
})
export interface TrackInfo extends Schema.Schema.Type<typeof TrackInfo> {}

/** One wall-clock reading at one monotonic reading, and whose part this is: a journal that lost its folder says so. */
export const Anchor = Schema.Struct({
  wallMs: Schema.Finite,
  recordingId: Schema.String,
  incarnation: Schema.String,
  part: Schema.Finite
})
export interface Anchor extends Schema.Schema.Type<typeof Anchor> {}

/**
 * As the sender wrote it: NTP time in seconds since 1900 and 2^-32 s, and the RTP timestamp of the same instant. `ageMs`: how long before
 * this record it came, for one that was known before the capture began; absent means now.
 */
export const SenderReport = Schema.Struct({
  ageMs: Schema.optionalKey(Schema.Number),
  ntpSeconds: Schema.Finite,
  ntpFraction: Schema.Finite,
  rtpTimestamp: Schema.Finite
})
export interface SenderReport extends Schema.Schema.Type<typeof SenderReport> {}

/** Packets that reached the process and could not be written; track 0 when they are of several. */
export const Gap = Schema.Struct({ packets: Schema.Finite, reason: Schema.String })
export interface Gap extends Schema.Schema.Type<typeof Gap> {}

export const Seal = Schema.Struct({ reason: Schema.String })
export interface Seal extends Schema.Schema.Type<typeof Seal> {}

/** One message of a data channel, with its SCTP payload protocol identifier (RFC 8831): 51 text, 53 binary, 56 and 57 the same empty. */
export const Data = Schema.Struct({ ppid: Schema.Finite, payload: Schema.Uint8Array })
export interface Data extends Schema.Schema.Type<typeof Data> {}

/** From here on nothing was to be recorded, or, of a resume, all again: who wanted that, and why. */
export const Pause = Schema.Struct({
  by: Schema.optionalKey(Schema.String),
  reason: Schema.optionalKey(Schema.String)
})
export interface Pause extends Schema.Schema.Type<typeof Pause> {}

interface Located {
  readonly track: TrackNumber
  readonly arrivalUs: number
}

export type JournalRecord = Located &
  (
    | { readonly _tag: "Anchor"; readonly anchor: Anchor }
    | { readonly _tag: "Track"; readonly info: TrackInfo }
    | { readonly _tag: "Rtp"; readonly packet: Uint8Array }
    | { readonly _tag: "SenderReport"; readonly report: SenderReport }
    | { readonly _tag: "Gap"; readonly gap: Gap }
    | { readonly _tag: "TrackEnd" }
    | { readonly _tag: "Seal"; readonly seal: Seal }
    | { readonly _tag: "Data"; readonly data: Data }
    | { readonly _tag: "Pause"; readonly pause: Pause }
    | { readonly _tag: "Resume"; readonly resume: Pause }
    /** A type of a newer version, or a known one whose content does not decode. */
    | { readonly _tag: "Unknown"; readonly type: number; readonly detail: string }
  )

const readMap = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownSync(schema)
  return (payload: Uint8Array): S["Type"] => decode(MessagePack.decode(payload))
}
const readAnchor = readMap(Anchor)
const readTrack = readMap(TrackInfo)
const readReport = readMap(SenderReport)
const readGap = readMap(Gap)
const readSeal = readMap(Seal)
const readData = readMap(Data)
const readPause = readMap(Pause)

/** Total: what cannot be decoded comes back as `Unknown`. The CRC has been checked before. */
export const decodeRecord = (
  type: number,
  track: TrackNumber,
  arrivalUs: number,
  payload: Uint8Array
): JournalRecord => {
  const at = { track, arrivalUs }
  try {
    switch (type) {
      case recordType.rtp:
        return { _tag: "Rtp", ...at, packet: payload }
      case recordType.senderReport:
        return { _tag: "SenderReport", ...at, report: readReport(payload) }
      case recordType.anchor:
        return { _tag: "Anchor", ...at, anchor: readAnchor(payload) }
      case recordType.track:
        return { _tag: "Track", ...at, info: readTrack(payload) }
      case recordType.gap:
        return { _tag: "Gap", ...at, gap: readGap(payload) }
      case recordType.trackEnd:
        return { _tag: "TrackEnd", ...at }
      case recordType.seal:
        return { _tag: "Seal", ...at, seal: readSeal(payload) }
      case recordType.data:
        return { _tag: "Data", ...at, data: readData(payload) }
      case recordType.pause:
        return { _tag: "Pause", ...at, pause: readPause(payload) }
      case recordType.resume:
        return { _tag: "Resume", ...at, resume: readPause(payload) }
      default:
        return { _tag: "Unknown", ...at, type, detail: "unknown record type" }
    }
  } catch (cause) {
    return { _tag: "Unknown", ...at, type, detail: cause instanceof Error ? cause.message : String(cause) }
  }
}
