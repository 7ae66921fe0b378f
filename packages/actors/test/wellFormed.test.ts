import { seededRandom } from "../src/testing/index.ts"
import { assert, describe, it } from "@effect/vitest"
import { decode, encode } from "@msgpack/msgpack"
import * as Exit from "effect/Exit"
import { pack, unpack } from "../src/Envelope.ts"
import { flawOf, maxDepth } from "../src/internal/wellFormed.ts"

const everyKind = {
  nothing: null,
  yes: true,
  no: false,
  numbers: [
    0,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 32,
    2 ** 53 - 1,
    -1,
    -32,
    -33,
    -129,
    -32_769,
    -(2 ** 31) - 1
  ],
  fraction: 0.5,
  texts: ["", "a", "b".repeat(40), "c".repeat(300), "d".repeat(70_000)],
  bytes: [new Uint8Array(3), new Uint8Array(300), new Uint8Array(70_000)],
  manyValues: Array.from({ length: 70_000 }, (_, n) => n % 7),
  some: Array.from({ length: 20 }, () => ({})),
  manyKeys: Object.fromEntries(Array.from({ length: 66_000 }, (_, n) => [`k${n}`, n]))
}

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])

describe("bytes from outside", () => {
  it("are taken when they are one whole value of whatever kinds", () => {
    assert.strictEqual(flawOf(encode(everyKind)), undefined)
    assert.strictEqual(flawOf(Uint8Array.of(0xca, 0, 0, 0, 0)), undefined)
  })

  it("are refused at every length at which they are cut off", () => {
    const whole = encode({
      ...everyKind,
      texts: ["a", "b".repeat(300)],
      bytes: [new Uint8Array(300)],
      manyValues: [],
      manyKeys: {}
    })
    for (let length = 0; length < whole.length; length++) {
      assert.match(String(flawOf(whole.subarray(0, length))), /truncated/, `${length} bytes`)
    }
    assert.strictEqual(flawOf(whole), undefined)
  })

  it("are refused when something follows", () => {
    assert.match(String(flawOf(Uint8Array.of(0x80, 0x00))), /1 bytes after the end/)
  })

  it("are refused when they are nested deeper than any message", () => {
    assert.strictEqual(flawOf(encode(nested(maxDepth))), undefined)
    assert.match(String(flawOf(encode(nested(maxDepth + 1)))), /more than 32/)
    assert.match(String(flawOf(new Uint8Array(1024 * 1024).fill(0x91))), /more than 32/)
  })

  it("are refused when they claim more than they can hold, before anything is allocated", () => {
    // Each of these 200,000 headers claims 65,536 elements: half a megabyte, if it were believed.
    const claims = new Uint8Array(1_000_000)
    for (let at = 0; at < claims.length; at += 5) claims.set([0xdd, 0, 1, 0, 0], at)
    const before = process.memoryUsage().rss
    assert.isTrue(Exit.isFailure(unpack(claims)))
    assert.isBelow(process.memoryUsage().rss - before, 50e6)
    assert.match(String(flawOf(Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff, 0x01))), /truncated/)
  })

  it("are refused with extension types and with the byte that has no meaning", () => {
    for (const ext of [
      [0xc7, 0, 1],
      [0xd4, 1, 0],
      [0xd6, 0xff, 0, 0, 0, 0]
    ]) {
      assert.match(String(flawOf(Uint8Array.from(ext))), /extension/)
    }
    assert.match(String(flawOf(Uint8Array.of(0xc1))), /no type 0xc1/)
  })

  it("are found whole exactly when a decoder finds them so", () => {
    const random = seededRandom(20_241_123)
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 12) }, () =>
        Math.floor(random() * 256)
      )
      const flaw = flawOf(bytes)
      if (flaw !== undefined && !/truncated|after the end/.test(flaw)) continue
      const error = thrownBy(() => decode(bytes))
      // What it refuses beyond that is about keys, not about the form, and may come first.
      if (error !== undefined && !(error instanceof RangeError)) continue
      assert.strictEqual(
        flaw !== undefined,
        error instanceof RangeError,
        `${Buffer.from(bytes).toString("hex")}: ${flaw}`
      )
    }
  })

  it("never make a decoder keep what a bad one left behind", () => {
    for (const bad of [[0x81, 0x01], [0x81, 0xc0, 0x01], [0x91]])
      assert.isTrue(Exit.isFailure(unpack(Uint8Array.from(bad))))
    assert.deepStrictEqual(unpack(pack({ a: [1] })), Exit.succeed({ a: [1] }))
  })
})

const thrownBy = (run: () => unknown): unknown => {
  try {
    run()
    return undefined
  } catch (error) {
    return error
  }
}
