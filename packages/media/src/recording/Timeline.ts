/**
 * One timeline in milliseconds for all parts of a recording. Each part was timed by its host's monotonic clock; two of these are laid on each
 * other by what the senders' clocks said to both (their sender reports), where there is none by the hosts' wall clocks at the parts' anchors.
 * What was paused is cut out. 0 is the beginning of the first part, or its first frame if that was sent before. Pure.
 */
import type { PeerClock } from "./SenderClock.ts"

export interface Span {
  readonly fromUs: number
  readonly toUs: number
}

/** What a part says of time; everything on its host's monotonic clock. */
export interface TimedPart {
  /** The anchor, or the first record where that is lost; and the last record. */
  readonly beginUs: number
  readonly endUs: number
  /** Of the earliest frame; undefined when there is none. */
  readonly firstFrameUs: number | undefined
  readonly anchor: { readonly atUs: number; readonly wallMs: number } | undefined
  readonly pauses: ReadonlyArray<Span>
  readonly peers: ReadonlyMap<string, PeerClock>
}

/** How a part's clock was laid on the first one's: `none` where neither has an anchor, and it follows what came before. */
export type Alignment = "own" | "senderReports" | "wallClock" | "none"

export interface Timeline {
  /** A moment of a part's clock, in milliseconds and their fractions. Moments of a pause are all the moment of its beginning. */
  readonly timeMs: (part: number, us: number) => number
  readonly alignments: ReadonlyArray<Alignment>
  readonly pauses: ReadonlyArray<{
    readonly atMs: number
    readonly durationMs: number
    /** When it began, by the wall clock of the host, ms since 1970; undefined when no part with an anchor saw it. */
    readonly wallMs: number | undefined
  }>
}

/** The parts in the order of the recording. */
export const makeTimeline = (parts: ReadonlyArray<TimedPart>): Timeline => {
  const shifts: Array<number> = []
  const alignments: Array<Alignment> = []
  parts.forEach((part, at) => {
    const { shiftUs, by } = align(part, parts.slice(0, at), shifts)
    shifts.push(shiftUs)
    alignments.push(by)
  })
  const shifted = (part: number, us: number) => us + (shifts[part] ?? 0)
  const zeroUs = Math.min(
    ...parts.flatMap(({ beginUs, firstFrameUs }, at) => [
      shifted(at, beginUs),
      ...(firstFrameUs === undefined ? [] : [shifted(at, firstFrameUs)])
    ])
  )
  const spans = parts.map((part, at) => {
    const move = ({ fromUs, toUs }: Span) => ({ fromUs: shifted(at, fromUs), toUs: shifted(at, toUs) })
    return { whole: move({ fromUs: part.beginUs, toUs: part.endUs }), pauses: part.pauses.map(move) }
  })
  // While one part was paused another may have captured: that is not cut.
  const paused = spans.flatMap(({ pauses }) => pauses)
  const live = spans.flatMap(({ pauses, whole }) => without([whole], pauses))
  const cuts = without(union(paused), live)

  const timeMs = (part: number, us: number): number => {
    const at = shifted(part, us)
    let cut = 0
    for (const { fromUs, toUs } of cuts) {
      if (fromUs >= at) break
      cut += Math.min(at, toUs) - fromUs
    }
    return (at - zeroUs - cut) / 1000
  }
  const wallMs = (us: number): number | undefined => {
    const at = parts.findIndex(({ anchor }) => anchor !== undefined)
    const anchor = parts[at]?.anchor
    return anchor === undefined
      ? undefined
      : Math.round(anchor.wallMs + (us - shifted(at, anchor.atUs)) / 1000)
  }
  return {
    timeMs,
    alignments,
    pauses: cuts.map(({ fromUs, toUs }) => ({
      atMs: Math.round(timeMs(0, fromUs - (shifts[0] ?? 0))),
      durationMs: Math.round((toUs - fromUs) / 1000),
      wallMs: wallMs(fromUs)
    }))
  }
}

const align = (
  part: TimedPart,
  earlier: ReadonlyArray<TimedPart>,
  shifts: ReadonlyArray<number>
): { readonly shiftUs: number; readonly by: Alignment } => {
  if (earlier.length === 0) return { shiftUs: 0, by: "own" }
  // The part right before is the one that it overlaps with.
  for (let at = earlier.length - 1; at >= 0; at--) {
    const before = earlier[at]
    if (before === undefined) continue
    const found = [...part.peers].flatMap(([peer, clock]) => clock.shiftTo(before.peers.get(peer)) ?? [])
    const middle = found.toSorted((a, b) => a - b)[found.length >> 1]
    if (middle !== undefined) return { shiftUs: middle + (shifts[at] ?? 0), by: "senderReports" }
  }
  const at = earlier.findIndex(({ anchor }) => anchor !== undefined)
  const reference = earlier[at]?.anchor
  if (part.anchor !== undefined && reference !== undefined) {
    const atUs = reference.atUs + (shifts[at] ?? 0) + (part.anchor.wallMs - reference.wallMs) * 1000
    return { shiftUs: atUs - part.anchor.atUs, by: "wallClock" }
  }
  const endUs = Math.max(...earlier.map((each, at) => each.endUs + (shifts[at] ?? 0)))
  return { shiftUs: endUs - part.beginUs, by: "none" }
}

const union = (spans: ReadonlyArray<Span>): ReadonlyArray<Span> => {
  const merged: Array<Span> = []
  for (const span of spans.toSorted((a, b) => a.fromUs - b.fromUs)) {
    const last = merged.at(-1)
    if (last === undefined || span.fromUs > last.toUs) merged.push(span)
    else merged[merged.length - 1] = { fromUs: last.fromUs, toUs: Math.max(last.toUs, span.toUs) }
  }
  return merged
}

const without = (spans: ReadonlyArray<Span>, holes: ReadonlyArray<Span>): ReadonlyArray<Span> =>
  holes.reduce<ReadonlyArray<Span>>(
    (rest, hole) =>
      rest.flatMap((span) => {
        if (hole.toUs <= span.fromUs || hole.fromUs >= span.toUs) return [span]
        return [
          { fromUs: span.fromUs, toUs: hole.fromUs },
          { fromUs: hole.toUs, toUs: span.toUs }
        ].filter(({ fromUs, toUs }) => toUs > fromUs)
      }),
    spans
  )
