import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Placed } from "../../src/recording/Splice.ts"
import { makeSplice } from "../../src/recording/Splice.ts"

const frame = (timeMs: number, key: boolean, durationMs = 0): Placed => ({
  timeMs,
  key,
  shown: true,
  durationMs,
  data: []
})

/** Frames every 40 ms with a key frame every `keyEvery`, each `offMs` late. */
const video = (fromMs: number, toMs: number, keyEvery: number, offMs = 0) =>
  Array.from({ length: Math.ceil((toMs - fromMs) / 40) }, (_, i) =>
    frame(fromMs + i * 40 + offMs, (fromMs + i * 40) % keyEvery === 0)
  )

/** All that comes out of sources, the worst first, and from which. */
const splice = (...sources: ReadonlyArray<ReadonlyArray<Placed>>) => {
  const spliced = makeSplice(sources.map((_, rank) => rank))
  sources.forEach((frames, source) => frames.forEach((each) => spliced.push(source, each)))
  const out: Array<{ readonly timeMs: number; readonly source: number; readonly key: boolean }> = []
  const seams: Array<{ readonly atMs: number; readonly gapMs: number }> = []
  for (let next = spliced.peek(Infinity); next !== undefined; next = spliced.peek(Infinity)) {
    const { seam, source } = spliced.take()
    if (seam !== undefined) seams.push(seam)
    out.push({ timeMs: next.timeMs, key: next.key, source })
  }
  return { out, seams, leftOut: spliced.leftOut }
}

const sourcesOf = (out: ReadonlyArray<{ readonly source: number }>) =>
  out.map(({ source }) => source).filter((source, i, all) => source !== all[i - 1])

describe("splicing", () => {
  it("goes over to the better source at its key frame, with every frame once", () => {
    const { leftOut, out, seams } = splice(video(0, 4000, 2000), video(2000, 6000, 2000, 3))
    assert.deepStrictEqual(sourcesOf(out), [0, 1])
    assert.strictEqual(out.length, 150)
    assert.deepStrictEqual(leftOut, [50, 0])
    assert.deepInclude(seams[0], { atMs: 2003, gapMs: 3 })
  })

  it("leaves out the frame of the moment of a key frame, whichever of the two clocks is ahead", () => {
    for (const off of [-12, 0, 12]) {
      const { out } = splice(video(0, 4000, 2000), video(2000, 6000, 2000, off))
      assert.strictEqual(out.length, 150, `${off} ms`)
    }
  })

  it("goes back to the other source when the better one falls silent, from a key frame on", () => {
    const { out } = splice(video(0, 10_000, 1000), [...video(2000, 4000, 2000), ...video(8000, 10_000, 2000)])
    assert.deepStrictEqual(sourcesOf(out), [0, 1, 0, 1])
    const back = out.find(({ source, timeMs }) => source === 0 && timeMs > 3000)
    assert.deepInclude(back, { timeMs: 4000, key: true })
  })

  it("leaves the better source out until its key frame comes", () => {
    const { out } = splice(video(0, 4000, 1000), video(1040, 4000, 3000))
    assert.strictEqual(out.find(({ source }) => source === 1)?.timeMs, 3000)
    assert.strictEqual(out.length, 100)
  })

  it("joins sound without a hole and without an overlap of more than half a packet", () => {
    const sound = (fromMs: number, toMs: number) =>
      Array.from({ length: (toMs - fromMs) / 20 }, (_, i) => frame(fromMs + i * 20, true, 20))
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 900 }), (fromMs) => {
        const { out } = splice(sound(0, 1000), sound(fromMs, fromMs + 1000))
        const steps = out.slice(1).map(({ timeMs }, i) => timeMs - (out[i]?.timeMs ?? 0))
        assert.isAtLeast(Math.min(...steps), 10)
        assert.isAtMost(Math.max(...steps), 30)
      })
    )
  })

  it("gives frames in their order, each of them once or counted as left out", () => {
    const source = fc.array(fc.record({ timeMs: fc.nat(5000), key: fc.boolean() }), { maxLength: 60 })
    fc.assert(
      fc.property(fc.array(source, { minLength: 1, maxLength: 4 }), (sources) => {
        const frames = sources.map((each) =>
          each.map(({ key, timeMs }) => frame(timeMs, key)).toSorted((a, b) => a.timeMs - b.timeMs)
        )
        const { leftOut, out } = splice(...frames)
        const times = out.map(({ timeMs }) => timeMs)
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
        const all = frames.reduce((sum, each) => sum + each.length, 0)
        assert.strictEqual(out.length + leftOut.reduce((a, b) => a + b, 0), all)
        // Another source goes on with a key frame and with nothing else.
        out.forEach(({ key, source }, i) => assert.isTrue(i === 0 || out[i - 1]?.source === source || key))
      })
    )
  })
})
