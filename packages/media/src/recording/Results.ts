/**
 * The files of a result, as they were asked for: `file` all tracks as streams of one, `tracks` a file for each, `grid` one to be played.
 * Everything that is not encoded again is verified by counting what the decoder returns. Files are staged here and published by Compute.
 */
import * as Effect from "effect/Effect"
import type { FfmpegMissing, FfmpegStalled } from "../MediaError.ts"
import { makeGrid } from "./Grid.ts"
import type { JoinedRecording, JoinedTrack } from "./Join.ts"
import type { MuxedRecording, MuxedStream, MuxError, MuxTarget } from "./Mux.ts"
import { muxRecording } from "./Mux.ts"
import { toMp4 } from "./Ffmpeg.ts"
import type { StoreError } from "./RecordingStore.ts"
import type { LossPolicy } from "./rtp/FrameAssembler.ts"
import type { Verdict } from "./Verify.ts"
import { verify, verifyPlayable } from "./Verify.ts"
import { isWebm } from "./WebmWriter.ts"

export type ResultKind = "file" | "tracks" | "grid"

/** A staged file and what it is to be called: `<name><suffix>.<extension>`. */
export interface ResultFile {
  readonly path: string
  readonly staged: string
  readonly name: string
  readonly extension: string
  readonly tracks: ReadonlyArray<JoinedTrack>
}

export interface Result extends Verdict {
  readonly recording: JoinedRecording
  readonly muxed: MuxedRecording
  readonly files: ReadonlyArray<ResultFile>
}

export interface ResultOptions {
  readonly kind: ResultKind
  readonly recording: JoinedRecording
  readonly lossPolicy: LossPolicy
  /** A local path to write the file of this name to. */
  readonly stage: (name: string) => Effect.Effect<string, StoreError>
  readonly software: string
  readonly silenceMs: number | undefined
  readonly onMuxed: (bytesRead: number) => Effect.Effect<void>
  readonly onVerify: Effect.Effect<void>
  /** Of what is encoded again, 0 to 1. */
  readonly onEncoded: (fraction: number) => void
}

export const makeResult: (
  options: ResultOptions
) => Effect.Effect<Result, MuxError | StoreError | FfmpegMissing | FfmpegStalled> = Effect.fnUntraced(
  function* (options) {
    const { kind, lossPolicy, recording, silenceMs, software } = options
    const file = Effect.fnUntraced(function* (
      staged: string,
      name: string,
      extension: string,
      tracks: ReadonlyArray<JoinedTrack>
    ): Effect.fn.Return<ResultFile, StoreError> {
      return { path: yield* options.stage(staged), staged, name, extension, tracks }
    })
    const texts = yield* Effect.forEach(recording.texts, (track) =>
      file(`text-${track.index}`, `track-${track.index}-data`, "vtt", [track])
    )
    const { streams } = recording
    const isTogether = kind === "file"
    const medias = yield* isTogether
      ? streams.length === 0
        ? Effect.succeed([])
        : Effect.map(file("media", "recording", extensionOf(streams), streams), (one) => [one])
      : Effect.forEach(streams, (track) =>
          file(`track-${track.index}`, `track-${track.index}-${kindOf(track)}`, extensionOf([track]), [track])
        )
    const muxed = yield* muxRecording({
      recording,
      lossPolicy,
      targets: medias.map((media): MuxTarget => ({
        file: media.path,
        streams: media.tracks,
        times: timesOf(kind, media.tracks)
      })),
      texts: texts.flatMap(({ path, tracks }) => tracks.map((track) => ({ file: path, track }))),
      software,
      onProgress: options.onMuxed
    })

    yield* options.onVerify
    const muxedOf = (tracks: ReadonlyArray<JoinedTrack>): ReadonlyArray<MuxedStream> =>
      muxed.streams.filter(({ track }) => tracks.includes(track))
    const verdicts = yield* Effect.forEach(medias, ({ path, tracks }) =>
      verify(path, muxedOf(tracks), { times: timesOf(kind, tracks) }, silenceMs)
    )
    const verdict = {
      problems: verdicts.flatMap(({ problems }) => problems),
      undecodable: verdicts.flatMap(({ undecodable }) => undecodable)
    }
    if (verdict.problems.length > 0) return { recording, muxed, files: [...medias, ...texts], ...verdict }

    if (kind === "tracks") {
      const wrapped = yield* Effect.forEach(medias, (media) =>
        media.extension === "mkv" ? asMp4(options, media, muxedOf(media.tracks)) : Effect.succeed(media)
      )
      return { recording, muxed, files: [...wrapped, ...texts], ...verdict }
    }
    if (kind === "grid" && medias.length > 0) {
      const grid = yield* file("grid", "recording", "mp4", streams)
      const made = yield* makeGrid({
        inputs: medias.flatMap(({ path, tracks }) => muxedOf(tracks).map((stream) => ({ path, stream }))),
        durationMs: muxed.durationMs,
        target: grid.path,
        silenceMs,
        onFraction: options.onEncoded
      })
      const problems = [...made.problems, ...(yield* verifyPlayable(grid.path, made, silenceMs))]
      return { recording, muxed, files: [grid, ...texts], problems, undecodable: [] }
    }
    return { recording, muxed, files: [...medias, ...texts], ...verdict }
  }
)

/** MP4 is what plays H.264 everywhere; the same pictures, not encoded again, and its index in front. */
const asMp4 = Effect.fnUntraced(function* (
  { silenceMs, stage }: ResultOptions,
  media: ResultFile,
  streams: ReadonlyArray<MuxedStream>
) {
  const staged = `${media.staged}-mp4`
  const path = yield* stage(staged)
  const errors = yield* toMp4(media.path, path, silenceMs)
  const { problems } =
    errors.length > 0 ? { problems: errors } : yield* verify(path, streams, { times: "fromZero" }, silenceMs)
  // What MP4 does not take as it is stays Matroska.
  return problems.length > 0 ? media : { ...media, path, staged, extension: "mp4" }
})

const timesOf = (kind: ResultKind, tracks: ReadonlyArray<JoinedTrack>): MuxTarget["times"] => {
  if (kind === "file") return "timeline"
  // The grid's sound is mixed sample by sample.
  return kind === "grid" && tracks.some(({ best }) => best.track.info.kind === "audio")
    ? "filled"
    : "fromZero"
}

const kindOf = ({ best }: JoinedTrack) => (best.track.info.kind === "audio" ? "audio" : "video")

const extensionOf = (tracks: ReadonlyArray<JoinedTrack>): string =>
  isWebm(tracks.flatMap(({ best }) => best.track.codec ?? [])) ? "webm" : "mkv"
