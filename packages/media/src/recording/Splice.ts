/**
 * One stream of frames out of several sources of the same picture or sound: what two processes captured of it, or the layers of a
 * simulcast. At each moment the best source has its say, from its next key frame on; when it falls silent the next best goes on, again from a key
 * frame. Frames of a moment that another source has had are left out, and counted. Pure; it holds what is not yet decided.
 */

export interface Placed {
  /** On the recording's timeline, with fractions. */
  readonly timeMs: number
  readonly key: boolean
  readonly shown: boolean
  /** Shown before frames that came before it. */
  readonly reordered?: true | undefined
  /** Of sound; otherwise 0. */
  readonly durationMs: number
  readonly data: ReadonlyArray<Uint8Array>
}

export interface Seam {
  readonly from: number
  readonly to: number
  readonly atMs: number
  /** By how much the interval there is longer than the usual one between two frames; negative: shorter. */
  readonly gapMs: number
}

export interface Splice {
  /** Frames of one source come in the order of their decoding. */
  readonly push: (source: number, frame: Placed) => void
  /** The next frame before `untilMs`. To be decided rightly, everything up to two seconds after it must have been pushed. */
  readonly peek: (untilMs: number) => Placed | undefined
  /** Takes the frame that was peeked at; says from which source, and of the seam when that is another than before. */
  readonly take: () => { readonly source: number; readonly seam: Seam | undefined }
  /** Frames left out, by source. */
  readonly leftOut: ReadonlyArray<number>
}

/** A source that says nothing for four frames, within these bounds, has fallen silent; sound, which need not be sent all the time, after a second. */
const leastPatienceMs = 200
const mostPatienceMs = 2000
const soundPatienceMs = 1000

/** `ranks[source]`: the greater one is preferred. No two are equal. */
export const makeSplice = (ranks: ReadonlyArray<number>): Splice => {
  const queues: ReadonlyArray<Array<Placed>> = ranks.map(() => [])
  const leftOut = ranks.map(() => 0)
  let current: number | undefined
  let lastMs = -Infinity
  let stepMs = 20
  let peeked: { readonly source: number; readonly frame: Placed } | undefined

  const rank = (source: number) => ranks[source] ?? 0
  const patienceMs = (frame: Placed) =>
    frame.durationMs > 0 ? soundPatienceMs : Math.min(Math.max(4 * stepMs, leastPatienceMs), mostPatienceMs)
  /** Two frames closer than this are of one moment. */
  const halfStepMs = () => Math.min(Math.max(stepMs / 2, 4), 20)

  const isWanted = (source: number, frame: Placed): boolean => {
    if (current === undefined || ranks.length === 1) return true
    const half = halfStepMs()
    if (source === current) {
      const takesOver = (queue: ReadonlyArray<Placed>) =>
        queue.some(({ key, timeMs }) => key && timeMs < frame.timeMs + half)
      return !queues.some((queue, other) => rank(other) > rank(source) && takesOver(queue))
    }
    if (!frame.key) return false
    if (rank(source) > rank(current)) return true
    if (frame.timeMs < lastMs + half) return false
    return queues[current]?.some(({ timeMs }) => timeMs <= frame.timeMs + patienceMs(frame)) !== true
  }

  const earliest = (untilMs: number): number | undefined => {
    let found: number | undefined
    let timeMs = untilMs
    queues.forEach(([head], source) => {
      if (head === undefined || head.timeMs > timeMs || head.timeMs >= untilMs) return
      if (head.timeMs === timeMs && found !== undefined && rank(source) < rank(found)) return
      found = source
      timeMs = head.timeMs
    })
    return found
  }

  return {
    leftOut,
    push: (source, frame) => queues[source]?.push(frame),
    peek: (untilMs) => {
      for (;;) {
        const source = earliest(untilMs)
        const frame = source === undefined ? undefined : queues[source]?.[0]
        peeked = source === undefined || frame === undefined ? undefined : { source, frame }
        if (peeked === undefined || isWanted(peeked.source, peeked.frame)) return frame
        queues[peeked.source]?.shift()
        leftOut[peeked.source] = (leftOut[peeked.source] ?? 0) + 1
      }
    },
    take: () => {
      if (peeked === undefined) throw new Error("BUG: nothing was peeked at")
      const { frame, source } = peeked
      queues[source]?.shift()
      const stepHere = frame.timeMs - lastMs
      const seam =
        current === undefined || current === source
          ? undefined
          : { from: current, to: source, atMs: frame.timeMs, gapMs: stepHere - stepMs }
      if (seam === undefined && Number.isFinite(stepHere) && stepHere > 0) stepMs = Math.min(stepHere, 1000)
      if (frame.durationMs > 0) stepMs = frame.durationMs
      current = source
      lastMs = Math.max(lastMs, frame.timeMs)
      return { source, seam }
    }
  }
}
