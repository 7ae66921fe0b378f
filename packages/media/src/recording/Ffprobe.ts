/**
 * The door to ffmpeg: decodes a file with `ffprobe` and says what came out. What it says is independent of the muxer: frames are
 * counted and timed as the decoder returns them.
 */
import * as Effect from "effect/Effect"
import type { FfmpegStalled } from "../MediaError.ts"
import { FfmpegMissing } from "../MediaError.ts"
import { defaultSilenceMs, runFfmpeg } from "./internal/ffmpegProcess.ts"

const command = "ffprobe"

export { defaultSilenceMs }

export interface FfmpegVersion {
  readonly version: string
}

export interface ProbedStream {
  readonly codec: string
  frames: number
  firstMs: number
  lastMs: number
}

export interface Probe {
  /** By stream index. */
  readonly streams: ReadonlyMap<number, ProbedStream>
  readonly durationMs: number
  /** What ffprobe wrote to standard error at level `error`, and how it ended when that was not well. */
  readonly errors: ReadonlyArray<string>
}

/** To be asked when a node starts: without it no recording could ever be computed. */
export const checkFfmpeg: Effect.Effect<FfmpegVersion, FfmpegMissing> = Effect.suspend(() => {
  let version = ""
  const readVersion = (line: string) => {
    version ||= /^ffprobe version (\S+)/.exec(line)?.[1] ?? ""
  }
  return runFfmpeg(command, ["-hide_banner", "-version"], readVersion, defaultSilenceMs).pipe(
    Effect.catchTag("FfmpegStalled", ({ message }) =>
      Effect.fail(new FfmpegMissing({ command, detail: message }))
    ),
    Effect.flatMap(({ errors }) =>
      version === ""
        ? Effect.fail(new FfmpegMissing({ command, detail: errors.join("; ") || "says no version" }))
        : Effect.succeed({ version })
    )
  )
})

/** Decodes every frame of every stream. */
export const probe = (
  file: string,
  silenceMs: number = defaultSilenceMs
): Effect.Effect<Probe, FfmpegMissing | FfmpegStalled> =>
  Effect.suspend(() => {
    const streams = new Map<number, ProbedStream>()
    const frames = new Map<number, { frames: number; firstMs: number; lastMs: number }>()
    let durationMs = Number.NaN
    const args = [
      ["-hide_banner", "-v", "error", "-of", "compact=nokey=0"],
      // Nobody looks at the pictures: all that is in the file is read and decoded, by two threads, and a third of the work saved.
      ["-threads", "2", "-skip_loop_filter", "all"],
      ["-show_entries", "frame=stream_index,pts_time:stream=index,codec_name:format=duration"],
      [file]
    ].flat()
    const read = (line: string) => {
      const [section, ...pairs] = line.split("|")
      const fields = new Map(pairs.map((pair) => splitOnce(pair)))
      if (section === "frame") {
        const index = Number(fields.get("stream_index"))
        const timeMs = Number(fields.get("pts_time")) * 1000
        const seen = frames.get(index)
        if (seen === undefined) frames.set(index, { frames: 1, firstMs: timeMs, lastMs: timeMs })
        else {
          seen.frames += 1
          seen.lastMs = timeMs
        }
      } else if (section === "stream") {
        const index = Number(fields.get("index"))
        const seen = frames.get(index) ?? { frames: 0, firstMs: 0, lastMs: 0 }
        streams.set(index, { codec: fields.get("codec_name") ?? "", ...seen })
      } else if (section === "format") durationMs = Number(fields.get("duration")) * 1000
    }
    return runFfmpeg(command, args, read, silenceMs).pipe(
      Effect.map(({ errors }) => ({ streams, durationMs, errors }))
    )
  })

const splitOnce = (pair: string): readonly [string, string] => {
  const at = pair.indexOf("=")
  return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)]
}
