/**
 * Whether a muxed file is what was put into it: every stream decodes without an error, the decoder returns exactly the frames that
 * were muxed to be shown, and first frame, last frame and duration agree.
 */
import * as Effect from "effect/Effect"
import type { FfmpegMissing, FfmpegStalled } from "../MediaError.ts"
import { probe } from "./Ffprobe.ts"
import type { MuxedStream, MuxTarget } from "./Mux.ts"
import { endOf } from "./Mux.ts"

/** Times in the file are whole milliseconds; anything beyond rounding is a fault. */
export const toleranceMs = 2

export interface Verdict {
  /** What is wrong with the file; nothing is good news. */
  readonly problems: ReadonlyArray<string>
  /** Tracks, by their index, that did not decode to what was muxed. */
  readonly undecodable: ReadonlyArray<number>
}

/** `silenceMs`: how long ffmpeg may stand still. */
export const verify: (
  file: string,
  streams: ReadonlyArray<MuxedStream>,
  target: Pick<MuxTarget, "times">,
  silenceMs?: number
) => Effect.Effect<Verdict, FfmpegMissing | FfmpegStalled> = Effect.fnUntraced(
  function* (file, streams, target, silenceMs) {
    const probed = yield* probe(file, silenceMs)
    const undecodable: Array<number> = []
    const problems = probed.errors.map((line) => `decoder: ${line}`)
    const differ = (what: string, expected: number, found: number) => {
      if (!(Math.abs(expected - found) <= toleranceMs)) {
        problems.push(`${what} is ${found} ms instead of ${expected} ms`)
      }
    }
    streams.forEach((stream, at) => {
      const name = `stream ${at} (${stream.track.best.track.info.producerId})`
      const zeroMs = target.times === "fromZero" ? stream.firstMs : 0
      const frames = stream.shownFrames + stream.filledFrames
      const decoded = probed.streams.get(at)
      if (decoded === undefined) return void problems.push(`${name} is missing`)
      if (decoded.frames !== frames) {
        undecodable.push(stream.track.index)
        problems.push(`${name} decodes to ${decoded.frames} frames instead of ${frames}`)
      }
      if (stream.firstShownMs === undefined || stream.lastShownMs === undefined) return
      const isFilledBefore = stream.filledFrames > 0 && stream.firstMs >= 20
      differ(`the first frame of ${name}`, isFilledBefore ? 0 : stream.firstShownMs - zeroMs, decoded.firstMs)
      const lastMs = Math.max(stream.lastShownMs, stream.lastFilledMs)
      differ(`the last frame of ${name}`, lastMs - zeroMs, decoded.lastMs)
    })
    const lengths = streams.map((stream) => endOf(stream, target))
    differ("the duration", Math.max(0, ...lengths), probed.durationMs)
    return { problems, undecodable }
  }
)

/** Of a file that was encoded again, in milliseconds: a frame of the grid, and what an encoder of sound adds. */
const encodedToleranceMs = 100

/** Whether a file that was encoded again decodes without an error, and has what it should for as long as it should. */
export const verifyPlayable = Effect.fnUntraced(function* (
  file: string,
  expected: { readonly hasVideo: boolean; readonly hasAudio: boolean; readonly durationMs: number },
  silenceMs?: number
) {
  const { durationMs, errors, streams } = yield* probe(file, silenceMs)
  const problems = errors.map((line) => `decoder: ${line}`)
  const codecs = [expected.hasVideo ? ["h264"] : [], expected.hasAudio ? ["aac"] : []].flat()
  const found = [...streams.values()].map(({ codec }) => codec)
  if (found.join() !== codecs.join())
    problems.push(`its streams are [${found.join()}] instead of [${codecs.join()}]`)
  const reaches = [durationMs, ...[...streams.values()].map(({ lastMs }) => lastMs)]
  for (const ms of reaches) {
    if (!(Math.abs(ms - expected.durationMs) <= encodedToleranceMs)) {
      problems.push(`it reaches to ${ms} ms instead of ${expected.durationMs} ms`)
    }
  }
  return problems
})
