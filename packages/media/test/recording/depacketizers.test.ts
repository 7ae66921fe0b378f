/** What no encoder at hand sends: the forms of each payload, its limits, and what is refused. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Vp9RtpPayload } from "werift-rtp"
import { parseAv1Payload } from "../../src/recording/rtp/av1.ts"
import type { Codec, Frame } from "../../src/recording/rtp/Frame.ts"
import { makeFrameAssembler } from "../../src/recording/rtp/FrameAssembler.ts"
import { parseH264Payload } from "../../src/recording/rtp/h264.ts"
import { parseSps } from "../../src/recording/rtp/h264Parameters.ts"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"
import { parseVp9Payload } from "../../src/recording/rtp/vp9.ts"
import { realVideo } from "./realVideo.ts"

interface Sent {
  readonly hex: string
  readonly ticks: number
  readonly marker?: boolean
  readonly missing?: number
}

const assemble = (codec: Codec, sent: ReadonlyArray<Sent>, parameterSets = "") => {
  const frames: Array<Frame> = []
  const drops: Array<string> = []
  const assembler = makeFrameAssembler({
    codec,
    emit: (frame) => frames.push(frame),
    drop: (reason) => drops.push(reason),
    lossPolicy: "keep",
    parameterSets
  })
  sent.forEach(({ hex, marker = true, missing = 0, ticks }, sequence) => {
    const payload = Buffer.from(hex.replaceAll(" ", ""), "hex")
    const packet = { payloadType: 96, marker, sequence, timestamp: ticks, ssrc: 1, payload }
    assembler.push({ packet, arrivalUs: 0, ticks }, missing)
  })
  assembler.flush()
  return { frames, drops }
}

const hexOf = (frame: Frame | undefined) => Buffer.concat(frame?.data ?? []).toString("hex")

/** Of libx264: High profile, 320x240. */
const sps = "67 64 00 0d ac d9 41 41 fb 01 10 00 00 03 00 10 00 00 03 03 20 f1 42 99 60".replaceAll(" ", "")
const pps = "68 eb e3 cb 22 c0".replaceAll(" ", "")
const idr = "65 88 84 00 ff".replaceAll(" ", "")
const slice = "41 9a 00 ff".replaceAll(" ", "")
/** A unit as a file holds it, and as STAP-A does. */
const held = (unit: string) => (unit.length / 2).toString(16).padStart(8, "0") + unit
const aggregated = (...units: ReadonlyArray<string>) =>
  `78${units.map((unit) => (unit.length / 2).toString(16).padStart(4, "0") + unit).join("")}`

describe("H.264", () => {
  it("takes one unit, several in a packet, and one in several packets", () => {
    const { drops, frames } = assemble("h264", [
      { hex: aggregated(sps, pps), ticks: 0, marker: false },
      { hex: "7c 85 88 84", ticks: 0, marker: false },
      { hex: "7c 05 00", ticks: 0, marker: false },
      { hex: "7c 45 ff", ticks: 0 },
      { hex: slice, ticks: 3000 }
    ])
    assert.deepStrictEqual(drops, [])
    assert.deepStrictEqual(frames.map(hexOf), [held(sps) + held(pps) + held(idr), held(slice)])
    assert.deepInclude(frames[0], { key: true, width: 320, height: 240 })
    assert.strictEqual(
      Buffer.from(frames[0]?.codecPrivate ?? []).toString("hex"),
      `0164000dffe1${(sps.length / 2).toString(16).padStart(4, "0")}${sps}010006${pps}fdf8f800`
    )
  })

  it("gives each key frame the parameter sets that were sent once, ahead of it, or out of band", () => {
    const whole = held(sps) + held(pps) + held(idr)
    const ahead = assemble("h264", [
      { hex: sps, ticks: 0 },
      { hex: pps, ticks: 0 },
      { hex: idr, ticks: 3000 },
      { hex: idr, ticks: 6000 }
    ])
    assert.deepStrictEqual(ahead.drops, ["noPicture", "noPicture"])
    assert.deepStrictEqual(ahead.frames.map(hexOf), [whole, whole])
    const sets = [sps, pps].map((set) => Buffer.from(set, "hex").toString("base64")).join(",")
    assert.deepStrictEqual(assemble("h264", [{ hex: idr, ticks: 0 }], sets).frames.map(hexOf), [whole])
    const without = assemble("h264", [{ hex: idr, ticks: 0 }], "%%,,=")
    assert.deepStrictEqual(without, { frames: [], drops: ["missingParameters"] })
  })

  it("knows them also after a pause, and begins again with a key frame", () => {
    const frames: Array<Frame> = []
    const drops: Array<string> = []
    const assembler = makeFrameAssembler({
      codec: "h264",
      emit: (frame) => frames.push(frame),
      drop: (reason) => drops.push(reason),
      lossPolicy: "keep"
    })
    const send = (hex: string, ticks: number) => {
      const payload = Buffer.from(hex, "hex")
      const packet = { payloadType: 96, marker: true, sequence: 0, timestamp: ticks, ssrc: 1, payload }
      assembler.push({ packet, arrivalUs: 0, ticks }, 0)
    }
    send(aggregated(sps, pps, idr), 0)
    assembler.restart()
    send(slice, 3000)
    send(idr, 6000)
    assert.deepStrictEqual(drops, ["beforeKeyFrame"])
    const whole = held(sps) + held(pps) + held(idr)
    assert.deepStrictEqual(frames.map(hexOf), [whole, whole])
  })

  it("does not take a key frame for whole whose parameter sets were lost", () => {
    const key = (ticks: number, missing: number): ReadonlyArray<Sent> => [
      { hex: aggregated(sps, pps), ticks, marker: false, missing },
      { hex: idr, ticks }
    ]
    const [, picture] = key(3000, 0)
    if (picture === undefined) throw new Error("a key frame has two packets")
    assert.deepStrictEqual(assemble("h264", [...key(0, 0), { ...picture, missing: 1 }]).drops, [
      "incompleteFrame"
    ])
    assert.strictEqual(assemble("h264", [...key(0, 0), ...key(3000, 1)]).frames.length, 2)
  })

  it("refuses interleaved packets, and what is no packet, by name", () => {
    for (const type of ["79", "7a", "7b", "7d"]) {
      assert.strictEqual(parseH264Payload(Buffer.from(`${type}0000000000`, "hex")), "interleaved")
    }
    for (const bad of [
      "60",
      "7e00",
      "7f00",
      "78",
      "780005ff",
      "780000",
      "7800017c",
      "7cc500",
      "7c85",
      "e588"
    ]) {
      assert.strictEqual(parseH264Payload(Buffer.from(bad, "hex")), "malformedFrame", bad)
    }
  })

  it("reads no size out of a parameter set that is cut short or absurd", () => {
    const bytes = Buffer.from(sps, "hex")
    for (let length = 0; length < 9; length++) assert.isUndefined(parseSps(bytes.subarray(0, length)))
    assert.isUndefined(parseSps(Buffer.from("67640028ff".padEnd(80, "0"), "hex")))
    assert.deepInclude(parseSps(bytes), { id: 0, width: 320, height: 240, chromaFormat: 1 })
  })
})

describe("VP9", () => {
  it.live("finds the same frames in real packets as another library", () =>
    Effect.gen(function* () {
      const { packets } = yield* realVideo({ codec: "vp9", seconds: 4 })
      for (const bytes of packets) {
        const payload = Buffer.from(parseRtp(bytes)?.payload ?? [])
        const theirs = Vp9RtpPayload.deSerialize(payload)
        const ours = parseVp9Payload(payload)
        assert.deepStrictEqual(Buffer.from(ours?.data ?? []), Buffer.from(theirs.payload))
        assert.deepStrictEqual([ours?.first, ours?.last], [theirs.bBit === 1, theirs.eBit === 1])
      }
    })
  )

  it("reads every form of the descriptor", () => {
    const forms: ReadonlyArray<readonly [string, "maybe" | "never"]> = [
      ["08", "maybe"],
      ["00", "never"],
      ["88 05", "maybe"],
      ["88 8005", "maybe"],
      ["a8 05 00 07", "maybe"],
      ["b8 05 00", "maybe"],
      // The layer above, which needs the one below; and one that does not.
      ["a8 05 03 07", "never"],
      ["a8 05 02 07", "maybe"],
      ["f8 8005 00 03 05 04", "maybe"],
      // Three layers with their sizes, and a group of two pictures with two and no references.
      ["8a 05 58 0140 00f0 0280 01e0 0500 03c0 02 08 0102 00", "maybe"]
    ]
    for (const [descriptor, begins] of forms) {
      const bytes = Buffer.from(`${descriptor}cafe`.replaceAll(" ", ""), "hex")
      const fragment = parseVp9Payload(bytes)
      assert.strictEqual(fragment?.begins, begins, descriptor)
      assert.strictEqual(Buffer.from(fragment?.data ?? []).toString("hex"), "cafe", descriptor)
      assert.isUndefined(parseVp9Payload(bytes.subarray(0, -2)), descriptor)
    }
    assert.isUndefined(parseVp9Payload(Buffer.from("d8 05 01 01 01 01 cafe".replaceAll(" ", ""), "hex")))
  })
})

describe("AV1", () => {
  it("reads units with a count and without, and refuses what does not add up", () => {
    const elements = (hex: string) =>
      parseAv1Payload(Buffer.from(hex.replaceAll(" ", ""), "hex"))?.elements.map((each) =>
        Buffer.from(each).toString("hex")
      )
    assert.deepStrictEqual(elements("00 02 3010 03 30aabb"), ["3010", "30aabb"])
    assert.deepStrictEqual(elements("10 30aabb"), ["30aabb"])
    assert.deepStrictEqual(elements("20 02 3010 30aabb"), ["3010", "30aabb"])
    assert.deepStrictEqual(elements("30 01 30 02 3010 30aabb"), ["30", "3010", "30aabb"])
    for (const bad of ["00", "10", "20 02 3010", "00 05 30", "00 ffffffffff01 30", "30 01 30"]) {
      assert.isUndefined(elements(bad), bad)
    }
  })

  it("does not begin a frame with what never comes first", () => {
    const begins = (hex: string) => parseAv1Payload(Buffer.from(hex.replaceAll(" ", ""), "hex"))?.begins
    assert.strictEqual(begins("10 30aa"), "maybe")
    assert.strictEqual(begins("10 3400aa"), "maybe")
    // A continuation, tiles, a copy of a header, and a frame of the second spatial layer.
    for (const later of ["90 30aa", "10 20aa", "10 38aa", "10 3408aa"])
      assert.strictEqual(begins(later), "never")
  })
})

describe.each(["vp8", "vp9", "h264", "av1"] as const)("an endless frame of %s", (codec) => {
  it("is given up, and counted once", () => {
    const [begin, more] = {
      vp8: ["10", "00"],
      vp9: ["08", "00"],
      h264: ["7c81 80", "7c01"],
      av1: ["50 30", "d0"]
    }[codec].map((hex) => `${hex}${"00".repeat(10_000)}`)
    const sent = Array.from({ length: 4000 }, (_, i) => ({ hex: (i === 0 ? begin : more) ?? "", ticks: 7 }))
    const { drops, frames } = assemble(
      codec,
      sent.map((each) => ({ ...each, marker: false }))
    )
    assert.deepStrictEqual({ drops, frames }, { drops: ["oversizedFrame"], frames: [] })
  })
})
