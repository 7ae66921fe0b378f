/** What ffmpeg is used for besides looking: other containers without encoding again, and encoding. Its priority is this process's. */
import * as Effect from "effect/Effect"
import type { FfmpegMissing, FfmpegStalled } from "../MediaError.ts"
import { defaultSilenceMs, runFfmpeg } from "./internal/ffmpegProcess.ts"

/** The index of a large file is moved to its front without a word about how far that is. */
const movingTakes = 5

/** Its complaints; none means that it went well. `onTime`: how much of the output is made, in milliseconds. */
export const ffmpeg = (
  args: ReadonlyArray<string>,
  silenceMs: number = defaultSilenceMs,
  onTime: (ms: number) => void = () => {}
): Effect.Effect<ReadonlyArray<string>, FfmpegMissing | FfmpegStalled> => {
  const common = ["-hide_banner", "-nostdin", "-y", "-v", "error", "-nostats", "-progress", "pipe:1"]
  const read = (line: string): void => {
    const us = /^out_time_us=(\d+)$/.exec(line)?.[1]
    if (us !== undefined) onTime(Number(us) / 1000)
  }
  const run = runFfmpeg("ffmpeg", [...common, ...args], read, movingTakes * silenceMs)
  return Effect.map(run, ({ errors }) => errors)
}

/** MP4 with its index in front, of the same packets. */
export const toMp4 = (from: string, to: string, silenceMs: number | undefined) =>
  ffmpeg(
    [
      ["-i", from, "-map", "0", "-c", "copy"],
      ["-movflags", "+faststart", "-f", "mp4", to]
    ].flat(),
    silenceMs
  )
