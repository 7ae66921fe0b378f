/** Looks at the files themselves: every recording decoded to the end, its frames counted against what was sent. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { run, words } from "./clip.ts"
import type { MediaRoom } from "./MediaRoom.ts"

export interface Checked {
  readonly recordingId: string
  readonly file: string | undefined
  readonly framesSent: number
  readonly framesRecorded: number
  readonly audioFramesSent: number
  readonly audioFramesRecorded: number
  readonly sentSeconds: number
  readonly recordedSeconds: number
  /** Empty when it is whole. */
  readonly problem: string
  /** When its receipt was written, wall clock. */
  readonly receiptAtMs: number | undefined
}

interface Probed {
  readonly streams: ReadonlyArray<{ readonly codec_type: string; readonly nb_read_frames?: string }>
  readonly format: { readonly duration?: string; readonly start_time?: string }
}

/** `store` is the folder of results. Durations may differ by a frame at each end. */
export const checkRecording = Effect.fnUntraced(function* (
  store: string,
  room: MediaRoom,
  recordingId: string
) {
  const folder = path.join(store, recordingId)
  const receiptFile = path.join(folder, "receipt.json")
  const file = path.join(folder, "recording.webm")
  const sent = {
    recordingId,
    framesSent: room.video.frames,
    audioFramesSent: room.audio.frames,
    sentSeconds: Math.max(room.video.seconds, room.audio.seconds)
  }
  const lost = (problem: string): Checked => ({
    ...sent,
    file: undefined,
    framesRecorded: 0,
    audioFramesRecorded: 0,
    recordedSeconds: 0,
    problem,
    receiptAtMs: undefined
  })
  if (!fs.existsSync(receiptFile)) return lost("it has no receipt")
  if (!fs.existsSync(file)) return lost("it has a receipt and no file")
  const receiptAtMs = fs.statSync(receiptFile).mtimeMs
  const decoded = yield* Effect.exit(run("ffmpeg", words(`-v error -xerror -i ${file} -f null -`)))
  if (decoded._tag === "Failure") return lost("it does not decode to the end")
  const query = words(
    "-v error -count_frames -show_entries stream=codec_type,nb_read_frames:format=duration,start_time -of json"
  )
  const probed: Probed = JSON.parse(yield* run("ffprobe", [...query, file]))
  const frames = (type: string) =>
    probed.streams
      .filter((stream) => stream.codec_type === type)
      .reduce((sum, stream) => sum + Number(stream.nb_read_frames ?? 0), 0)
  const framesRecorded = frames("video")
  const audioFramesRecorded = frames("audio")
  // The timeline begins when the recording did; what is compared begins with the first frame.
  const recordedSeconds = Number(probed.format.duration ?? 0) - Number(probed.format.start_time ?? 0)
  const problems = [
    framesRecorded === sent.framesSent ? "" : `${sent.framesSent} frames sent, ${framesRecorded} recorded`,
    audioFramesRecorded === sent.audioFramesSent
      ? ""
      : `${sent.audioFramesSent} audio frames sent, ${audioFramesRecorded} recorded`,
    Math.abs(recordedSeconds - sent.sentSeconds) < 0.5
      ? ""
      : `${sent.sentSeconds.toFixed(2)} s sent, ${recordedSeconds.toFixed(2)} s recorded`
  ]
  const checked: Checked = {
    ...sent,
    file,
    framesRecorded,
    audioFramesRecorded,
    recordedSeconds,
    receiptAtMs,
    problem: problems.filter((problem) => problem !== "").join("; ")
  }
  return checked
})
