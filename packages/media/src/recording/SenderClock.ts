/**
 * Places RTP timestamps on the capturing node's monotonic clock. Pure; no wall clock is in it, neither the node's nor, but for its running, the
 * sender's.
 *
 * Arrival alone gives each track a line: the fastest packet of every ten seconds says where the sender's clock stands, and following it
 * takes the drift out. Where all packets of a while are late (a full queue), the line goes straight from before to after: no clock runs
 * that wrong. A jump of a second begins a new line (a muted track whose timestamps stood still, a restarted sender).
 *
 * Sender reports then shift the line: a report ties an RTP timestamp to the sender's NTP clock, which all tracks of a peer share. That
 * clock is fitted to the node's in the same way, over the reports of all tracks of the peer, so that sound and picture agree. That somebody
 * has set it is seen by the RTP timestamps, which go on; from there on it counts as if it had not been set.
 * Between two reports the shift is interpolated, outside it stays; a report that would shift by more than a second is not believed.
 */
import { unwrapNear } from "./rtp/RtpPacket.ts"

const windowUs = 10_000_000
const jumpUs = 1_000_000
/** No two clocks differ by more in what they call a second, and how far to look for somebody who was less late. */
const greatestDrift = 500e-6
const lateUs = 120_000_000

interface Knot {
  readonly x: number
  readonly y: number
}

/** A function of the arrival time, in one or more pieces of connected straight lines. */
interface Curve {
  readonly at: (x: number) => number
}

/** Keeps the least `y` of every window, and begins a new piece where `y` jumps. `x` must not decrease by much. */
const makeLowerCurve = () => {
  const pieces: Array<Array<Knot>> = []
  let windowStart = 0
  let lastY: number | undefined
  const inTime = () => pieces.map(withoutLate)
  return {
    add: (x: number, y: number): void => {
      let piece = pieces.at(-1)
      if (piece === undefined || lastY === undefined || Math.abs(y - lastY) > jumpUs) {
        piece = []
        pieces.push(piece)
      }
      lastY = y
      const last = piece.at(-1)
      if (last === undefined || x >= windowStart + windowUs) {
        windowStart = x
        piece.push({ x, y })
      } else if (y < last.y) piece[piece.length - 1] = { x, y }
    },
    pieces: (): ReadonlyArray<ReadonlyArray<Knot>> => inTime(),
    curve: (): Curve => {
      const known = inTime()
      // A sender of rubbish makes as many pieces as packets: they are searched, not walked through.
      let latest = -Infinity
      const begins = known.map(([begin]) => (latest = Math.max(latest, begin?.x ?? latest)))
      return {
        // The last piece that has begun by then; before the first, the first.
        at: (x) => interpolate(known[Math.max(countUpTo(begins, x) - 1, 0)] ?? [], x)
      }
    }
  }
}

/** How many of them, which do not decrease, are not greater than `x`. */
const countUpTo = (sorted: ReadonlyArray<number>, x: number): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? Infinity) <= x) low = middle + 1
    else high = middle
  }
  return low
}

/** The knots that are not later than drift explains, seen from those around them. */
const withoutLate = (knots: ReadonlyArray<Knot>): ReadonlyArray<Knot> =>
  knots.filter(({ x, y }, at) => {
    const explains = (other: Knot | undefined) =>
      other !== undefined && other.y + greatestDrift * Math.abs(other.x - x) < y
    for (let i = at - 1; i >= 0 && x - (knots[i]?.x ?? 0) <= lateUs; i--) if (explains(knots[i])) return false
    for (let i = at + 1; (knots[i]?.x ?? Infinity) - x <= lateUs; i++) if (explains(knots[i])) return false
    return true
  })

const interpolate = (knots: ReadonlyArray<Knot>, x: number): number => {
  let low = 0
  let high = knots.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((knots[middle]?.x ?? Infinity) <= x) low = middle + 1
    else high = middle
  }
  const before = knots[low - 1]
  const after = knots[low]
  if (before === undefined) return after?.y ?? 0
  if (after === undefined) return before.y
  return before.y + ((after.y - before.y) * (x - before.x)) / (after.x - before.x)
}

interface Report {
  readonly arrivalUs: number
  readonly ntpUs: number
  readonly rtpTimestamp: number
}

/** The sender clock of one peer, as one capturing process saw it. */
export interface PeerClock {
  /** Reports come in the order of their arrival. `era`: see `set`. */
  readonly report: (arrivalUs: number, ntpUs: number, era: number) => void
  /**
   * The clock of a track of `era` was set by `byUs`; its next era. Each of a peer's tracks sees that for itself, and comes to the same era.
   * A track begins with the era that is current.
   */
  readonly set: (era: number, byUs: number, arrivalUs: number) => number
  readonly era: () => number
  /** NTP as it would be, had it never been set. */
  readonly unset: (ntpUs: number, era: number) => number
  readonly curve: () => Curve
  /**
   * What to add to this node's time to get that of another, which heard the same sender: where both did, or where the other's reports
   * are nearest to these. Undefined when one has heard nothing.
   */
  readonly shiftTo: (other: PeerClock | undefined) => number | undefined
  /** How far the sender's clock is from the node's, era by era: `x` its own time, `y` what to add. */
  readonly offsets: () => ReadonlyArray<ReadonlyArray<Knot>>
}

/** Two tracks measure the same step, each by its own reports. */
const sameStepUs = 30_000

export const makePeerClock = (): PeerClock => {
  const lower = makeLowerCurve()
  const eras: Array<{ readonly setUs: number; readonly fromUs: number }> = [{ setUs: 0, fromUs: -Infinity }]
  const setUs = (era: number) => eras[era]?.setUs ?? 0
  const offsets = () => {
    const knots = lower.pieces().flat()
    return eras.map(({ fromUs, setUs }, era) =>
      knots
        .filter(({ x }) => x >= fromUs && x < (eras[era + 1]?.fromUs ?? Infinity))
        .map(({ x, y }) => ({ x: x - y + setUs, y: y - setUs }))
    )
  }
  return {
    report: (arrivalUs, ntpUs, era) => lower.add(arrivalUs, arrivalUs - (ntpUs - setUs(era))),
    set: (era, byUs, arrivalUs) => {
      const total = setUs(era) + byUs
      const known = eras.findIndex((each, at) => at > era && Math.abs(each.setUs - total) < sameStepUs)
      if (known >= 0) return known
      return eras.push({ setUs: total, fromUs: arrivalUs }) - 1
    },
    era: () => eras.length - 1,
    unset: (ntpUs, era) => ntpUs - setUs(era),
    curve: lower.curve,
    offsets,
    shiftTo: (other) => {
      const own = offsets().find((era) => era.length > 0) ?? []
      const away = (era: ReadonlyArray<Knot>, { x }: Knot) =>
        Math.max((era[0]?.x ?? Infinity) - x, x - (era.at(-1)?.x ?? -Infinity), 0)
      const pairs = (other?.offsets() ?? []).flatMap((era) =>
        era.length === 0 ? [] : own.map((knot) => ({ era, knot, away: away(era, knot) }))
      )
      const nearest = Math.min(...pairs.map((pair) => pair.away))
      const shifts = pairs.flatMap(({ away, era, knot }) =>
        away === nearest ? [interpolate(era, knot.x) - knot.y] : []
      )
      return shifts.toSorted((a, b) => a - b)[shifts.length >> 1]
    }
  }
}

/** A track's reports that are kept: what they tell changes slowly. */
const keptEveryUs = 5_000_000
/** Less than this, RTP and NTP of a sender differ by what one second is to each of them. */
const leastStepUs = 50_000

export interface TrackTimes {
  readonly source: "senderReports" | "arrival"
  /** Microseconds on the node's monotonic clock. `arrivalUs` says which line is meant, not where on it. */
  readonly timeUs: (ticks: number, arrivalUs: number) => number
}

/** The clock of one track. Packets and reports come in the order of their arrival. */
export const makeTrackClock = (clockRate: number, peer: PeerClock) => {
  const lower = makeLowerCurve()
  const reports: Array<Report> = []
  let lastReport: (Report & { readonly ticks: number }) | undefined
  let era: number | undefined
  let first: { readonly ticks: number; readonly arrivalUs: number } | undefined
  let last: { readonly ticks: number; readonly arrivalUs: number } | undefined
  const toUs = (ticks: number) => (ticks * 1_000_000) / clockRate

  return {
    /** Unwraps the timestamp of the next packet: nearest to what the time since the last one lets expect. */
    packet: (timestamp: number, arrivalUs: number): number => {
      const expected =
        last === undefined
          ? timestamp
          : last.ticks + Math.round(((arrivalUs - last.arrivalUs) * clockRate) / 1_000_000)
      const ticks = unwrapNear(expected, timestamp, 32)
      // A packet that was sent before the last one says how late it is, and nothing about the clock.
      if (last !== undefined && ticks < last.ticks && last.ticks - ticks < 5 * clockRate) return ticks
      last = { ticks, arrivalUs }
      first ??= last
      lower.add(arrivalUs, arrivalUs - toUs(ticks))
      return ticks
    },
    report: (report: Report): void => {
      const { arrivalUs } = report
      const before = lastReport
      const elapsed = before === undefined ? 0 : arrivalUs - before.arrivalUs
      const expected = (before?.ticks ?? report.rtpTimestamp) + Math.round((elapsed * clockRate) / 1_000_000)
      lastReport = { ...report, ticks: unwrapNear(expected, report.rtpTimestamp, 32) }
      if (before !== undefined) {
        const byNtp = report.ntpUs - before.ntpUs
        const byRtp = toUs(lastReport.ticks - before.ticks)
        const isStep = Math.abs(byNtp - byRtp) > leastStepUs + greatestDrift * Math.abs(elapsed)
        // One of the two was set, and it is not the one that went on as time did.
        if (isStep && Math.abs(byNtp - elapsed) > Math.abs(byRtp - elapsed)) {
          era = peer.set(era ?? 0, byNtp - byRtp, arrivalUs)
        }
      }
      era ??= peer.era()
      const last = reports.at(-1)
      if (last === undefined || arrivalUs - last.arrivalUs >= keptEveryUs) {
        reports.push({ ...report, ntpUs: peer.unset(report.ntpUs, era) })
      }
      peer.report(arrivalUs, report.ntpUs, era)
    },
    /** To be asked when all packets and reports of all the peer's tracks have been seen. */
    times: (): TrackTimes => {
      const byArrival = lower.curve()
      const peerOffset = peer.curve()
      const shifts: Array<Knot> = []
      for (const report of first === undefined ? [] : reports) {
        const x = report.arrivalUs
        const atNode = report.ntpUs + peerOffset.at(x)
        const line = byArrival.at(x)
        const ticks = unwrapNear(Math.round(((x - line) * clockRate) / 1_000_000), report.rtpTimestamp, 32)
        const shift = atNode - (toUs(ticks) + line)
        if (Math.abs(shift) <= jumpUs && x > (shifts.at(-1)?.x ?? -Infinity)) shifts.push({ x, y: shift })
      }
      return {
        source: shifts.length > 0 ? "senderReports" : "arrival",
        timeUs: (ticks, arrivalUs) =>
          toUs(ticks) + byArrival.at(arrivalUs) + (shifts.length > 0 ? interpolate(shifts, arrivalUs) : 0)
      }
    }
  }
}
export type TrackClock = ReturnType<typeof makeTrackClock>

/** NTP time of a sender report in microseconds since 1900. Exact to a microsecond: it fits into 53 bits. */
export const ntpToUs = (ntpSeconds: number, ntpFraction: number): number =>
  ntpSeconds * 1_000_000 + Math.round((ntpFraction * 1_000_000) / 2 ** 32)
