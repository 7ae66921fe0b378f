import { assert, describe, it } from "@effect/vitest"
import { seededRandom } from "@ebb/actors/testing"
import * as fc from "fast-check"
import { makePeerClock, makeTrackClock } from "../../src/recording/SenderClock.ts"
import type { SenderWorld } from "./sentTime.ts"
import { playSender, worst } from "./sentTime.ts"

/** A sender whose clock runs at `1 + drift` of the node's and stands at another time altogether. */
interface World {
  readonly seconds: number
  readonly drift: number
  /** Milliseconds that the network takes, by packet. */
  readonly delay: (i: number) => number
  readonly lostReport?: (i: number) => boolean
  /** Shifts of the sender's NTP clock, as when somebody sets it. */
  readonly ntpStep?: (atUs: number) => number
}

const ntpEpochUs = 3_900_000_000_000_000
const us = 1_000_000

/**
 * Plays a video and an audio track of one peer and returns, for each packet, by how many milliseconds its computed time is off the time
 * it was captured. The same offset for all is the network's least delay; what must not be is a spread.
 */
const play = (world: World, reports: boolean) => {
  const peer = makePeerClock()
  const tracks = [
    { clock: makeTrackClock(90_000, peer), rate: 90_000, start: 4_294_000_000, gapUs: 40_000, lagUs: 0 },
    { clock: makeTrackClock(48_000, peer), rate: 48_000, start: 12_345, gapUs: 20_000, lagUs: 60_000 }
  ]
  const packets: Array<{
    track: number
    capturedUs: number
    arrivalUs: number
    timestamp: number
    report: boolean
  }> = []
  tracks.forEach(({ rate, start, gapUs, lagUs }, track) => {
    for (let i = 0; i * gapUs < world.seconds * us; i++) {
      const capturedUs = 5_000_000 + i * gapUs
      const senderUs = i * gapUs * (1 + world.drift)
      packets.push({
        track,
        capturedUs,
        // An encoder holds audio back longer than video: arrival alone cannot know.
        arrivalUs: capturedUs + lagUs + world.delay(packets.length) * 1000,
        timestamp: (start + Math.round((senderUs * rate) / us)) % 2 ** 32,
        report: i % 50 === 10
      })
    }
  })
  packets.sort((a, b) => a.arrivalUs - b.arrivalUs)
  const placed = packets.map((packet, i) => {
    const clock = tracks[packet.track]?.clock
    const ticks = clock?.packet(packet.timestamp, packet.arrivalUs) ?? 0
    if (reports && packet.report && world.lostReport?.(i) !== true) {
      const senderUs = (packet.capturedUs - 5_000_000) * (1 + world.drift)
      clock?.report({
        arrivalUs: packet.arrivalUs,
        ntpUs: ntpEpochUs + senderUs + (world.ntpStep?.(packet.capturedUs) ?? 0),
        rtpTimestamp: packet.timestamp
      })
    }
    return { ...packet, ticks }
  })
  const times = tracks.map(({ clock }) => clock.times())
  const errors = placed.map(({ track, ticks, arrivalUs, capturedUs }) => ({
    track,
    ms: ((times[track]?.timeUs(ticks, arrivalUs) ?? Number.NaN) - capturedUs) / 1000
  }))
  const of = (track: number) => errors.filter((each) => each.track === track).map(({ ms }) => ms)
  return { video: of(0), audio: of(1), source: times.map(({ source }) => source) }
}

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length
const spread = (values: ReadonlyArray<number>) =>
  values.reduce((most, value) => Math.max(most, value), -Infinity) -
  values.reduce((least, value) => Math.min(least, value), Infinity)

/** Delays of a real network, the same each time: mostly near the least, sometimes far from it. */
const jitter = (i: number) => 20 + ((i * 7919) % 13) + (i % 97 === 0 ? 150 : 0)

describe("SenderClock", () => {
  it("brings sound and picture of a peer together by its reports, though one takes longer to come", () => {
    const { audio, source, video } = play({ seconds: 60, drift: 0, delay: jitter }, true)
    assert.deepStrictEqual(source, ["senderReports", "senderReports"])
    assert.isBelow(Math.abs(mean(audio) - mean(video)), 15)
    assert.isBelow(spread([...audio, ...video]), 40)
  })

  it("without reports takes the times of arrival, without their jitter", () => {
    const { audio, source, video } = play({ seconds: 60, drift: 0, delay: jitter }, false)
    assert.deepStrictEqual(source, ["arrival", "arrival"])
    assert.isBelow(spread(video), 2)
    assert.isBelow(spread(audio), 2)
    assert.closeTo(mean(audio) - mean(video), 60, 2)
  })

  it("follows a sender whose clock drifts by 100 ppm for an hour, with reports and without", () => {
    for (const reports of [true, false]) {
      for (const drift of [100e-6, -100e-6]) {
        const { audio, video } = play({ seconds: 3600, drift, delay: () => 20 }, reports)
        assert.isBelow(spread(video), 3, `video, drift ${drift}, reports ${reports}`)
        assert.isBelow(spread(audio), 3, `audio, drift ${drift}, reports ${reports}`)
      }
    }
  })

  it("does without the reports that are lost: half an hour of them, or all but two", () => {
    const half = play(
      { seconds: 3600, drift: 100e-6, delay: () => 20, lostReport: (i) => i > 1000 && i < 130_000 },
      true
    )
    assert.isBelow(spread(half.video), 5)
    let left = 2
    const two = play({ seconds: 600, drift: 100e-6, delay: () => 20, lostReport: () => left-- <= 0 }, true)
    assert.isBelow(spread(two.video), 5)
  })

  it("survives a sender that sets its clock back in the middle", () => {
    const { audio, video } = play(
      { seconds: 60, drift: 0, delay: () => 20, ntpStep: (atUs) => (atUs > 30 * us ? -3600 * us : 0) },
      true
    )
    assert.isBelow(spread([...audio, ...video]), 100)
    assert.isBelow(Math.abs(mean(audio) - mean(video)), 40)
  })

  it("goes over the wrap-around of timestamps, also while nothing comes for ten hours", () => {
    const clock = makeTrackClock(90_000, makePeerClock())
    const first = clock.packet(2 ** 32 - 90_000, 0)
    assert.strictEqual(clock.packet(0, 1 * us) - first, 90_000)
    const tenHours = 36_000
    const ticks = clock.packet((tenHours * 90_000) % 2 ** 32, (tenHours + 1) * us)
    assert.strictEqual(ticks - first, (tenHours + 1) * 90_000)
    assert.closeTo(clock.times().timeUs(ticks, (tenHours + 1) * us), (tenHours + 1) * us, 1000)
  })

  it("places a track again that was muted while its timestamps stood still", () => {
    const clock = makeTrackClock(48_000, makePeerClock())
    const talk = (fromUs: number, fromTicks: number) =>
      Array.from({ length: 300 }, (_, i) => {
        const arrivalUs = fromUs + i * 20_000
        return { arrivalUs, ticks: clock.packet(fromTicks + i * 960, arrivalUs) }
      })
    const packets = [...talk(0, 1000), ...talk(60 * us, 1000 + 300 * 960)]
    const { timeUs } = clock.times()
    for (const { arrivalUs, ticks } of packets) assert.closeTo(timeUs(ticks, arrivalUs), arrivalUs, 1)
  })

  it("does not let a packet that was sent again a second later move the others", () => {
    const clock = makeTrackClock(90_000, makePeerClock())
    const sent = Array.from({ length: 100 }, (_, i) => ({ timestamp: i * 3600, arrivalUs: i * 40_000 }))
    const late = sent.splice(20, 1).map((each) => ({ ...each, arrivalUs: each.arrivalUs + 1_500_000 }))
    const placed = [...sent, ...late]
      .toSorted((a, b) => a.arrivalUs - b.arrivalUs)
      .map((each) => ({ ...each, ticks: clock.packet(each.timestamp, each.arrivalUs) }))
    const { timeUs } = clock.times()
    for (const each of placed) {
      assert.closeTo(timeUs(each.ticks, each.arrivalUs), (each.timestamp * us) / 90_000, 1000)
    }
  })

  it("never goes backwards on a track, whatever the network does", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(500), { minLength: 10, maxLength: 300 }), (delays) => {
        const clock = makeTrackClock(90_000, makePeerClock())
        let arrivalUs = 0
        const placed = delays.map((delay, i) => {
          arrivalUs = Math.max(arrivalUs, i * 40_000 + delay * 1000)
          return { arrivalUs, ticks: clock.packet(i * 3600, arrivalUs) }
        })
        const { timeUs } = clock.times()
        const times = placed.map((each) => timeUs(each.ticks, each.arrivalUs))
        times.forEach((time, i) => assert.isAtLeast(time, (times[i - 1] ?? -Infinity) - 1))
      })
    )
  })
})

/** Two hours of one peer, 20 ms away, its sound 60 ms longer in the encoder. Both counters wrap around. */
const ada: SenderWorld = {
  seed: 1,
  seconds: 7200,
  drift: 100e-6,
  soundDrift: 0,
  delayMs: 20,
  jitterMs: 10,
  soundLagMs: 60
}

const hard: Readonly<Record<string, Partial<SenderWorld>>> = {
  "half of the reports lost": { isReportLost: (_, random) => random < 0.5 },
  "no report for an hour, and a sound card that runs 50 ppm slow": {
    soundDrift: -50e-6,
    isReportLost: (second) => second > 1800 && second < 5400
  },
  "a full queue of 300 ms for a minute, and of 800 ms for half of one": {
    congested: [
      { from: 600, to: 660, ms: 300 },
      { from: 2000, to: 2030, ms: 800 }
    ],
    isReportLost: (_, random) => random < 0.3
  },
  "sound and picture muted for a while, each on its own": {
    muted: [
      { track: 1, from: 1000, to: 1700 },
      { track: 0, from: 3000, to: 3900 }
    ]
  },
  "the sender's wall clock set back by an hour": { set: { at: 3000, by: -3600 } },
  "the sender's wall clock set ahead by half a second": { set: { at: 3000, by: 0.5 } }
}

describe("two hours with clocks that are 100 ppm off", () => {
  for (const [name, world] of Object.entries(hard)) {
    it(`with ${name}: sound and picture of a peer agree within 40 ms, peers within 100 ms`, () => {
      const one = playSender({ ...ada, ...world })
      const other = playSender({ ...ada, ...world, seed: 2, drift: -100e-6, delayMs: 45 })
      const together = Math.max(worst(one.video, one.audio), worst(other.video, other.audio))
      const apart = Math.max(worst(one.video, other.video), worst(one.audio, other.audio))
      console.log(
        `${name}: sound and picture ${together.toFixed(1)} ms off at worst, peers ${apart.toFixed(1)} ms`
      )
      assert.isBelow(together, 40)
      assert.isBelow(apart, 100)
    })
  }
})

it("half an hour of a sender whose timestamps mean nothing is placed as fast as any other", () => {
  const random = seededRandom(1)
  const clock = makeTrackClock(48_000, makePeerClock())
  const packets = Array.from({ length: 90_000 }, (_, i) => {
    const arrivalUs = i * 20_000
    return { arrivalUs, ticks: clock.packet(Math.floor(random() * 2 ** 32), arrivalUs) }
  })
  const before = process.cpuUsage()
  const times = clock.times()
  assert.isTrue(packets.every(({ arrivalUs, ticks }) => Number.isFinite(times.timeUs(ticks, arrivalUs))))
  // 0.04 s; by walking through them 17 s.
  assert.isBelow(process.cpuUsage(before).user / 1e6, 3)
})
