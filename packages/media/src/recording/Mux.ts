/**
 * The second pass over the journals: every frame to its place on the timeline, into one WebM or several, and every message into its text
 * track. Parts are read side by side, the one that is behind first. Holds a few seconds of frames, to bring those of different tracks
 * into order; the length of the recording costs no memory.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fsp from "node:fs/promises"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { attempt } from "./internal/disk.ts"
import type { JoinedRecording, JoinedTrack } from "./Join.ts"
import { openJournal } from "./JournalReader.ts"
import { makeRecordedTracks } from "./RecordedTracks.ts"
import type { LossPolicy } from "./rtp/FrameAssembler.ts"
import type { Placed, Seam, Splice } from "./Splice.ts"
import { makeSplice } from "./Splice.ts"
import { silenceFor } from "./rtp/opus.ts"
import type { TextTrack } from "./TextTrack.ts"
import { makeTextTrack, textHeader } from "./TextTrack.ts"
import type { WebmWriter } from "./WebmWriter.ts"
import { makeWebmWriter } from "./WebmWriter.ts"

/** Longer than a missing packet is waited for, so that a frame that had to wait still finds its place. */
const orderMs = 5000
/** What the last frame of a video track is taken to last when the one before says nothing sensible. */
const usualFrameMs = 33
/** A track without a frame for so long is not there meanwhile: muted. */
const absentMs = 5000

/**
 * A file to be made. `timeline`: it has the recording's. `fromZero`: it begins with its first frame. `filled`: of sound, it has the
 * recording's, and silence wherever nobody speaks.
 */
export interface MuxTarget {
  readonly file: string
  readonly streams: ReadonlyArray<JoinedTrack>
  readonly times: "timeline" | "fromZero" | "filled"
}

export interface TextTarget {
  readonly file: string
  readonly track: JoinedTrack
}

export interface MuxedStream {
  readonly track: JoinedTrack
  frames: number
  shownFrames: number
  /** Of the first and the last frame that a decoder shows; undefined when there is none. */
  firstShownMs: number | undefined
  lastShownMs: number | undefined
  firstMs: number
  /** Start of the last frame written, and its end. */
  lastMs: number
  endMs: number
  /** Where another part goes on with it; changes of the layer are only counted. */
  readonly seams: Array<Seam>
  layerSwitches: number
  /** Frames in the file, and frames left out because another source had the moment, by source. */
  readonly kept: Array<number>
  leftOut: ReadonlyArray<number>
  /** When it was there. */
  readonly presence: Array<{ readonly fromMs: number; toMs: number }>
  /** Of a file that is filled: packets of silence, where the last of them is, and the end of all that is written. */
  filledFrames: number
  lastFilledMs: number
  filledMs: number
}

export interface MuxedRecording {
  /** In the order of the recording's `streams`. */
  readonly streams: ReadonlyArray<MuxedStream>
  readonly texts: ReadonlyMap<JoinedTrack, TextTrack>
  readonly durationMs: number
}

export type MuxError = RecordingStorageError | RecordingFileInvalid | UnsupportedFormat

export const muxRecording: (options: {
  readonly recording: JoinedRecording
  readonly lossPolicy: LossPolicy
  readonly targets: ReadonlyArray<MuxTarget>
  readonly texts: ReadonlyArray<TextTarget>
  readonly software: string
  readonly onProgress: (bytesRead: number) => Effect.Effect<void>
}) => Effect.Effect<MuxedRecording, MuxError> = Effect.fnUntraced(function* (options) {
  const { lossPolicy, recording, software } = options
  const { timeline } = recording
  const lanes = new Map(recording.streams.map((track) => [track, newLane(track)]))
  const texts = new Map(options.texts.map(({ track }) => [track, makeTextTrack()]))
  const files = yield* Effect.forEach(options.targets, (target) => openTarget(target, software))
  const textFiles = yield* Effect.forEach(options.texts, ({ file, track }) =>
    Effect.map(openFile(file), (handle) => ({ file, track, handle }))
  )
  yield* Effect.forEach(textFiles, ({ file, handle }) => append(file, handle, textHeader), { discard: true })

  const laneOf = (stream: JoinedTrack) => {
    const lane = lanes.get(stream)
    if (lane === undefined) throw new Error("BUG: a file is made of a track that is none of its streams")
    return lane
  }
  for (const { target, writer } of files) {
    target.streams.forEach((stream, at) => {
      const lane = laneOf(stream)
      const { muxed } = lane
      if (target.times === "filled") {
        lane.fill = (untilMs) => {
          for (;;) {
            const { ms, packet } = silenceFor(untilMs - muxed.filledMs)
            if (ms === 0) return
            writer.frame(at, Math.round(muxed.filledMs), true, [packet])
            muxed.filledFrames += 1
            muxed.lastFilledMs = Math.round(muxed.filledMs)
            muxed.filledMs += ms
          }
        }
      }
      lane.write = ({ data, durationMs, key }, timeMs) => {
        lane.fill(timeMs)
        writer.frame(at, target.times === "fromZero" ? timeMs - muxed.firstMs : timeMs, key, data)
        muxed.filledMs = timeMs + durationMs
      }
    })
  }

  /** Writes, in the order of their times, the frames and messages before `untilMs`. */
  const release = (untilMs: number) => {
    const all = [...lanes.values()]
    const heads = all.map(({ splice }) => splice.peek(untilMs))
    for (;;) {
      let earliest = -1
      heads.forEach((head, at) => {
        if (head !== undefined && head.timeMs < (heads[earliest]?.timeMs ?? Infinity)) earliest = at
      })
      const lane = all[earliest]
      const head = heads[earliest]
      if (lane === undefined || head === undefined) break
      const { seam, source } = lane.splice.take()
      const timeMs = place(lane.muxed, head)
      lane.muxed.kept[source] = (lane.muxed.kept[source] ?? 0) + 1
      if (seam !== undefined) noteSeam(lane.muxed, seam)
      lane.write(head, timeMs)
      heads[earliest] = lane.splice.peek(untilMs)
    }
    // As time goes on, not all at once when somebody speaks after hours; up to where no frame can come any more.
    if (Number.isFinite(untilMs)) for (const lane of all) lane.fill(untilMs)
  }
  const flush = Effect.fnUntraced(function* (untilMs: number) {
    for (const { handle, target, writer } of files) {
      const pieces = writer.drain()
      if (pieces.length > 0) yield* append(target.file, handle, Buffer.concat(pieces))
    }
    for (const { file, handle, track } of textFiles) {
      const cues = texts.get(track)?.take(untilMs) ?? ""
      if (cues !== "") yield* append(file, handle, cues)
    }
  })

  const parts = yield* Effect.forEach(recording.parts, ({ beginUs, journalFile }, part) =>
    Effect.gen(function* () {
      const reader = yield* openJournal(journalFile)
      const to = new Map(
        recording.tracks.flatMap((track) =>
          track.sources.flatMap((source, at) =>
            source.part === part ? [[source.track.track, { track, source, at }] as const] : []
          )
        )
      )
      const recorded = makeRecordedTracks({
        lossPolicy,
        onFrame: ({ track: number }, frame) => {
          const { at, source, track } = to.get(number) ?? {}
          if (track === undefined || source === undefined || at === undefined) return
          const us = source.times.timeUs(frame.ticks, frame.arrivalUs)
          lanes.get(track)?.splice.push(at, {
            timeMs: timeline.timeMs(part, us),
            key: frame.key,
            shown: frame.shown,
            reordered: frame.reordered,
            durationMs: frame.durationUs / 1000,
            data: frame.data
          })
        }
      })
      const state = { reader, recorded, atMs: timeline.timeMs(part, beginUs) }
      return {
        state,
        step: Effect.map(
          reader.next((record) => {
            state.atMs = Math.max(state.atMs, timeline.timeMs(part, record.arrivalUs))
            if (record._tag === "Data") {
              const { at, track } = to.get(record.track) ?? {}
              if (track !== undefined && at !== undefined) {
                texts.get(track)?.push(at, timeline.timeMs(part, record.arrivalUs), record.data)
              }
            }
            recorded.visit(record)
          }),
          (more) => {
            if (more) return
            recorded.finish()
            state.atMs = Infinity
          }
        )
      }
    })
  )

  for (;;) {
    const behind = parts.reduce((a, b) => (b.state.atMs < a.state.atMs ? b : a))
    if (behind.state.atMs === Infinity) break
    yield* behind.step
    const untilMs = Math.min(...parts.map(({ state }) => state.atMs)) - orderMs
    release(untilMs)
    yield* flush(untilMs)
    yield* options.onProgress(parts.reduce((sum, { state }) => sum + state.reader.stats.bytes, 0))
  }
  const streams = recording.streams.map((stream) => {
    const { muxed, splice } = laneOf(stream)
    muxed.leftOut = splice.leftOut
    return muxed
  })
  const durationMs = Math.max(0, ...streams.map(({ endMs }) => endMs))
  for (const { handle, target, writer } of files) {
    const own = target.streams.map((stream) => laneOf(stream).muxed)
    const lengthMs = Math.max(0, ...own.map((stream) => endOf(stream, target)))
    const patches = writer.finish(lengthMs)
    yield* append(target.file, handle, Buffer.concat(writer.drain()))
    for (const { bytes, position } of patches) {
      yield* attempt("write", target.file, () => handle.write(bytes, 0, bytes.length, position))
    }
  }
  return { streams, texts, durationMs }
}, Effect.scoped)

const openFile = (file: string) =>
  Effect.acquireRelease(
    attempt("create", file, () => fsp.open(file, "w")),
    (open) => Effect.promise(() => open.close())
  )

const append = (file: string, handle: fsp.FileHandle, bytes: Buffer | string) =>
  attempt("append to", file, () => handle.appendFile(bytes))

const openTarget = (
  target: MuxTarget,
  software: string
): Effect.Effect<
  { readonly target: MuxTarget; readonly handle: fsp.FileHandle; readonly writer: WebmWriter },
  RecordingStorageError,
  Scope.Scope
> =>
  Effect.map(openFile(target.file), (handle) => ({
    target,
    handle,
    writer: makeWebmWriter(
      target.streams.map(({ best: { track }, sources }) => ({
        codec: track.codec ?? "vp8",
        name: track.info.producerId,
        width: track.width,
        height: track.height,
        channels: track.info.channels ?? 2,
        codecPrivate: track.codecPrivate,
        keyFrames: sources.reduce((sum, each) => sum + each.track.keyFrames, 0)
      })),
      software
    )
  }))

interface Lane {
  readonly muxed: MuxedStream
  readonly splice: Splice
  write: (frame: Placed, timeMs: number) => void
  fill: (untilMs: number) => void
}

const newLane = (track: JoinedTrack): Lane => ({
  muxed: {
    track,
    frames: 0,
    shownFrames: 0,
    firstShownMs: undefined,
    lastShownMs: undefined,
    firstMs: 0,
    lastMs: -1,
    endMs: 0,
    seams: [],
    layerSwitches: 0,
    kept: track.sources.map(() => 0),
    leftOut: [],
    presence: [],
    filledFrames: 0,
    lastFilledMs: 0,
    filledMs: 0
  },
  splice: makeSplice(track.sources.map((_, rank) => rank)),
  write: () => {},
  fill: () => {}
})

/** Where a stream ends in a file. */
export const endOf = (
  { endMs, filledMs, firstMs }: MuxedStream,
  { times }: Pick<MuxTarget, "times">
): number => {
  switch (times) {
    case "timeline":
      return endMs
    case "fromZero":
      return endMs - firstMs
    case "filled":
      return Math.max(endMs, filledMs)
  }
}

const noteSeam = (muxed: MuxedStream, seam: Seam): void => {
  const { sources } = muxed.track
  if (sources[seam.from]?.part === sources[seam.to]?.part) muxed.layerSwitches += 1
  else muxed.seams.push(seam)
}

/**
 * The frame's time in whole milliseconds, later than the one before it on the same stream: decoders insist. Only a frame that is shown before
 * ones that are decoded before it goes back.
 */
const place = (stream: MuxedStream, frame: Placed): number => {
  const before = stream.lastMs
  const wanted = Math.round(frame.timeMs)
  const goesBack = frame.reordered === true && wanted < before && wanted > stream.firstMs
  const timeMs = goesBack ? wanted : Math.max(wanted, before + 1)
  const step = stream.frames === 0 ? usualFrameMs : Math.min(Math.abs(timeMs - before), 1000)
  if (stream.frames === 0) stream.firstMs = timeMs
  stream.frames += 1
  if (frame.shown) {
    stream.shownFrames += 1
    stream.firstShownMs ??= timeMs
    stream.lastShownMs = Math.max(stream.lastShownMs ?? timeMs, timeMs)
  }
  if (goesBack) {
    // What lies between the last one and those shown right before it says how long a frame lasts.
    stream.endMs = before + Math.min(stream.endMs - before, step)
    return timeMs
  }
  stream.endMs = timeMs + (frame.durationMs > 0 ? frame.durationMs : step)
  stream.lastMs = timeMs
  const there = stream.presence.at(-1)
  if (there === undefined || timeMs - there.toMs > absentMs) {
    stream.presence.push({ fromMs: timeMs, toMs: stream.endMs })
  } else there.toMs = stream.endMs
  return timeMs
}
