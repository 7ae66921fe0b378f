/** Order statistics: a busy machine spoils a mean, not a median. */

/** By linear interpolation between the two nearest; `fraction` from 0 to 1. NaN of nothing. */
export const quantile = (values: ReadonlyArray<number>, fraction: number): number => {
  const sorted = Float64Array.from(values).sort()
  const at = (sorted.length - 1) * fraction
  const below = sorted[Math.floor(at)] ?? Number.NaN
  const above = sorted[Math.ceil(at)] ?? Number.NaN
  return below + (above - below) * (at - Math.floor(at))
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)
