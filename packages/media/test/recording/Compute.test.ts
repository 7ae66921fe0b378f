import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { compute } from "../../src/recording/Compute.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { arriving, opusTrack, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import { realRtp } from "./realRtp.ts"

describe("compute", () => {
  it.live("makes one verified file of real VP8 and Opus, with every frame that was sent", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const source = yield* realRtp({ seconds: 6 })
      const part = path.join(folder, "rec")
      yield* writePart({
        folder: part,
        tracks: { video: vp8Track, audio: opusTrack },
        events: [
          ...arriving("video", source.video, 90_000, 100_000),
          ...arriving("audio", source.audio, 48_000, 50_000)
        ]
      })
      const receipt = yield* compute(part, { computedBy: "test" }).pipe(
        Effect.provide(RecordingStore.folder(path.join(folder, "results")))
      )
      console.log(JSON.stringify(receipt, null, 1))
      assert.strictEqual(receipt.tracks.length, 2)
    })
  )
})
