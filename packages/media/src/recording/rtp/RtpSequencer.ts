/**
 * Puts the packets of one SSRC back into the order they were sent in, and says what is missing.
 *
 * Numbers are unwrapped, duplicates left out. A hole is waited for as long as `holdUs` of arrival time; what comes later than
 * that is counted as late. A far jump is believed only when the next packet goes on from it: then the sender has started again.
 */
import { makeMissedNumbers } from "./missedNumbers.ts"
import type { RtpPacket } from "./RtpPacket.ts"
import { unwrapNear } from "./RtpPacket.ts"

export interface TimedPacket {
  readonly packet: RtpPacket
  readonly arrivalUs: number
  /** The RTP timestamp without its wrap-around. */
  readonly ticks: number
}

export interface SequencerCounts {
  /** Sequence numbers that never came, or too late. */
  lost: number
  duplicate: number
  late: number
  restarts: number
}

export interface RtpSequencer {
  readonly counts: Readonly<SequencerCounts>
  readonly push: (packet: TimedPacket) => void
  readonly flush: () => void
  /** Hands over what waits. Whatever comes next is taken for the beginning: nothing before it is missing. */
  readonly restart: () => void
}

/** A packet of RFC 3550's `MAX_DROPOUT` numbers away is no reordering. */
const farJump = 3000

/** Packets held back: two seconds of 50 Mbit/s. Arrivals that stand still or run backwards must not hold more. */
const maxWaiting = 10_000

export interface RtpSequencerOptions {
  /** Microseconds of arrival time to wait for a missing packet. A repaired packet may take some round trips. Default 2 s. */
  readonly holdUs?: number
  /** Microseconds to hold back the very first packets, whose order is not known yet. Default 0.2 s. */
  readonly startUs?: number
}

/** `deliver` gets each packet once, in order, with the count of packets missing right before it. */
export const makeRtpSequencer = (
  deliver: (packet: TimedPacket, missing: number) => void,
  options: RtpSequencerOptions = {}
): RtpSequencer => {
  const holdUs = options.holdUs ?? 2_000_000
  const startUs = options.startUs ?? 200_000
  const counts = { lost: 0, duplicate: 0, late: 0, restarts: 0 }
  /** Waiting, by unwrapped number; in order of arrival. */
  const waiting = new Map<number, TimedPacket>()
  /** Numbers given up, of the last `farJump`: a packet of theirs is late, any other old one a duplicate. */
  const missed = makeMissedNumbers()
  let next: number | undefined
  let highest: number | undefined
  let stray: TimedPacket | undefined
  let missing = 0

  const lowestWaiting = (): number => {
    let lowest = Infinity
    for (const number of waiting.keys()) lowest = Math.min(lowest, number)
    return lowest
  }

  const deliverRun = (): void => {
    if (next === undefined) return
    for (let packet = waiting.get(next); packet !== undefined; packet = waiting.get(next)) {
      waiting.delete(next)
      deliver(packet, missing)
      missing = 0
      next += 1
    }
  }

  const giveUpHole = (): void => {
    const resume = lowestWaiting()
    const hole = resume - (next ?? resume)
    missed.add(resume - hole, resume)
    missed.forgetBefore(resume - farJump)
    counts.lost += hole
    missing += hole
    next = resume
    deliverRun()
  }

  const flush = (): void => {
    while (waiting.size > 0) giveUpHole()
  }

  const accept = (timed: TimedPacket, number: number): void => {
    if (waiting.has(number)) {
      counts.duplicate += 1
      return
    }
    if (next !== undefined && number < next) {
      if (missed.take(number)) {
        counts.late += 1
        counts.lost -= 1
      } else counts.duplicate += 1
      return
    }
    highest = Math.max(highest ?? number, number)
    waiting.set(number, timed)
    if (next === undefined) {
      const [first] = waiting.values()
      const young = first !== undefined && timed.arrivalUs - first.arrivalUs < startUs
      if (young && waiting.size <= maxWaiting) return
      next = lowestWaiting()
    }
    deliverRun()
    for (;;) {
      const [oldest] = waiting.values()
      if (oldest === undefined) break
      if (timed.arrivalUs - oldest.arrivalUs <= holdUs && waiting.size <= maxWaiting) break
      giveUpHole()
    }
  }

  const end = (): void => {
    if (stray !== undefined) counts.late += 1
    stray = undefined
    flush()
  }

  return {
    counts,
    flush: end,
    restart: () => {
      end()
      missed.clear()
      next = undefined
      highest = undefined
      missing = 0
    },
    push: (timed) => {
      const { sequence } = timed.packet
      const number = highest === undefined ? sequence : unwrapNear(highest, sequence, 16)
      if (highest === undefined || Math.abs(number - highest) <= farJump) {
        accept(timed, number)
        return
      }
      const before = stray
      stray = timed
      if (before === undefined) return
      if (sequence !== ((before.packet.sequence + 1) & 0xffff)) {
        counts.late += 1
        return
      }
      flush()
      missed.clear()
      counts.restarts += 1
      // What was between is not known; a frame that was open must not be continued.
      missing += 1
      next = before.packet.sequence
      highest = undefined
      stray = undefined
      accept(before, before.packet.sequence)
      accept(timed, before.packet.sequence + 1)
    }
  }
}
