import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { execFileSync } from "node:child_process"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { probe } from "../../src/recording/Ffprobe.ts"
import type { Frame } from "../../src/recording/rtp/Frame.ts"
import { makeFrameAssembler } from "../../src/recording/rtp/FrameAssembler.ts"
import type { LossPolicy } from "../../src/recording/rtp/FrameAssembler.ts"
import { parseRtp, unwrapNear } from "../../src/recording/rtp/RtpPacket.ts"
import { makeRtpSequencer } from "../../src/recording/rtp/RtpSequencer.ts"
import { isWebm, makeWebmWriter } from "../../src/recording/WebmWriter.ts"
import { temporaryFolder } from "./fixtures.ts"
import { realVideo } from "./realVideo.ts"
import type { VideoCodec } from "./realVideo.ts"

const codecs: ReadonlyArray<VideoCodec> = ["vp8", "vp9", "h264", "av1"]
const seconds = 4
/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

const assemble = (codec: VideoCodec, packets: ReadonlyArray<Uint8Array>, lossPolicy: LossPolicy = "keep") => {
  const frames: Array<Frame> = []
  const drops: Record<string, number> = {}
  const assembler = makeFrameAssembler({
    codec,
    emit: (frame) => frames.push(frame),
    drop: (reason) => (drops[reason] = (drops[reason] ?? 0) + 1),
    lossPolicy
  })
  const sequencer = makeRtpSequencer(assembler.push)
  let ticks: number | undefined
  packets.forEach((bytes, i) => {
    const packet = parseRtp(bytes)
    if (packet === undefined) throw new Error("not a packet")
    ticks = unwrapNear(ticks ?? packet.timestamp, packet.timestamp, 32)
    sequencer.push({ packet, arrivalUs: i * 2000, ticks })
  })
  sequencer.flush()
  assembler.flush()
  return { frames, drops, counts: sequencer.counts }
}

/** What a decoder makes of the frames in a file. */
const decode = Effect.fnUntraced(function* (codec: VideoCodec, frames: ReadonlyArray<Frame>) {
  const [first] = frames
  if (first === undefined) throw new Error("no frame")
  const { codecPrivate, height, width } = first
  const writer = makeWebmWriter([{ codec, name: "camera", width, height, channels: 0, codecPrivate }], "test")
  for (const { data, key, ticks } of frames)
    writer.frame(0, Math.round((ticks - first.ticks) / 90), key, data)
  const patches = writer.finish(seconds * 1000)
  const bytes = Buffer.concat(writer.drain())
  for (const patch of patches) bytes.set(patch.bytes, patch.position)
  const file = path.join(yield* temporaryFolder, isWebm([codec]) ? "video.webm" : "video.mkv")
  yield* Effect.promise(() => fsp.writeFile(file, bytes))
  const { errors, streams } = yield* probe(file)
  return { errors, file, ...streams.get(0) }
})

const hexOf = (frames: ReadonlyArray<Frame>) => frames.map(({ data }) => Buffer.concat(data).toString("hex"))

/** A packet as another sender would have numbered it. */
const renumbered = (packet: Buffer, sequence: number, timestamp: number): Buffer => {
  const copy = Buffer.from(packet)
  copy.writeUInt16BE((packet.readUInt16BE(2) + sequence) & 0xffff, 2)
  copy.writeUInt32BE((packet.readUInt32BE(4) + timestamp) >>> 0, 4)
  return copy
}

describe.each(codecs)("%s", (codec) => {
  it.live(
    "comes out of real packets frame for frame, and decodes",
    () =>
      Effect.gen(function* () {
        const source = yield* realVideo({ codec, seconds })
        const { drops, frames } = assemble(codec, source.packets)
        assert.deepStrictEqual(drops, {})
        assert.strictEqual(frames.length, source.frames)
        assert.deepStrictEqual(
          frames.flatMap(({ key }, i) => (key ? [i] : [])),
          [0, 50]
        )
        for (const { height, key, shown, width } of frames) {
          assert.deepStrictEqual([width, height, shown], key ? [320, 240, true] : [0, 0, true])
        }
        const decoded = yield* decode(codec, frames)
        assert.deepInclude(decoded, { errors: [], codec, frames: 100, firstMs: 0, lastMs: 3960 })
      }),
    patience
  )

  it.live(
    "keeps exactly the frames of which nothing is missing, from the first whole key frame on",
    () =>
      Effect.gen(function* () {
        const { packets } = yield* realVideo({ codec, seconds })
        const whole = hexOf(assemble(codec, packets).frames)
        const moments = [...new Set(packets.map((packet) => packet.readUInt32BE(4)))]
        const frameOf = packets.map((packet) => moments.indexOf(packet.readUInt32BE(4)))
        fc.assert(
          fc.property(fc.uniqueArray(fc.nat(packets.length - 1), { maxLength: 40 }), (lost) => {
            const hit = new Set(lost.map((i) => frameOf[i]))
            const begin = [0, 50].find((key) => !hit.has(key)) ?? Infinity
            const missing = new Set(lost)
            const { frames } = assemble(
              codec,
              packets.filter((_, i) => !missing.has(i))
            )
            assert.deepStrictEqual(
              hexOf(frames),
              whole.filter((_, i) => i >= begin && !hit.has(i))
            )
          }),
          { numRuns: 40 }
        )
      }),
    patience
  )

  it.live(
    "decodes without an error after a loss when what follows it is left out until the next key frame",
    () =>
      Effect.gen(function* () {
        const { packets } = yield* realVideo({ codec, seconds })
        const { drops, frames } = assemble(
          codec,
          packets.filter((_, i) => i !== Math.floor(packets.length / 4)),
          "untilKeyFrame"
        )
        assert.strictEqual((drops["incompleteFrame"] ?? 0) + (drops["afterLoss"] ?? 0), 100 - frames.length)
        assert.isAtMost(frames.length, 90)
        const decoded = yield* decode(codec, frames)
        assert.deepInclude(decoded, { errors: [], frames: frames.length })
      }),
    patience
  )

  it.live(
    "loses nothing to packets out of order, twice, and across the end of their numbers",
    () =>
      Effect.gen(function* () {
        const { packets } = yield* realVideo({ codec, seconds })
        const whole = hexOf(assemble(codec, packets).frames)
        const [first = Buffer.alloc(12)] = packets
        const toEnd = [65_500 - first.readUInt16BE(2), 2 ** 32 - 9000 - first.readUInt32BE(4)] as const
        const shaken = packets
          .flatMap((packet, i) => {
            const at = i + (i % 7 === 0 ? 12 : 0)
            const copy = { at, packet: renumbered(packet, ...toEnd) }
            return i % 5 === 0 ? [copy, { ...copy, at: at + 20 }] : [copy]
          })
          .toSorted((a, b) => a.at - b.at)
        const { counts, drops, frames } = assemble(
          codec,
          shaken.map(({ packet }) => packet)
        )
        assert.deepStrictEqual(drops, {})
        assert.deepStrictEqual(hexOf(frames), whole)
        assert.deepInclude(counts, { lost: 0, duplicate: shaken.length - packets.length })
      }),
    patience
  )

  it.live(
    "changes its size at a key frame, in the middle of a file",
    () =>
      Effect.gen(function* () {
        const sizes = ["320x240", "640x480", "160x120"]
        const frames: Array<Frame> = []
        for (const [i, size] of sizes.entries()) {
          const { packets } = yield* realVideo({ codec, seconds: 1, size })
          const own = assemble(codec, packets).frames
          const begin = own[0]?.ticks ?? 0
          frames.push(...own.map((frame) => ({ ...frame, ticks: i * 90_000 + frame.ticks - begin })))
        }
        const { errors, file, frames: decoded } = yield* decode(codec, frames)
        assert.deepStrictEqual({ errors, decoded }, { errors: [], decoded: 75 })
        const shown = execFileSync(
          "ffprobe",
          ["-v", "error", "-show_entries", "frame=width", "-of", "csv=p=0", file],
          {
            encoding: "utf8"
          }
        )
        const widths = shown.split("\n").flatMap((line) => (line === "" ? [] : [Number.parseInt(line, 10)]))
        assert.deepStrictEqual(
          widths,
          [320, 640, 160].flatMap((width) => Array.from({ length: 25 }, () => width))
        )
      }),
    patience
  )
})
