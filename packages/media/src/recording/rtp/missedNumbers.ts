/** Sequence numbers that were given up, as ranges: a sender that leaves out thousands costs no more than one that leaves out one. */
export interface MissedNumbers {
  /** `from` up to, and without, `to`. Ranges come in order. */
  readonly add: (from: number, to: number) => void
  /** Whether it was among them; it is not any more. */
  readonly take: (number: number) => boolean
  readonly forgetBefore: (number: number) => void
  readonly clear: () => void
}

export const makeMissedNumbers = (): MissedNumbers => {
  let ranges: Array<{ readonly from: number; readonly to: number }> = []
  return {
    add: (from, to) => {
      if (from < to) ranges.push({ from, to })
    },
    take: (number) => {
      const at = ranges.findLastIndex(({ from, to }) => from <= number && number < to)
      const range = ranges[at]
      if (range === undefined) return false
      const rest = [
        { from: range.from, to: number },
        { from: number + 1, to: range.to }
      ]
      ranges.splice(at, 1, ...rest.filter(({ from, to }) => from < to))
      return true
    },
    forgetBefore: (number) => {
      const kept = ranges.findIndex(({ to }) => to > number)
      if (kept !== 0) ranges = kept < 0 ? [] : ranges.slice(kept)
    },
    clear: () => {
      ranges = []
    }
  }
}
