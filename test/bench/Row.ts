/** One line of the result: a figure of ours beside the same figure of a peer, measured in turns on the same machine. */
import { median, quantile } from "./statistics.ts"
import type { Figures } from "./Task.ts"

export interface Row {
  /** `what/against-whom`. */
  readonly name: string
  readonly unit: string
  /** Medians over the rounds. */
  readonly ours: number
  /** Null where there is nobody to compare with. */
  readonly theirs: number | null
  /** Median of the ratios of the rounds, not the ratio of the medians. Above 1: ours is better. */
  readonly ratio: number | null
  /** The first and third quartile of the rounds' ratios; of our own figures where there is no ratio. */
  readonly spread: readonly [number, number]
}

export interface Figure {
  readonly name: string
  readonly unit: string
  readonly better: "more" | "less"
}

/** Figures of one contender, round by round. */
export type Rounds = ReadonlyArray<Figures>

export const column = (rounds: Rounds, figure: string): ReadonlyArray<number> =>
  rounds.map((figures) => {
    const value = figures[figure]
    if (value === undefined) throw new Error(`nobody measured '${figure}'`)
    return value
  })

const quartiles = (values: ReadonlyArray<number>) => [quantile(values, 0.25), quantile(values, 0.75)] as const

export const compared = (
  name: string,
  { better, name: figure, unit }: Figure,
  ours: Rounds,
  theirs: Rounds
): Row => {
  const [mine, others] = [column(ours, figure), column(theirs, figure)]
  const ratios = mine.map((value, round) => {
    const other = others[round] ?? Number.NaN
    return better === "more" ? value / other : other / value
  })
  return {
    name,
    unit,
    ours: median(mine),
    theirs: median(others),
    ratio: median(ratios),
    spread: quartiles(ratios)
  }
}

export const alone = (name: string, unit: string, values: ReadonlyArray<number>): Row => ({
  name,
  unit,
  ours: median(values),
  theirs: null,
  ratio: null,
  spread: quartiles(values)
})
