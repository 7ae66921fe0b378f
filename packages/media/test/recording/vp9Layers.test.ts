import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { Frame } from "../../src/recording/rtp/Frame.ts"
import { makeFrameAssembler } from "../../src/recording/rtp/FrameAssembler.ts"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"
import { makeWebmWriter } from "../../src/recording/WebmWriter.ts"
import { temporaryFolder } from "./fixtures.ts"
import { realVideo } from "./realVideo.ts"

const seconds = 4

interface Payload {
  readonly hex: string
  readonly data: Uint8Array
  readonly picture: number
  readonly marker: boolean
}

const assemble = (payloads: ReadonlyArray<Payload>) => {
  const frames: Array<Frame> = []
  const drops: Array<string> = []
  const assembler = makeFrameAssembler({
    codec: "vp9",
    emit: (frame) => frames.push(frame),
    drop: (reason) => drops.push(reason),
    lossPolicy: "keep"
  })
  payloads.forEach(({ data, hex, marker, picture }, sequence) => {
    const payload = Buffer.concat([Buffer.from(hex, "hex"), data])
    const packet = { payloadType: 98, marker, sequence, timestamp: 0, ssrc: 1, payload }
    assembler.push({ packet, arrivalUs: 0, ticks: picture * 7200 }, 0)
  })
  return { frames, drops }
}

/** The pictures that ffmpeg shows, each by its digest. */
const shown = Effect.fnUntraced(function* (frames: ReadonlyArray<Frame>) {
  const track = { codec: "vp9", name: "camera", width: 320, height: 240, channels: 0 } as const
  const writer = makeWebmWriter([track], "test")
  frames.forEach(({ data, key }, i) => writer.frame(0, i * 40, key, data))
  const patches = writer.finish(frames.length * 40)
  const bytes = Buffer.concat(writer.drain())
  for (const patch of patches) bytes.set(patch.bytes, patch.position)
  const file = path.join(yield* temporaryFolder, "video.webm")
  yield* Effect.promise(() => fsp.writeFile(file, bytes))
  const args = ["-v", "error", "-xerror", "-i", file, "-fps_mode", "passthrough", "-f", "framemd5", "-"]
  return execFileSync("ffmpeg", args, { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => (line.startsWith("#") || line === "" ? [] : [line.split(",").at(-1)?.trim()]))
})

/** One after the other, each in a packet of its own. */
const realFrames = Effect.map(realVideo({ codec: "vp9", seconds, resilient: true }), ({ packets }) => {
  const frames: Array<Frame> = []
  const assembler = makeFrameAssembler({
    codec: "vp9",
    emit: (frame) => frames.push(frame),
    drop: () => {},
    lossPolicy: "keep"
  })
  for (const bytes of packets) {
    const packet = parseRtp(bytes)
    if (packet !== undefined) assembler.push({ packet, arrivalUs: 0, ticks: packet.timestamp }, 0)
  }
  return frames
})

const wholeOf = (frame: Frame | undefined): Uint8Array => Buffer.concat(frame?.data ?? [])

describe("spatial layers of VP9", () => {
  it.live(
    "are one frame of the file, of which ffmpeg shows the highest alone, bit for bit",
    () =>
      Effect.gen(function* () {
        const source = yield* realFrames
        const before = yield* shown(source)
        assert.strictEqual(before.length, 100)
        // Two frames of the stream take the places of two layers: the second is predicted from the first, as a higher layer is.
        const { drops, frames } = assemble(
          source.flatMap((frame, i): ReadonlyArray<Payload> => {
            const upper = i % 2
            const whole = wholeOf(frame)
            const picture = i >> 1
            const cut = Math.floor(whole.length / 2)
            const layers = upper === 0 ? "00" : "03"
            return [
              { hex: `a880${layers}`, data: whole.subarray(0, cut), picture, marker: false },
              { hex: `a480${layers}`, data: whole.subarray(cut), picture, marker: upper === 1 }
            ].map((payload) => ({
              ...payload,
              // Picture id, layer, and the number of the lowest temporal layer's picture.
              hex: `${payload.hex.slice(0, 2)}05${layers}07`
            }))
          })
        )
        assert.deepStrictEqual(drops, [])
        assert.strictEqual(frames.length, 50)
        assert.deepStrictEqual(
          frames.map(({ key }) => key),
          frames.map((_, i) => i % 25 === 0)
        )
        assert.deepInclude(frames[0], { width: 320, height: 240, shown: true })
        assert.deepStrictEqual(
          yield* shown(frames),
          before.filter((_, i) => i % 2 === 1)
        )
      }),
    60_000
  )

  it.live(
    "may be fewer in one picture than in another, and a single one is left as it is",
    () =>
      Effect.gen(function* () {
        const [key, second, third] = yield* realFrames
        const { frames } = assemble([
          { hex: "ac050007", data: wholeOf(key), picture: 0, marker: false },
          { hex: "ac050307", data: wholeOf(second), picture: 0, marker: true },
          { hex: "ac060008", data: wholeOf(third), picture: 1, marker: true }
        ])
        assert.strictEqual(frames.length, 2)
        assert.deepStrictEqual(wholeOf(frames[1]), wholeOf(third))
      }),
    60_000
  )

  it.live(
    "have a size also where the highest one repeats a picture",
    () =>
      Effect.gen(function* () {
        const [key] = yield* realFrames
        const { frames } = assemble([
          { hex: "ac050007", data: wholeOf(key), picture: 0, marker: false },
          { hex: "ac050307", data: Buffer.of(0x88), picture: 0, marker: true }
        ])
        assert.deepInclude(frames[0], { key: true, width: 320, height: 240, shown: true })
        assert.strictEqual((yield* shown(frames)).length, 1)
      }),
    60_000
  )
})
