/**
 * Places RTP timestamps on the capturing node's monotonic clock. Pure; the wall clock is nowhere in it.
 *
 * Arrival alone gives each track a line: the fastest packet of every ten seconds says where the sender's clock stands, and following
 * it takes the drift out. A jump of a second begins a new line (a muted track whose timestamps stood still, a restarted sender).
 *
 * Sender reports then shift the line: a report ties an RTP timestamp to the sender's NTP clock, which all tracks of a peer share. That
 * clock is fitted to the node's in the same way, over the reports of all tracks of the peer, so that sound and picture agree.
 * Between two reports the shift is interpolated, outside it stays; a report that would shift by more than a second is not believed.
 */
import { unwrapNear } from "./rtp/RtpPacket.ts"

const windowUs = 10_000_000
const jumpUs = 1_000_000

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
    pieces: (): ReadonlyArray<ReadonlyArray<Knot>> => pieces,
    curve: (): Curve => ({
      at: (x) => {
        // The last piece that has begun by then; before the first, the first.
        let piece = pieces[0] ?? []
        for (const candidate of pieces) {
          const [begin] = candidate
          if (begin === undefined || begin.x > x) break
          piece = candidate
        }
        return interpolate(piece, x)
      }
    })
  }
}

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
  /** Reports come in the order of their arrival. */
  readonly report: (arrivalUs: number, ntpUs: number) => void
  readonly curve: () => Curve
  /** How far the sender's clock is from the node's: `x` its own time, `y` what to add. By pieces, the sender's clock may be set. */
  readonly offsets: () => ReadonlyArray<ReadonlyArray<Knot>>
  /**
   * What to add to this node's time to get that of another, which heard the same sender: where both did, or where the other's reports
   * are nearest to these. Undefined when one has heard nothing.
   */
  readonly shiftTo: (other: PeerClock | undefined) => number | undefined
}

export const makePeerClock = (): PeerClock => {
  const lower = makeLowerCurve()
  const offsets = () => lower.pieces().map((piece) => piece.map(({ x, y }) => ({ x: x - y, y })))
  return {
    report: (arrivalUs, ntpUs) => lower.add(arrivalUs, arrivalUs - ntpUs),
    curve: lower.curve,
    offsets,
    shiftTo: (other) => {
      const own = offsets()[0] ?? []
      const theirs = other?.offsets().at(-1) ?? []
      const begin = theirs[0]?.x
      const end = theirs.at(-1)?.x
      if (begin === undefined || end === undefined) return undefined
      const distances = own.map(({ x }) => Math.max(begin - x, x - end, 0))
      const nearest = Math.min(...distances)
      const shifts = own.flatMap(({ x, y }, at) =>
        distances[at] === nearest ? [interpolate(theirs, x) - y] : []
      )
      return shifts.toSorted((a, b) => a - b)[shifts.length >> 1]
    }
  }
}

export interface TrackTimes {
  readonly source: "senderReports" | "arrival"
  /** Microseconds on the node's monotonic clock. `arrivalUs` says which line is meant, not where on it. */
  readonly timeUs: (ticks: number, arrivalUs: number) => number
}

/** The clock of one track. Packets and reports come in the order of their arrival. */
export const makeTrackClock = (clockRate: number, peer: PeerClock) => {
  const lower = makeLowerCurve()
  const reports: Array<Report> = []
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
      reports.push(report)
      peer.report(report.arrivalUs, report.ntpUs)
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
