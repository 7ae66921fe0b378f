import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { makeRtpSequencer } from "../../src/recording/rtp/RtpSequencer.ts"

/** Sends `numbers` (unwrapped) a millisecond apart and returns what was delivered. */
const sequence = (numbers: ReadonlyArray<number>, spacingUs = 1000) => {
  const delivered: Array<number> = []
  const holes: Array<number> = []
  const sequencer = makeRtpSequencer((timed, missing) => {
    delivered.push(timed.ticks)
    if (missing > 0) holes.push(missing)
  })
  numbers.forEach((number, i) =>
    sequencer.push({
      packet: {
        payloadType: 96,
        marker: false,
        sequence: number & 0xffff,
        timestamp: 0,
        ssrc: 1,
        payload: new Uint8Array(1)
      },
      arrivalUs: i * spacingUs,
      ticks: number
    })
  )
  sequencer.flush()
  return { delivered, holes, counts: { ...sequencer.counts } }
}

/** Moves each packet back by up to `distance` places. */
const shuffled = (count: number, distance: number) =>
  fc.array(fc.nat(distance), { minLength: count, maxLength: count }).map((delays) =>
    delays
      .map((delay, i) => ({ i, at: i + delay }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ i }) => i)
  )

const start = fc.integer({ min: 0, max: 70_000 })
const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i)

describe("RtpSequencer", () => {
  it("delivers everything once and in order, however near packets are swapped, over the wrap-around", () => {
    fc.assert(
      fc.property(start, shuffled(200, 30), (first, order) => {
        const { delivered, counts } = sequence(order.map((i) => first + i))
        assert.deepStrictEqual(delivered, range(first, 200))
        assert.deepStrictEqual(counts, { lost: 0, duplicate: 0, late: 0, restarts: 0 })
      })
    )
  })

  it("leaves out duplicates and counts them", () => {
    fc.assert(
      fc.property(start, fc.array(fc.nat(199)), (first, again) => {
        const numbers = range(first, 200).flatMap((number, i) =>
          Array.from({ length: 1 + again.filter((each) => each === i).length }, () => number)
        )
        const { delivered, counts } = sequence(numbers)
        assert.deepStrictEqual(delivered, range(first, 200))
        assert.strictEqual(counts.duplicate, again.length)
      })
    )
  })

  it("counts what never comes, and says before which packet it is missing", () => {
    fc.assert(
      fc.property(start, fc.uniqueArray(fc.integer({ min: 1, max: 198 })), (first, lost) => {
        const numbers = range(first, 200).filter((number) => !lost.includes(number - first))
        const { delivered, holes, counts } = sequence(numbers)
        assert.deepStrictEqual(delivered, numbers)
        assert.strictEqual(counts.lost, lost.length)
        assert.strictEqual(
          holes.reduce((sum, hole) => sum + hole, 0),
          lost.length
        )
      })
    )
  })

  it("waits two seconds for a packet, then goes on without it and calls it late", () => {
    const inTime = [0, 1, 2, ...range(4, 40), 3, ...range(44, 10)]
    assert.strictEqual(sequence(inTime, 40_000).counts.lost, 0)
    const tooLate = [0, 1, 2, ...range(4, 80), 3, ...range(84, 10)]
    const { delivered, counts } = sequence(tooLate, 40_000)
    assert.strictEqual(delivered.includes(3), false)
    assert.deepStrictEqual(counts, { lost: 0, duplicate: 0, late: 1, restarts: 0 })
  })

  it("does not follow a stray packet, and does follow a sender that starts again", () => {
    const stray = sequence([...range(0, 50), 30_000, ...range(50, 50)])
    assert.deepStrictEqual(stray.delivered, range(0, 100))
    assert.strictEqual(stray.counts.late, 1)
    const restart = sequence([...range(0, 50), ...range(30_000, 50)])
    assert.deepStrictEqual(restart.delivered, [...range(0, 50), ...range(30_000, 50)])
    assert.strictEqual(restart.counts.restarts, 1)
    assert.deepStrictEqual(restart.holes, [1])
  })

  it("goes around the numbers several times", () => {
    const { delivered, counts } = sequence(range(65_000, 200_000), 10)
    assert.strictEqual(delivered.length, 200_000)
    assert.strictEqual(counts.lost + counts.restarts, 0)
  })
})
