/** Writes `samples.json`: a few small frames of each codec in their packets, as real encoders make them. They are kept, so that a seed means the same everywhere. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { realRtp } from "../../realRtp.ts"
import { realVideo } from "../../realVideo.ts"

const video = (codec: "vp8" | "vp9" | "h264" | "av1") =>
  realVideo({ codec, seconds: 1, size: "64x48", kbps: 40, packetBytes: 150, keyEvery: 4 })

const program = Effect.gen(function* () {
  const samples = {
    opus: (yield* realRtp({ seconds: 1 })).audio.slice(0, 12),
    vp8: (yield* video("vp8")).packets.slice(0, 40),
    vp9: (yield* video("vp9")).packets.slice(0, 40),
    h264: (yield* video("h264")).packets.slice(0, 40),
    av1: (yield* video("av1")).packets.slice(0, 40)
  }
  const hex = Object.entries(samples).map(([codec, packets]) => [
    codec,
    packets.map((packet) => packet.toString("hex"))
  ])
  const file = path.join(import.meta.dirname, "..", "samples.json")
  fs.writeFileSync(file, `${JSON.stringify(Object.fromEntries(hex), null, 2)}\n`)
})

await Effect.runPromise(program)
