/**
 * Whether a muxed file is what was put into it: every stream decodes without an error, the decoder returns exactly the frames that
 * were muxed to be shown, and first frame, last frame and duration agree.
 */
import * as Effect from "effect/Effect"
import type { FfmpegMissing, FfmpegStalled } from "../MediaError.ts"
import { probe } from "./Ffprobe.ts"
import type { TrackNumber } from "./JournalFormat.ts"
import type { MuxedFile } from "./Mux.ts"

/** Times in the file are whole milliseconds; anything beyond rounding is a fault. */
export const toleranceMs = 2

export interface Verdict {
  /** What is wrong with the file; nothing is good news. */
  readonly problems: ReadonlyArray<string>
  /** Tracks that did not decode to what was muxed. */
  readonly undecodable: ReadonlyArray<TrackNumber>
}

/** `silenceMs`: how long ffmpeg may stand still. */
export const verify: (
  file: string,
  muxed: MuxedFile,
  silenceMs?: number
) => Effect.Effect<Verdict, FfmpegMissing | FfmpegStalled> = Effect.fnUntraced(
  function* (file, muxed, silenceMs) {
    const probed = yield* probe(file, silenceMs)
    const undecodable: Array<TrackNumber> = []
    const problems = probed.errors.map((line) => `decoder: ${line}`)
    const differ = (what: string, expected: number, found: number) => {
      if (!(Math.abs(expected - found) <= toleranceMs)) {
        problems.push(`${what} is ${found} ms instead of ${expected} ms`)
      }
    }
    muxed.streams.forEach((stream, index) => {
      const name = `stream ${index} (${stream.stream.track.info.producerId})`
      const decoded = probed.streams.get(index)
      if (decoded === undefined) return void problems.push(`${name} is missing`)
      if (decoded.frames !== stream.shownFrames) {
        undecodable.push(stream.stream.track.track)
        problems.push(`${name} decodes to ${decoded.frames} frames instead of ${stream.shownFrames}`)
      }
      if (stream.firstShownMs === undefined || stream.lastShownMs === undefined) return
      differ(`the first frame of ${name}`, stream.firstShownMs, decoded.firstMs)
      differ(`the last frame of ${name}`, stream.lastShownMs, decoded.lastMs)
    })
    differ("the duration", muxed.durationMs, probed.durationMs)
    return { problems, undecodable }
  }
)
