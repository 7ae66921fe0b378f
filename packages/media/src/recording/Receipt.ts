/**
 * `receipt.json`: the proof that a recording was computed: sealed or recovered, muxed, decoded, checksummed and stored. It lies beside the
 * result and, as a copy, in each part's folder, where it says that nothing is left to do. What it counts is what was read
 * from the journal and what the decoder gave back, never what the capturing process believed.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RecordingFileInvalid, UnsupportedFormat } from "../MediaError.ts"
import { readIfThere, replaceFile } from "./internal/disk.ts"
import { decodeJsonFile, openLiterals, StoredId } from "./internal/storedSchema.ts"

export const receiptFormat = 1
export const receiptName = "receipt.json"

export const ReceiptPart = Schema.Struct({
  incarnation: StoredId,
  nodeId: StoredId,
  part: Schema.Int,
  startedAt: Schema.Finite,
  packets: Schema.Int,
  /** Packets of a track whose beginning cannot be read. */
  orphanPackets: Schema.Int,
  /** Gap records, and the packets that could not be written to the journal. */
  gaps: Schema.Int,
  gapPackets: Schema.Int,
  damagedRecords: Schema.Int,
  damagedBytes: Schema.Int,
  unknownRecords: Schema.Int,
  tornBytes: Schema.Int,
  /** Why it was sealed; absent when its process died before. */
  sealed: Schema.optionalKey(Schema.String),
  /**
   * How its host's clock was laid on that of the first part: by the sender reports that both heard, by the hosts' wall clocks, or, with
   * no anchor in the journal, right after what came before.
   */
  aligned: Schema.optionalKey(openLiterals(["own", "senderReports", "wallClock", "none"]))
})
export interface ReceiptPart extends Schema.Schema.Type<typeof ReceiptPart> {}

/** A journal track of which a track was made: what one process captured of one of the sender's encodings. */
export const ReceiptSource = Schema.Struct({
  /** Index into `parts`. */
  part: Schema.Int,
  producerId: Schema.String,
  ssrc: Schema.optionalKey(Schema.Finite),
  layer: Schema.optionalKey(Schema.Int),
  rid: Schema.optionalKey(Schema.String),
  packets: Schema.Int,
  lostPackets: Schema.Int,
  /** In the file, and left out because another source had the moment. */
  frames: Schema.Int,
  overlappingFrames: Schema.Int
})
export interface ReceiptSource extends Schema.Schema.Type<typeof ReceiptSource> {}

export const ReceiptTrack = Schema.Struct({
  producerId: Schema.String,
  peerId: Schema.optionalKey(Schema.String),
  /** The sender's own word: camera, screen, microphone. */
  source: Schema.optionalKey(Schema.String),
  kind: openLiterals(["audio", "video", "data"]),
  codec: Schema.String,
  ssrc: Schema.optionalKey(Schema.Finite),
  /** Of a data channel. */
  label: Schema.optionalKey(Schema.String),
  /** Index of its stream in its file (see `files`); absent when not a single frame could be kept, and of data. */
  stream: Schema.optionalKey(Schema.Int),
  /** Where its times come from. */
  clock: openLiterals(["senderReports", "arrival"]),
  /** First frame on the recording's timeline, and from there to the end of the last. */
  offsetMs: Schema.Finite,
  durationMs: Schema.Finite,
  /** RTP packets in the journals, of all sources. */
  packets: Schema.Int,
  /** Frames in the file, and how many of them the decoder shows (VP8 may hide some). Of data: messages. */
  frames: Schema.Int,
  shownFrames: Schema.Int,
  /** Sequence numbers that never came. */
  lostPackets: Schema.Int,
  /** Packets (`duplicate`, `late`, ...) and frames (`incompleteFrame`, ...) left out, by reason. */
  dropped: Schema.Record(Schema.String, Schema.Int),
  /** Where on the timeline packets never came, and how many. Holes less than a second apart are one; at most 1000 of each source. */
  gaps: Schema.optionalKey(
    Schema.Array(Schema.Struct({ fromMs: Schema.Finite, toMs: Schema.Finite, packets: Schema.Int }))
  ),
  /** When there is more than one. */
  sources: Schema.optionalKey(Schema.Array(ReceiptSource)),
  /**
   * Where another part goes on with it: indexes into `parts`; `gapMs` is how much longer the interval between two frames is there
   * than usual, negative: shorter.
   */
  seams: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({ atMs: Schema.Finite, gapMs: Schema.Finite, from: Schema.Int, to: Schema.Int })
    )
  ),
  /** How often another layer went on with it. */
  layerSwitches: Schema.optionalKey(Schema.Int)
})
export interface ReceiptTrack extends Schema.Schema.Type<typeof ReceiptTrack> {}

export const Receipt = Schema.Struct({
  format: Schema.Finite,
  recordingId: StoredId,
  roomId: StoredId,
  state: openLiterals(["Computed"]),
  parts: Schema.Array(ReceiptPart),
  tracks: Schema.Array(ReceiptTrack),
  /** All files of the result; `tracks`: indexes of those that are in it. */
  files: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        name: Schema.String,
        bytes: Schema.Finite,
        sha256: Schema.String,
        tracks: Schema.Array(Schema.Int)
      })
    )
  ),
  /** What it is; absent means `file`. */
  result: Schema.optionalKey(openLiterals(["file", "tracks", "grid"])),
  /** What it was asked to be and could not be made, and why: rather something else than nothing. */
  instead: Schema.optionalKey(
    Schema.Struct({ of: openLiterals(["file", "tracks", "grid"]), because: Schema.String })
  ),
  /** What was cut out because nothing was to be recorded. `wallMs`: when that was, ms since 1970. */
  pauses: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        atMs: Schema.Finite,
        durationMs: Schema.Finite,
        wallMs: Schema.optionalKey(Schema.Finite)
      })
    )
  ),
  /** The first of `files`: its name in the recording's folder of the store; absent, with sha256, for a recording without a frame. */
  file: Schema.optionalKey(Schema.String),
  bytes: Schema.Finite,
  sha256: Schema.optionalKey(Schema.String),
  durationMs: Schema.Finite,
  /** Wall clock, milliseconds since 1970. */
  computedAt: Schema.Finite,
  /** Node id, or the program, that computed it. */
  computedBy: Schema.String,
  software: Schema.String
})
export interface Receipt extends Schema.Schema.Type<typeof Receipt> {}

/** `file` is named in its errors. */
export const decodeReceipt = decodeJsonFile(Receipt, receiptFormat)
export const encodeReceipt = (receipt: Receipt): string => `${JSON.stringify(receipt, null, 2)}\n`

/** For who removes them all: what cannot be read is no reason to keep the rest. */
export const readableReceipts = <E extends { readonly _tag: string }>(
  receipts: Effect.Effect<ReadonlyMap<string, Receipt>, E | RecordingFileInvalid | UnsupportedFormat>
) =>
  receipts.pipe(
    Effect.map((all) => [...all.values()]),
    Effect.catchTag(["RecordingFileInvalid", "UnsupportedFormat"], () => Effect.succeed<Array<Receipt>>([]))
  )

export const readReceipt = Effect.fnUntraced(function* (file: string) {
  const bytes = yield* readIfThere(file)
  return bytes === undefined ? undefined : yield* decodeReceipt(file, bytes.toString("utf8"))
})

export const writeReceipt = (file: string, receipt: Receipt) => replaceFile(file, encodeReceipt(receipt))

/** Whether a receipt is for exactly these parts, in any order. */
export const coversParts = (
  receipt: Receipt,
  parts: ReadonlyArray<{ readonly incarnation: string; readonly part: number }>
): boolean =>
  receipt.parts.length === parts.length &&
  parts.every((part) =>
    receipt.parts.some((own) => own.incarnation === part.incarnation && own.part === part.part)
  )
