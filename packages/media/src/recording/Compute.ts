/**
 * From the journals of a recording's parts to one receipt: read, join, mux once, verify by decoding, checksum, store. Everything before the
 * receipt can be lost and done again: a computation killed at any moment costs nothing but its time.
 *
 * Owns the order of what becomes durable: media, receipt beside it, receipt in each part's folder, state in its manifest.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream/promises"
import type {
  ComputeFailed,
  FfmpegMissing,
  FfmpegStalled,
  ManifestMissing,
  RecordingStorageError,
  StoreRefused,
  StoreUnreachable,
  UnsupportedFormat
} from "../MediaError.ts"
import { JournalMissing, RecordingDeleted, RecordingFileInvalid, VerificationFailed } from "../MediaError.ts"
import type { Deletion } from "./Deletion.ts"
import { attempt, remove, sizeIfThere } from "./internal/disk.ts"
import { receiptPart, receiptTracks } from "./internal/receiptContent.ts"
import { software } from "./internal/software.ts"
import { joinParts } from "./Join.ts"
import { indexPart } from "./PartIndex.ts"
import type { Part } from "./Parts.ts"
import { findReceipt, finishParts, nameOf, openParts } from "./Parts.ts"
import { receiptFormat } from "./Receipt.ts"
import type { Receipt } from "./Receipt.ts"
import { RecordingStore } from "./RecordingStore.ts"
import type { Result, ResultFile, ResultKind } from "./Results.ts"
import { makeResult } from "./Results.ts"
import type { LossPolicy } from "./rtp/FrameAssembler.ts"

export type ComputeError =
  | RecordingStorageError
  | RecordingDeleted
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

export type ComputeStep = "index" | "mux" | "verify" | "encode" | "store"

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

/**
 * Computes a recording from one part or from several of its parts, in this process, whose event loop it keeps busy: a node calls
 * `computeInChild`. The caller holds the locks of the incarnations' folders. Idempotent: a receipt for the same parts is returned as it
 * is; parts that were computed alone before are computed again together. A second computation of the same part waits for the first.
 */
export const compute: (
  partFolders: string | ReadonlyArray<string>,
  options: ComputeOptions
) => Effect.Effect<Receipt, Exclude<ComputeError, ComputeFailed>, RecordingStore> = Effect.fnUntraced(
  function* (partFolders, options) {
    const store = yield* RecordingStore
    const parts = yield* openParts(typeof partFolders === "string" ? [partFolders] : partFolders)
    const { recordingId, roomId } = parts[0].manifest
    const refusal = ({ at, by, reason }: Deletion) => new RecordingDeleted({ recordingId, at, by, reason })
    const refuseDeleted = Effect.flatMap(store.deletion(recordingId), (deletion) =>
      deletion === undefined ? Effect.void : Effect.fail(refusal(deletion))
    )
    yield* refuseDeleted
    const done = yield* findReceipt(parts)
    if (done !== undefined) return done
    const sizes = yield* Effect.forEach(parts, ({ folder, journalFile }) =>
      Effect.flatMap(sizeIfThere(journalFile), (bytes) =>
        bytes === undefined ? Effect.fail(new JournalMissing({ folder, recordingId })) : Effect.succeed(bytes)
      )
    )
    const journalBytes = sizes.reduce((sum, bytes) => sum + bytes, 0)
    const part = nameOf(parts)
    const asked = parts.findLast(({ manifest }) => manifest.options?.result !== undefined)?.manifest.options
      ?.result
    const askedKind: ResultKind = asked === "tracks" || asked === "grid" ? asked : "file"

    let told = { step: "", megabytes: 0 }
    const tell = (step: ComputeStep, bytesRead: number) => {
      const megabytes = Math.floor(bytesRead / 1_000_000)
      if (step === told.step && megabytes === told.megabytes) return
      told = { step, megabytes }
      options.onProgress?.({ step, bytesRead, journalBytes })
    }
    const progress = (step: ComputeStep) => (bytesRead: number) => Effect.sync(() => tell(step, bytesRead))

    const staged = new Set<string>()
    const produce = Effect.fnUntraced(function* (
      kind: ResultKind,
      lossPolicy: LossPolicy,
      without: ReadonlySet<number>
    ) {
      yield* progress("index")(0)
      let before = 0
      const indexes = yield* Effect.forEach(parts, ({ journalFile }, at) =>
        Effect.gen(function* () {
          const index = yield* indexPart(journalFile, lossPolicy, (bytes) =>
            progress("index")(before + bytes)
          )
          const bytes = sizes[at] ?? 0
          before += bytes
          // To call that an empty recording would be to lose it: a journal goes a keep time after its receipt.
          if (index.journal.records === 0 && bytes > tornAtMost) {
            return yield* new RecordingFileInvalid({
              path: journalFile,
              detail: `there is no intact record in its ${bytes} bytes`
            })
          }
          return index
        })
      )
      return yield* makeResult({
        kind,
        recording: joinParts(indexes, without),
        lossPolicy,
        stage: (name) =>
          Effect.tap(store.stage(recordingId, part, name), (file) => Effect.sync(() => staged.add(file))),
        software: software.name,
        silenceMs: options.silenceMs,
        onMuxed: progress("mux"),
        onVerify: progress("verify")(journalBytes),
        onEncoded: (fraction) => tell("encode", fraction * journalBytes)
      })
    })

    const verified = Effect.fnUntraced(function* (kind: ResultKind) {
      let result = yield* produce(kind, "keep", new Set())
      // A decoder may refuse frames that follow a loss. A track without a loss is the same in the second attempt.
      if (result.problems.length > 0) result = yield* produce(kind, "untilKeyFrame", new Set())
      // What is left is a sender of rubbish: it must not cost the others their recording.
      if (result.undecodable.length > 0) {
        result = yield* produce(kind, "untilKeyFrame", new Set(result.undecodable))
      }
      return result
    })
    let kind = askedKind
    let result = yield* verified(kind)
    const because = result.problems.join("; ")
    // An encoder that cannot, must not cost what needs none.
    if (result.problems.length > 0 && kind === "grid") {
      kind = "file"
      result = yield* verified(kind)
    }
    if (result.problems.length > 0) {
      return yield* new VerificationFailed({ recordingId, problems: result.problems })
    }

    yield* progress("store")(journalBytes)
    const digests = yield* Effect.forEach(result.files, (file) =>
      Effect.map(digest(file.path), (sum) => ({ ...file, ...sum }))
    )
    // From the choice of the names to the receipt that takes them: another part may be as far at this moment.
    yield* store.exclusive(recordingId)
    yield* refuseDeleted
    const suffix = yield* store.suffix(recordingId, part)
    const nameIn = ({ extension, name }: ResultFile) => `${name}${suffix}.${extension}`
    for (const file of digests) yield* store.publish(recordingId, part, file.staged, nameIn(file))
    const files = digests.map((file) => ({
      name: nameIn(file),
      bytes: file.bytes,
      sha256: file.sha256,
      tracks: file.tracks.map(({ index }) => index)
    }))
    const receipt: Receipt = {
      format: receiptFormat,
      recordingId,
      roomId,
      state: "Computed",
      ...receiptOf(result, parts),
      ...(files[0] === undefined ? {} : { file: files[0].name, sha256: files[0].sha256 }),
      bytes: files[0]?.bytes ?? 0,
      ...(files.length === 0 ? {} : { files }),
      ...(kind === "file" ? {} : { result: kind }),
      ...(kind === askedKind ? {} : { instead: { of: askedKind, because } }),
      computedAt: yield* Clock.currentTimeMillis,
      computedBy: options.computedBy,
      software: software.name
    }
    yield* store.putReceipt(recordingId, `receipt${suffix}.json`, receipt)
    // A store that locks nothing may have taken a deletion during the upload, which has not seen what came after it. It is noted before it looks,
    // and we look after the receipt: one of the two sees the other.
    const overtaken = yield* store.deletion(recordingId)
    if (overtaken !== undefined) {
      yield* store.remove(overtaken)
      return yield* refusal(overtaken)
    }
    yield* finishParts(parts, receipt)
    // What was made on the way and is not of the result. Those of a process that is killed before go with the next one's.
    yield* Effect.forEach(staged, remove, { discard: true })
    return receipt
  },
  Effect.scoped
)

const receiptOf = (
  result: Result,
  parts: ReadonlyArray<Part>
): Pick<Receipt, "parts" | "tracks" | "pauses" | "durationMs"> => {
  const { muxed, recording } = result
  const { alignments, pauses } = recording.timeline
  const textEnds = [...muxed.texts.values()].map(({ endMs }) => endMs)
  return {
    parts: parts.flatMap(({ manifest }, at) => {
      const index = recording.parts[at]
      const aligned = parts.length === 1 ? undefined : alignments[at]
      return index === undefined ? [] : [receiptPart(manifest, index, aligned)]
    }),
    tracks: receiptTracks(result),
    ...(pauses.length === 0
      ? {}
      : {
          pauses: pauses.map(({ wallMs, ...pause }) => ({
            ...pause,
            ...(wallMs === undefined ? {} : { wallMs })
          }))
        }),
    durationMs: muxed.streams.length > 0 ? muxed.durationMs : Math.max(0, ...textEnds)
  }
}

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
