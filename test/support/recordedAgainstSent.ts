/**
 * A computed recording against what was sent to it: its frames as the decoder gives them back, and the frames that were whole in as many
 * packets as it has. Equal, and no packet lost in between, means that nothing is missing up to where it ends.
 */
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { decodeFile } from "./ffprobe.ts"
import type { MediaSender } from "./mediaSender.ts"

const Receipt = Schema.fromJsonString(
  Schema.Struct({
    state: Schema.String,
    computedBy: Schema.String,
    sha256: Schema.String,
    parts: Schema.Array(
      Schema.Struct({
        nodeId: Schema.String,
        packets: Schema.Int,
        gapPackets: Schema.Int,
        damagedRecords: Schema.Int,
        /** Why it was sealed; absent when its process died. */
        sealed: Schema.optionalKey(Schema.String)
      })
    ),
    tracks: Schema.Array(
      Schema.Struct({ producerId: Schema.String, packets: Schema.Int, lostPackets: Schema.Int })
    )
  })
)

/** The receipt beside a result. */
export const readReceipt = (file: string) =>
  Effect.promise(() => readFile(join(dirname(file), "receipt.json"), "utf8")).pipe(
    Effect.flatMap(Schema.decodeEffect(Receipt)),
    Effect.orDie
  )

export const recordedAgainstSent = Effect.fnUntraced(function* (
  { file = "" }: { readonly file?: string },
  { audio, video }: MediaSender
) {
  const receipt = yield* readReceipt(file)
  const track = (producerId: string) => receipt.tracks.find((each) => each.producerId === producerId)
  const { complaints, ...recorded } = yield* decodeFile(file)
  return {
    receipt,
    recorded,
    sent: {
      video: video.framesIn(track("video")?.packets ?? 0),
      audio: audio.framesIn(track("audio")?.packets ?? 0)
    },
    packets: receipt.tracks.reduce((sum, each) => sum + each.packets, 0),
    lostPackets: receipt.tracks.reduce((sum, each) => sum + each.lostPackets, 0),
    complaints
  }
})
