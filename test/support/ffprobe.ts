/** What ffmpeg's decoder makes of a file: frames by stream, and every complaint. Independent of anything a receipt says. */
import { execFile } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Probed = Schema.fromJsonString(
  Schema.Struct({
    streams: Schema.Array(Schema.Struct({ codec_type: Schema.String, nb_read_frames: Schema.String }))
  })
)

export interface Decoded {
  readonly video: number
  readonly audio: number
  readonly complaints: string
}

export const decodeFile = Effect.fnUntraced(function* (file: string) {
  const args = ["-v", "error", "-count_frames", "-of", "json", "-show_entries"]
  const [json, complaints] = yield* Effect.promise(
    () =>
      new Promise<[string, string]>((resolve, reject) => {
        execFile("ffprobe", [...args, "stream=codec_type,nb_read_frames", file], (error, stdout, stderr) =>
          error === null ? resolve([stdout, stderr]) : reject(error)
        )
      })
  )
  const { streams } = yield* Effect.orDie(Schema.decodeEffect(Probed)(json))
  const frames = (kind: string) =>
    streams
      .filter(({ codec_type }) => codec_type === kind)
      .reduce((sum, stream) => sum + Number(stream.nb_read_frames), 0)
  const decoded: Decoded = { video: frames("video"), audio: frames("audio"), complaints }
  return decoded
})
