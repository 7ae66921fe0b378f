/**
 * Senders whose truth is known: two tracks of a peer, sent over a network with jitter, congestion and loss by clocks that drift. Says by how much
 * the times that `SenderClock` gives are off, at worst.
 */
import { makePeerClock, makeTrackClock } from "../../src/recording/SenderClock.ts"
import { seededRandom } from "@ebb/actors/testing"

const us = 1_000_000
const ntpEpochUs = 3_900_000_000 * us

export interface SenderWorld {
  readonly seed: number
  readonly seconds: number
  /** Of the sender's clock against the node's, and of its sound card against its own clock. 100e-6 is 100 ppm. */
  readonly drift: number
  readonly soundDrift: number
  /** Milliseconds that the network takes at least. */
  readonly delayMs: number
  /** Milliseconds of jitter on top: of many packets few are this late, some a multiple. */
  readonly jitterMs: number
  /** Seconds in which a full queue adds so many milliseconds. */
  readonly congested?: ReadonlyArray<{ readonly from: number; readonly to: number; readonly ms: number }>
  /** Milliseconds that sound waits in the sender for longer than the picture. */
  readonly soundLagMs: number
  readonly isReportLost?: (second: number, random: number) => boolean
  /** Seconds in which nothing is sent of the track. */
  readonly muted?: ReadonlyArray<{ readonly track: 0 | 1; readonly from: number; readonly to: number }>
  /** By how many seconds somebody has set the sender's clock, from a second on. */
  readonly set?: { readonly at: number; readonly by: number }
}

export interface SentTimes {
  /** For each second of the world, the error in ms of the packets around it; undefined while a track is silent. */
  readonly video: ReadonlyArray<number | undefined>
  readonly audio: ReadonlyArray<number | undefined>
}

export const playSender = (world: SenderWorld): SentTimes => {
  const random = seededRandom(world.seed)
  const peer = makePeerClock()
  const isMuted = (track: number, second: number) =>
    world.muted?.some((each) => each.track === track && second >= each.from && second < each.to) === true
  const tracks = [
    // Both wrap around: the sound soon, the picture right at the beginning.
    { rate: 90_000, start: 2 ** 32 - 90_000 * 5, everyUs: 40_000, lagUs: 0, drift: 0, reportSeconds: 1 },
    {
      rate: 48_000,
      start: 2 ** 32 - 48_000 * 600,
      everyUs: 20_000,
      lagUs: world.soundLagMs * 1000,
      drift: world.soundDrift,
      reportSeconds: 5
    }
  ].map((each) => ({ ...each, clock: makeTrackClock(each.rate, peer), sent: 0, nextReport: 0.3 }))

  interface Packet {
    readonly track: number
    readonly capturedUs: number
    readonly arrivalUs: number
    readonly timestamp: number
    readonly ntpUs?: number
  }
  const delayUs = (second: number): number => {
    const queue = world.congested?.find(({ from, to }) => second >= from && second < to)?.ms ?? 0
    const jitter = -Math.log(1 - random() * 0.9999) * world.jitterMs
    return (world.delayMs + jitter + queue * (0.7 + 0.3 * random())) * 1000
  }
  const errors = tracks.map(() => Array.from({ length: world.seconds }, (): number | undefined => undefined))
  const placed: Array<{
    readonly track: number
    readonly second: number
    readonly ticks: number
    readonly arrivalUs: number
    readonly capturedUs: number
  }> = []
  const seen = tracks.map(() => -1)
  /** What is on its way, in the order of arrival; a second's worth is kept. */
  let flying: Array<Packet> = []
  const land = (untilUs: number): void => {
    flying.sort((a, b) => a.arrivalUs - b.arrivalUs)
    const landed = flying.filter(({ arrivalUs }) => arrivalUs < untilUs)
    flying = flying.filter(({ arrivalUs }) => arrivalUs >= untilUs)
    for (const { arrivalUs, capturedUs, ntpUs, timestamp, track } of landed) {
      const clock = tracks[track]?.clock
      if (ntpUs !== undefined) {
        clock?.report({ arrivalUs, ntpUs, rtpTimestamp: timestamp })
        continue
      }
      const ticks = clock?.packet(timestamp, arrivalUs) ?? 0
      const second = Math.floor(capturedUs / us)
      if (seen[track] === second) continue
      seen[track] = second
      placed.push({ track, second, ticks, arrivalUs, capturedUs })
    }
  }
  for (let second = 0; second < world.seconds; second++) {
    tracks.forEach((each, track) => {
      const rtpAt = (capturedUs: number) =>
        (each.start + Math.round((capturedUs * (1 + world.drift) * (1 + each.drift) * each.rate) / us)) %
        2 ** 32
      for (; each.sent * each.everyUs < (second + 1) * us; each.sent++) {
        const capturedUs = each.sent * each.everyUs
        if (isMuted(track, capturedUs / us)) continue
        const arrivalUs = 1000 * us + capturedUs + each.lagUs + delayUs(second)
        flying.push({ track, capturedUs, arrivalUs, timestamp: rtpAt(capturedUs) })
      }
      for (; each.nextReport < second + 1; each.nextReport += each.reportSeconds * (0.5 + random())) {
        if (isMuted(track, second) || world.isReportLost?.(second, random()) === true) continue
        const sentUs = each.nextReport * us
        const setUs = world.set !== undefined && each.nextReport >= world.set.at ? world.set.by * us : 0
        flying.push({
          track,
          capturedUs: sentUs,
          arrivalUs: 1000 * us + sentUs + delayUs(second),
          timestamp: rtpAt(sentUs),
          ntpUs: ntpEpochUs + sentUs * (1 + world.drift) + setUs
        })
      }
    })
    land(1000 * us + second * us)
  }
  land(Infinity)
  const times = tracks.map(({ clock }) => clock.times())
  for (const { arrivalUs, capturedUs, second, ticks, track } of placed) {
    const at = times[track]?.timeUs(ticks, arrivalUs) ?? Number.NaN
    const own = errors[track]
    if (own !== undefined) own[second] = (at - 1000 * us - capturedUs) / 1000
  }
  return { video: errors[0] ?? [], audio: errors[1] ?? [] }
}

/** The largest difference between two, over all seconds in which both are there. */
export const worst = (a: ReadonlyArray<number | undefined>, b: ReadonlyArray<number | undefined>): number =>
  a.reduce((most: number, each, second) => {
    const other = b[second]
    return each === undefined || other === undefined ? most : Math.max(most, Math.abs(each - other))
  }, 0)
