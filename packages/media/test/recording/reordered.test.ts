import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { execFileSync } from "node:child_process"
import { compute } from "../../src/recording/Compute.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"
import { temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import { realVideo } from "./realVideo.ts"

/** No browser sends such; an encoder that sends plain RTP does by default. */
it.live.each(["file", "tracks"] as const)(
  "frames of H.264 that are shown before ones that came before them keep their times: result %s",
  (result) =>
    Effect.gen(function* () {
      const { frames, packets } = yield* realVideo({ codec: "h264", seconds: 2, bFrames: 3 })
      const stamps = packets.flatMap((packet) => parseRtp(packet)?.timestamp ?? [])
      assert.isTrue(stamps.some((stamp, i) => stamp < (stamps[i - 1] ?? 0)))
      const folder = yield* temporaryFolder
      const part = path.join(folder, "rec")
      yield* writePart({
        folder: part,
        manifest: { options: { result } },
        tracks: { video: vp8Track({ mimeType: "video/H264" }) },
        // As a sender in real time: in the order of decoding.
        events: packets.map((packet, i) => ({
          atUs: (i * 2_000_000) / packets.length,
          track: "video",
          packet
        }))
      })
      const receipt = yield* compute(part, { computedBy: "test" }).pipe(
        Effect.provide(RecordingStore.folder(path.join(folder, "results")))
      )
      assert.deepInclude(receipt.tracks[0], { frames, durationMs: 2000, dropped: {} })
      const file = path.join(folder, "results", "rec", receipt.file ?? "none")
      const args = ["-v", "error", "-show_entries", "frame=pts_time", "-of", "csv=p=0", file]
      const shown = execFileSync("ffprobe", args, { encoding: "utf8" })
      assert.deepStrictEqual(
        shown
          .split("\n")
          .flatMap((line) => (line === "" ? [] : [Math.round(Number.parseFloat(line) * 1000)])),
        Array.from({ length: frames }, (_, i) => i * 40)
      )
    }),
  60_000
)
