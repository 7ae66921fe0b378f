/**
 * The second pass over a journal: every frame to its place on the timeline, into one WebM. Holds a few seconds of frames, to
 * bring those of different tracks into order; the length of the recording costs no memory.
 */
import * as Effect from "effect/Effect"
import * as fsp from "node:fs/promises"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { attempt } from "./internal/disk.ts"
import { openJournal } from "./JournalReader.ts"
import type { IndexedStream, PartIndex } from "./PartIndex.ts"
import { makeRecordedTracks } from "./RecordedTracks.ts"
import type { RecordedTrack } from "./RecordedTracks.ts"
import type { Frame } from "./rtp/FrameAssembler.ts"
import { makeWebmWriter } from "./WebmWriter.ts"

/** Longer than a missing packet is waited for, so that a frame that had to wait still finds its place. */
const orderUs = 5_000_000
/** What the last frame of a video track is taken to last when the one before says nothing sensible. */
const usualFrameMs = 33

export interface MuxedStream {
  readonly stream: IndexedStream
  frames: number
  shownFrames: number
  /** Of the first and the last frame that a decoder shows; undefined when there is none. */
  firstShownMs: number | undefined
  lastShownMs: number | undefined
  firstMs: number
  /** Start of the last frame written, and its end. */
  lastMs: number
  endMs: number
}

export interface MuxedFile {
  readonly streams: ReadonlyArray<MuxedStream>
  readonly durationMs: number
}

interface Placed {
  readonly timeMs: number
  readonly key: boolean
  readonly data: ReadonlyArray<Uint8Array>
}

export const muxPart: (options: {
  readonly journalFile: string
  readonly index: PartIndex
  readonly target: string
  readonly software: string
  readonly onProgress: (bytesRead: number) => Effect.Effect<void>
}) => Effect.Effect<MuxedFile, RecordingStorageError | RecordingFileInvalid | UnsupportedFormat> =
  Effect.fnUntraced(function* ({ journalFile, index, target, software, onProgress }) {
    const writer = makeWebmWriter(
      index.streams.map(({ track, codec }) => ({
        codec,
        name: track.info.producerId,
        width: track.width,
        height: track.height,
        channels: track.info.channels ?? 2
      })),
      software
    )
    const muxed = index.streams.map((stream) => newStream(stream))
    const queues: ReadonlyArray<Array<Placed>> = index.streams.map(() => [])
    const streamOf = new Map(index.streams.map(({ track }, at) => [track.track, at]))

    const onFrame = (track: RecordedTrack, frame: Frame): void => {
      const at = streamOf.get(track.track)
      const stream = at === undefined ? undefined : muxed[at]
      if (at === undefined || stream === undefined) return
      const timeMs = place(stream, frame, index.zeroUs)
      queues[at]?.push({ timeMs, key: frame.key, data: frame.data })
    }

    /** Writes, in the order of their times, the frames before `untilMs`. */
    const release = (untilMs: number): void => {
      for (;;) {
        let earliest = -1
        let timeMs = untilMs
        queues.forEach((queue, at) => {
          const [head] = queue
          if (head !== undefined && head.timeMs < timeMs) {
            earliest = at
            timeMs = head.timeMs
          }
        })
        const frame = queues[earliest]?.shift()
        if (frame === undefined) return
        writer.frame(earliest, frame.timeMs, frame.key, frame.data)
      }
    }

    const recorded = makeRecordedTracks({ onFrame, lossPolicy: index.selection.lossPolicy })
    const reader = yield* openJournal(journalFile)
    const handle = yield* Effect.acquireRelease(
      attempt("create", target, () => fsp.open(target, "w")),
      (open) => Effect.promise(() => open.close())
    )
    const flush = Effect.suspend(() => {
      const pieces = writer.drain()
      return pieces.length === 0
        ? Effect.void
        : attempt("append to", target, () => handle.appendFile(Buffer.concat(pieces)))
    })

    let arrivalUs = 0
    yield* reader.forEach(
      (record) => {
        arrivalUs = record.arrivalUs
        recorded.visit(record)
      },
      (bytesRead) => {
        release((arrivalUs - orderUs - index.zeroUs) / 1000)
        return Effect.andThen(flush, onProgress(bytesRead))
      }
    )
    recorded.finish()
    release(Infinity)
    const durationMs = Math.max(0, ...muxed.map((stream) => stream.endMs))
    const patches = writer.finish(durationMs)
    yield* flush
    for (const { position, bytes } of patches) {
      yield* attempt("write", target, () => handle.write(bytes, 0, bytes.length, position))
    }
    return { streams: muxed, durationMs }
  }, Effect.scoped)

const newStream = (stream: IndexedStream): MuxedStream => ({
  stream,
  frames: 0,
  shownFrames: 0,
  firstShownMs: undefined,
  lastShownMs: undefined,
  firstMs: 0,
  lastMs: -1,
  endMs: 0
})

/** The frame's time in whole milliseconds, later than the one before it on the same stream: decoders insist. */
const place = (stream: MuxedStream, frame: Frame, zeroUs: number): number => {
  const us = stream.stream.times.timeUs(frame.ticks, frame.arrivalUs) - zeroUs
  const before = stream.lastMs
  const timeMs = Math.max(Math.round(us / 1000), before + 1)
  const step = stream.frames === 0 ? usualFrameMs : Math.min(timeMs - before, 1000)
  if (stream.frames === 0) stream.firstMs = timeMs
  stream.frames += 1
  if (frame.shown) {
    stream.shownFrames += 1
    stream.firstShownMs ??= timeMs
    stream.lastShownMs = timeMs
  }
  stream.endMs = timeMs + (frame.durationUs > 0 ? frame.durationUs / 1000 : step)
  stream.lastMs = timeMs
  return timeMs
}
