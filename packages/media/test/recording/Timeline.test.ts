import { assert, describe, it } from "@effect/vitest"
import { makePeerClock } from "../../src/recording/SenderClock.ts"
import type { TimedPart } from "../../src/recording/Timeline.ts"
import { makeTimeline } from "../../src/recording/Timeline.ts"

const us = 1_000_000

const aPart = (changes: Partial<TimedPart> = {}): TimedPart => ({
  beginUs: 0,
  endUs: 60 * us,
  firstFrameUs: undefined,
  anchor: { atUs: 0, wallMs: 1_795_000_000_000 },
  pauses: [],
  peers: new Map(),
  ...changes
})

/** What a host heard of a sender: reports every second, at the host's time minus `behindUs`, each late by its own delay. */
const heard = (fromUs: number, toUs: number, behindUs: number, delayUs: (at: number) => number) => {
  const clock = makePeerClock()
  for (let ntpUs = fromUs; ntpUs < toUs; ntpUs += us)
    clock.report(ntpUs + behindUs + delayUs(ntpUs), ntpUs, 0)
  return clock
}

describe("a timeline of several parts", () => {
  it("lays hosts on each other by what each sender said to both, and the middle of several senders counts", () => {
    const delay = (at: number) => 5000 + ((at / us) % 7) * 3000
    const senders = [0, 1000 * us, 5 * us].map((ahead, at) => ({ name: `peer${at}`, ahead }))
    const peers = (fromUs: number, toUs: number, behindUs: number) =>
      new Map(
        senders.map(({ ahead, name }, at) => {
          // The third one's way to one of the hosts is longer by half a second.
          const extra = at === 2 && behindUs > 0 ? 500_000 : 0
          return [
            name,
            heard(fromUs + ahead, toUs + ahead, behindUs - ahead, (ntpUs) => delay(ntpUs) + extra)
          ]
        })
      )
    const { alignments, timeMs } = makeTimeline([
      aPart({ beginUs: 10 * us, endUs: 40 * us, peers: peers(10 * us, 40 * us, 0) }),
      aPart({
        beginUs: 7030 * us,
        endUs: 7090 * us,
        anchor: { atUs: 7030 * us, wallMs: 0 },
        peers: peers(30 * us, 90 * us, 7000 * us)
      })
    ])
    assert.deepStrictEqual(alignments, ["own", "senderReports"])
    assert.closeTo(timeMs(1, 7035 * us), 25_000, 10)
  })

  it("goes by the wall clocks where no sender spoke to both, and after each other without any clock", () => {
    const wall = makeTimeline([
      aPart({ anchor: { atUs: 5 * us, wallMs: 1_795_000_000_000 }, beginUs: 5 * us }),
      aPart({ anchor: { atUs: 900 * us, wallMs: 1_795_000_030_000 }, beginUs: 900 * us, endUs: 960 * us })
    ])
    assert.deepStrictEqual(wall.alignments, ["own", "wallClock"])
    assert.strictEqual(wall.timeMs(1, 901 * us), 31_000)
    const none = makeTimeline([aPart(), aPart({ anchor: undefined, beginUs: 500 * us, endUs: 510 * us })])
    assert.deepStrictEqual(none.alignments, ["own", "none"])
    assert.strictEqual(none.timeMs(1, 501 * us), 61_000)
  })

  it("begins with its first frame when that was sent before the part began", () => {
    const { timeMs } = makeTimeline([aPart({ beginUs: 2 * us, firstFrameUs: 1.5 * us })])
    assert.strictEqual(timeMs(0, 2 * us), 500)
  })

  it("cuts pauses out, and says where they were and when by the clock on the wall", () => {
    const pauses = [
      { fromUs: 10 * us, toUs: 20 * us },
      { fromUs: 30 * us, toUs: 31 * us }
    ]
    const timeline = makeTimeline([aPart({ pauses })])
    const at = [5, 10, 15, 20, 25, 30.5, 40].map((seconds) => timeline.timeMs(0, seconds * us))
    assert.deepStrictEqual(at, [5000, 10_000, 10_000, 10_000, 15_000, 20_000, 29_000])
    assert.deepStrictEqual(timeline.pauses, [
      { atMs: 10_000, durationMs: 10_000, wallMs: 1_795_000_010_000 },
      { atMs: 20_000, durationMs: 1000, wallMs: 1_795_000_030_000 }
    ])
  })

  it("keeps what one part captured while the other was paused", () => {
    const anchor = { atUs: 0, wallMs: 0 }
    const { pauses } = makeTimeline([
      aPart({ anchor, endUs: 30 * us, pauses: [{ fromUs: 10 * us, toUs: 30 * us }] }),
      aPart({ anchor, beginUs: 20 * us, endUs: 50 * us, pauses: [{ fromUs: 40 * us, toUs: 45 * us }] })
    ])
    assert.deepStrictEqual(
      pauses.map(({ atMs, durationMs }) => ({ atMs, durationMs })),
      [
        { atMs: 10_000, durationMs: 10_000 },
        { atMs: 30_000, durationMs: 5000 }
      ]
    )
  })
})
