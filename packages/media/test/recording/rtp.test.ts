import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { RtpPacket, Vp8RtpPayload } from "werift-rtp"
import { opusSamples } from "../../src/recording/rtp/opus.ts"
import { parseRtp, unwrapNear } from "../../src/recording/rtp/RtpPacket.ts"
import { parseVp8Payload } from "../../src/recording/rtp/vp8.ts"
import { realRtp } from "./realRtp.ts"

describe("RTP", () => {
  it("reads packets as another library writes them, with extensions, contributing sources and padding", () => {
    const packets = fc.record({
      marker: fc.boolean(),
      payloadType: fc.nat(127),
      sequenceNumber: fc.nat(65_535),
      timestamp: fc.nat(2 ** 32 - 1),
      ssrc: fc.nat(2 ** 32 - 1),
      csrc: fc.array(fc.nat(2 ** 32 - 1), { maxLength: 3 }),
      extension: fc.option(fc.uint8Array({ minLength: 1, maxLength: 16 })),
      paddingSize: fc.nat(8),
      payload: fc.uint8Array({ maxLength: 50 })
    })
    fc.assert(
      fc.property(packets, (wanted) => {
        const packet = RtpPacket.deSerialize(Buffer.alloc(12))
        Object.assign(packet.header, wanted, {
          version: 2,
          padding: wanted.paddingSize > 0,
          extensions: wanted.extension === null ? [] : [{ id: 1, payload: Buffer.from(wanted.extension) }]
        })
        packet.payload = Buffer.from(wanted.payload)
        const { marker, payload, payloadType, sequenceNumber, ssrc, timestamp } = wanted
        assert.deepStrictEqual(
          {
            ...parseRtp(packet.serialize()),
            payload: Buffer.from(parseRtp(packet.serialize())?.payload ?? [])
          },
          { marker, payloadType, sequence: sequenceNumber, ssrc, timestamp, payload: Buffer.from(payload) }
        )
      })
    )
  })

  it("takes any bytes without an exception, and only whole packets", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const packet = parseRtp(bytes)
        assert.isAtMost(packet?.payload.length ?? 0, Math.max(0, bytes.length - 12))
        parseVp8Payload(bytes)
        opusSamples(bytes)
      })
    )
    assert.isUndefined(parseRtp(Buffer.from("9061000100000000000000000000ffff", "hex")))
    assert.isUndefined(parseRtp(Buffer.from("a06100010000000000000000ff", "hex")))
  })

  it("unwraps to the nearest number, back and forth", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e9, max: 1e12 }),
        fc.integer({ min: -32_767, max: 32_767 }),
        (from, by) => {
          assert.strictEqual(unwrapNear(from, (((from + by) % 65_536) + 65_536) % 65_536, 16), from + by)
        }
      )
    )
  })

  it.live("finds the same frames in real VP8 as another library", () =>
    Effect.gen(function* () {
      const { video } = yield* realRtp({ seconds: 2 })
      for (const bytes of video) {
        const { payload } = RtpPacket.deSerialize(bytes)
        const theirs = Vp8RtpPayload.deSerialize(payload)
        const ours = parseVp8Payload(payload)
        assert.strictEqual(ours?.begins === "always", theirs.payloadHeaderExist)
        assert.deepStrictEqual(Buffer.from(ours?.data ?? []), Buffer.from(theirs.payload))
      }
    })
  )

  it("reads every form of the VP8 descriptor", () => {
    const forms: ReadonlyArray<readonly [string, boolean]> = [
      ["10", true],
      ["00", false],
      ["11", false],
      ["90 80 05", true],
      ["90 80 8005", true],
      ["90 40 07", true],
      ["90 20 40", true],
      ["90 f0 8005 07 40", true]
    ]
    for (const [descriptor, beginsFrame] of forms) {
      const bytes = Buffer.from(`${descriptor}cafe`.replaceAll(" ", ""), "hex")
      const fragment = parseVp8Payload(bytes)
      assert.strictEqual(fragment?.begins === "always", beginsFrame, descriptor)
      assert.strictEqual(Buffer.from(fragment?.data ?? []).toString("hex"), "cafe", descriptor)
      assert.isUndefined(parseVp8Payload(bytes.subarray(0, -2)), descriptor)
    }
  })

  it("knows how long an Opus packet sounds", () => {
    const samples = (hex: string) => opusSamples(Buffer.from(hex, "hex"))
    assert.strictEqual(samples("fc"), 960)
    assert.strictEqual(samples("e0"), 120)
    assert.strictEqual(samples("18"), 2880)
    assert.strictEqual(samples("fd0000"), 1920)
    assert.strictEqual(samples("ff0300"), 2880)
    for (const bad of ["", "fd00", "fe", "ff", "ff00", "ff3f"]) assert.isUndefined(samples(bad), bad)
  })
})
