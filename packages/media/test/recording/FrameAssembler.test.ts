import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import type { Frame } from "../../src/recording/rtp/Frame.ts"
import { makeFrameAssembler } from "../../src/recording/rtp/FrameAssembler.ts"
import type { LossPolicy } from "../../src/recording/rtp/FrameAssembler.ts"
import type { RtpPacket } from "../../src/recording/rtp/RtpPacket.ts"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"
import { makeRtpSequencer } from "../../src/recording/rtp/RtpSequencer.ts"
import { parseVp8Payload } from "../../src/recording/rtp/vp8.ts"
import { realRtp } from "./realRtp.ts"

/** The source's frames, told apart by their timestamps: what the assembler must come to by sequence, marker and descriptor. */
const framesOf = (packets: ReadonlyArray<RtpPacket>) => {
  const frames = new Map<number, { readonly bytes: Buffer; readonly packets: ReadonlyArray<number> }>()
  packets.forEach(({ payload, timestamp }, i) => {
    const before = frames.get(timestamp)
    frames.set(timestamp, {
      bytes: Buffer.concat([
        before?.bytes ?? Buffer.alloc(0),
        parseVp8Payload(payload)?.data ?? Buffer.alloc(0)
      ]),
      packets: [...(before?.packets ?? []), i]
    })
  })
  return [...frames.values()].map((frame) => ({ ...frame, key: ((frame.bytes[0] ?? 1) & 1) === 0 }))
}

const assemble = (packets: ReadonlyArray<RtpPacket>, lossPolicy: LossPolicy) => {
  const frames: Array<Frame> = []
  const drops: Record<string, number> = {}
  const assembler = makeFrameAssembler({
    codec: "vp8",
    emit: (frame) => frames.push(frame),
    drop: (reason) => (drops[reason] = (drops[reason] ?? 0) + 1),
    lossPolicy
  })
  const sequencer = makeRtpSequencer(assembler.push)
  packets.forEach((packet, i) => sequencer.push({ packet, arrivalUs: i * 20_000, ticks: packet.timestamp }))
  sequencer.flush()
  assembler.flush()
  return { bytes: frames.map((frame) => Buffer.concat(frame.data).toString("hex")), drops }
}

const realVideo = Effect.map(realRtp({ seconds: 6 }), ({ video }) =>
  video.flatMap((bytes) => parseRtp(bytes) ?? [])
)

describe("FrameAssembler", () => {
  it.live(
    "keeps exactly the frames of which nothing is missing, from the first whole key frame on",
    () =>
      Effect.gen(function* () {
        const packets = yield* realVideo
        const source = framesOf(packets)
        fc.assert(
          fc.property(fc.uniqueArray(fc.nat(packets.length - 1), { maxLength: 60 }), (lost) => {
            const missing = new Set(lost)
            const kept = packets.filter((_, i) => !missing.has(i))
            const whole = source.map((frame) => frame.packets.every((i) => !missing.has(i)))
            const firstKey = source.findIndex((frame, i) => frame.key && whole[i] === true)
            const wanted = source.filter((_, i) => i >= firstKey && firstKey >= 0 && whole[i] === true)
            assert.deepStrictEqual(
              assemble(kept, "keep").bytes,
              wanted.map((frame) => frame.bytes.toString("hex"))
            )
          }),
          { numRuns: 50 }
        )
      }),
    60_000
  )

  it.live(
    "on request leaves out what follows a loss until the next key frame",
    () =>
      Effect.gen(function* () {
        const packets = yield* realVideo
        const source = framesOf(packets)
        const hit = source[20]?.packets[0] ?? 0
        const nextKey = source.findIndex((frame, i) => i > 20 && frame.key)
        const { bytes, drops } = assemble(
          packets.filter((_, i) => i !== hit),
          "untilKeyFrame"
        )
        assert.deepStrictEqual(
          bytes,
          source.filter((_, i) => i < 20 || i >= nextKey).map((frame) => frame.bytes.toString("hex"))
        )
        const gone = (drops["afterLoss"] ?? 0) + (drops["incompleteFrame"] ?? 0)
        assert.isAtLeast(gone, nextKey - 21)
        assert.isAtMost(gone, nextKey - 20)
      }),
    60_000
  )

  it.live(
    "counts a frame of many packets once, whichever of them is missing",
    () =>
      Effect.gen(function* () {
        const packets = yield* realVideo
        const big = framesOf(packets).find((frame, i) => i > 0 && frame.packets.length > 3)
        for (const lost of big?.packets ?? []) {
          const { drops } = assemble(
            packets.filter((_, i) => i !== lost),
            "keep"
          )
          assert.deepStrictEqual(drops, { incompleteFrame: 1 }, `packet ${lost}`)
        }
        assert.isDefined(big)
      }),
    60_000
  )

  it("passes Opus on packet by packet, and leaves out padding and what is no Opus", () => {
    const frames: Array<Frame> = []
    const drops: Array<string> = []
    const assembler = makeFrameAssembler({
      codec: "opus",
      emit: (frame) => frames.push(frame),
      drop: (reason) => drops.push(reason),
      lossPolicy: "keep"
    })
    for (const payload of ["fc00", "", "ff", "fd0000"]) {
      const packet = { payloadType: 97, marker: false, sequence: 0, timestamp: 0, ssrc: 1 }
      assembler.push(
        { packet: { ...packet, payload: Buffer.from(payload, "hex") }, arrivalUs: 0, ticks: 0 },
        0
      )
    }
    assert.deepStrictEqual(
      frames.map((frame) => frame.durationUs),
      [20_000, 40_000]
    )
    assert.deepStrictEqual(drops, ["padding", "malformedFrame"])
  })
})
