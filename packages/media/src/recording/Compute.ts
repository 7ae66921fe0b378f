/**
 * From a part's journal to a receipt: read, make tracks, mux once, verify by decoding, checksum, store. Everything before the receipt
 * can be lost and done again: a computation killed at any moment costs nothing but its time.
 *
 * Owns the order of what becomes durable: media, receipt beside it, receipt in the part's folder, state in the manifest.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import * as path from "node:path"
import { pipeline } from "node:stream/promises"
import type {
  ComputeFailed,
  FfmpegMissing,
  FfmpegStalled,
  RecordingStorageError,
  StoreRefused,
  StoreUnreachable,
  UnsupportedFormat
} from "../MediaError.ts"
import { JournalMissing, ManifestMissing, RecordingFileInvalid, VerificationFailed } from "../MediaError.ts"
import { lockFolder } from "./FolderLock.ts"
import { attempt, sizeIfThere } from "./internal/disk.ts"
import { software } from "./internal/software.ts"
import { journalName } from "./JournalFormat.ts"
import type { Manifest } from "./Manifest.ts"
import { readManifest, setManifestState } from "./Manifest.ts"
import type { MuxedFile } from "./Mux.ts"
import { muxPart } from "./Mux.ts"
import type { PartIndex, Selection } from "./PartIndex.ts"
import { indexPart } from "./PartIndex.ts"
import { coversParts, readReceipt, receiptFormat, receiptName, writeReceipt } from "./Receipt.ts"
import type { Receipt, ReceiptTrack } from "./Receipt.ts"
import { RecordingStore } from "./RecordingStore.ts"
import { verify } from "./Verify.ts"

export type ComputeError =
  | RecordingStorageError
  | StoreRefused
  | StoreUnreachable
  | UnsupportedFormat
  | RecordingFileInvalid
  | ManifestMissing
  | JournalMissing
  | FfmpegMissing
  | FfmpegStalled
  | VerificationFailed
  | ComputeFailed

export type ComputeStep = "index" | "mux" | "verify" | "store"

export interface ComputeProgress {
  readonly step: ComputeStep
  readonly bytesRead: number
  readonly journalBytes: number
}

export interface ComputeOptions {
  /** Goes into the receipt: a node id, or a program's name. */
  readonly computedBy: string
  /**
   * Milliseconds for which ffmpeg, and a process that computes, may give no sign of life before they are killed: it can be tried
   * again, and a hung one would hold up the others and the node's drain for ever. Default 60,000.
   */
  readonly silenceMs?: number
  /** Told at the beginning of each step, and for each megabyte of journal. */
  readonly onProgress?: (progress: ComputeProgress) => void
}

/** Bytes. A journal without one intact record is of a process that died while it wrote the first, which is shorter. */
const tornAtMost = 1024

/** In a part's folder, held by whoever computes it. */
export const computeLock = "compute.lock"

/**
 * Computes a part in this process, whose event loop it keeps busy: a node calls `computeInChild`. The caller holds the lock of the
 * incarnation's folder. Idempotent: a receipt for the same part is returned as it is. A second computation of the same part
 * waits for the first.
 */
export const compute: (
  partFolder: string,
  options: ComputeOptions
) => Effect.Effect<Receipt, Exclude<ComputeError, ComputeFailed>, RecordingStore> = Effect.fnUntraced(
  function* (partFolder, options) {
    const store = yield* RecordingStore
    const journalFile = path.join(partFolder, journalName)
    const manifest = yield* requireManifest(partFolder, journalFile)
    const gone = new JournalMissing({ folder: partFolder, recordingId: manifest.recordingId })
    yield* lockFolder(partFolder, {
      name: computeLock,
      holder: { pid: process.pid },
      waitSeconds: Infinity
    }).pipe(Effect.catchTag("FolderHeld", () => Effect.fail(gone)))

    const done = yield* findReceipt(partFolder, manifest)
    if (done !== undefined) return done
    const journalBytes = yield* sizeIfThere(journalFile)
    if (journalBytes === undefined) return yield* gone
    const part = `${manifest.part}-${manifest.incarnation}`

    let told = { step: "", megabytes: 0 }
    const progress = (step: ComputeStep) => (bytesRead: number) =>
      Effect.sync(() => {
        const megabytes = Math.floor(bytesRead / 1_000_000)
        if (step === told.step && megabytes === told.megabytes) return
        told = { step, megabytes }
        options.onProgress?.({ step, bytesRead, journalBytes })
      })

    const produce = Effect.fnUntraced(function* (selection: Selection) {
      yield* progress("index")(0)
      const index = yield* indexPart(journalFile, selection, progress("index"))
      // To call that an empty recording would be to lose it: a journal goes a keep time after its receipt.
      if (index.journal.records === 0 && journalBytes > tornAtMost) {
        return yield* new RecordingFileInvalid({
          path: journalFile,
          detail: `there is no intact record in its ${journalBytes} bytes`
        })
      }
      const nothing = { index, muxed: undefined, staged: "", problems: [], undecodable: [] }
      if (index.streams.length === 0) return nothing
      const staged = yield* store.stage(manifest.recordingId, part, "media")
      const muxed = yield* muxPart({
        journalFile,
        index,
        target: staged,
        software: software.name,
        onProgress: progress("mux")
      })
      yield* progress("verify")(journalBytes)
      return { index, muxed, staged, ...(yield* verify(staged, muxed, options.silenceMs)) }
    })

    let result = yield* produce({ lossPolicy: "keep", without: new Set() })
    // A decoder may refuse frames that follow a loss. A track without a loss is the same in the second attempt.
    if (result.problems.length > 0)
      result = yield* produce({ lossPolicy: "untilKeyFrame", without: new Set() })
    // What is left is a sender of rubbish: it must not cost the others their recording.
    if (result.undecodable.length > 0) {
      result = yield* produce({ lossPolicy: "untilKeyFrame", without: new Set(result.undecodable) })
    }
    if (result.problems.length > 0) {
      return yield* new VerificationFailed({ recordingId: manifest.recordingId, problems: result.problems })
    }

    yield* progress("store")(journalBytes)
    const { index, muxed, staged } = result
    const media = muxed === undefined ? undefined : yield* digest(staged)
    // From the choice of the names to the receipt that takes them: another part may be as far at this moment.
    yield* store.exclusive(manifest.recordingId)
    const names = yield* freeNames(manifest.recordingId, part)
    if (media !== undefined) yield* store.publish(manifest.recordingId, part, "media", names.media)
    const receipt: Receipt = {
      format: receiptFormat,
      recordingId: manifest.recordingId,
      roomId: manifest.roomId,
      state: "Computed",
      parts: [receiptPart(manifest, index)],
      tracks: receiptTracks(index, muxed),
      ...(media === undefined ? {} : { file: names.media, sha256: media.sha256 }),
      bytes: media?.bytes ?? 0,
      durationMs: muxed?.durationMs ?? 0,
      computedAt: yield* Clock.currentTimeMillis,
      computedBy: options.computedBy,
      software: software.name
    }
    yield* store.putReceipt(manifest.recordingId, names.receipt, receipt)
    yield* finishPart(partFolder, receipt)
    return receipt
  },
  Effect.scoped
)

const requireManifest = Effect.fnUntraced(function* (partFolder: string, journalFile: string) {
  const manifest = yield* readManifest(partFolder)
  if (manifest !== undefined) return manifest
  const journalBytes = (yield* sizeIfThere(journalFile)) ?? 0
  return yield* new ManifestMissing({ folder: partFolder, journalBytes })
})

/** The part's own copy, or the store's: a computation may have been killed between the two. */
const findReceipt = Effect.fnUntraced(function* (partFolder: string, manifest: Manifest) {
  const own = yield* readReceipt(path.join(partFolder, receiptName))
  if (own !== undefined) return own
  const store = yield* RecordingStore
  for (const receipt of (yield* store.receipts(manifest.recordingId)).values()) {
    if (!coversParts(receipt, [manifest])) continue
    yield* finishPart(partFolder, receipt)
    return receipt
  }
  return undefined
})

const finishPart = Effect.fnUntraced(function* (partFolder: string, receipt: Receipt) {
  yield* writeReceipt(path.join(partFolder, receiptName), receipt)
  yield* setManifestState(partFolder, "Computed")
})

/** The plain names, unless another part of the same recording has them: then the part's own. */
const freeNames = Effect.fnUntraced(function* (recordingId: string, part: string) {
  const store = yield* RecordingStore
  const suffix = yield* store.suffix(recordingId, part)
  return { media: `recording${suffix}.webm`, receipt: `receipt${suffix}.json` }
})

const digest = (file: string) =>
  attempt("read", file, async () => {
    const hash = createHash("sha256")
    let bytes = 0
    await pipeline(
      createReadStream(file, { highWaterMark: 1 << 20 }),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          bytes += chunk.length
          hash.update(chunk)
        }
      }
    )
    return { bytes, sha256: hash.digest("hex") }
  })

const receiptPart = (manifest: Manifest, { part, journal }: PartIndex): Receipt["parts"][number] => ({
  incarnation: manifest.incarnation,
  nodeId: manifest.nodeId,
  part: manifest.part,
  startedAt: manifest.startedAt,
  packets: part.packets,
  orphanPackets: part.orphanPackets,
  gaps: part.gaps,
  gapPackets: part.gapPackets,
  damagedRecords: journal.damaged,
  damagedBytes: journal.damagedBytes,
  unknownRecords: journal.unknownRecords,
  tornBytes: journal.tornBytes,
  ...(part.sealed === undefined ? {} : { sealed: part.sealed })
})

const receiptTracks = (index: PartIndex, muxed: MuxedFile | undefined): ReadonlyArray<ReceiptTrack> =>
  index.tracks.map((track): ReceiptTrack => {
    const at = index.streams.findIndex((stream) => stream.track === track)
    const stream = muxed?.streams[at]
    const { info, sequencer } = track
    const { lost, duplicate, late, restarts } = sequencer.counts
    const dropped = Object.entries({
      ...Object.fromEntries(track.dropped),
      undecodable: index.selection.without.has(track.track) ? track.frames : 0,
      duplicate,
      late,
      restarts
    })
    return {
      producerId: info.producerId,
      ...(info.peerId === undefined ? {} : { peerId: info.peerId }),
      kind: info.kind,
      codec: info.mimeType,
      ...(info.ssrc === undefined ? {} : { ssrc: info.ssrc }),
      ...(stream === undefined ? {} : { stream: at }),
      clock: index.streams[at]?.times.source ?? "arrival",
      offsetMs: stream?.firstMs ?? 0,
      durationMs: stream === undefined ? 0 : stream.endMs - stream.firstMs,
      packets: track.packets,
      frames: stream?.frames ?? 0,
      shownFrames: stream?.shownFrames ?? 0,
      lostPackets: lost,
      dropped: Object.fromEntries(dropped.filter(([, count]) => count > 0))
    }
  })
