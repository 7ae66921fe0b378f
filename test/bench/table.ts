/** The result for people. */
import type { MachineReport } from "./machine.ts"
import type { Row } from "./Row.ts"

/** Three significant digits, and no more than the number has. */
const short = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en")
    : value.toLocaleString("en", { maximumSignificantDigits: 3 })

const ratio = (value: number): string => value.toFixed(value < 10 ? 2 : 1)

const header = ["", "ours", "theirs", "unit", "ratio", "quartiles"] as const

export const table = (rows: ReadonlyArray<Row>): string => {
  const lines = rows.map(({ name, ours, ratio: median, spread: [low, high], theirs, unit }) => [
    name,
    short(ours),
    theirs === null ? "" : short(theirs),
    unit,
    median === null ? "" : ratio(median),
    median === null ? `${short(low)}-${short(high)} ${unit}` : `${ratio(low)}-${ratio(high)}`
  ])
  const widths = header.map((title, column) =>
    Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0))
  )
  const right = new Set([1, 2, 4])
  const drawn = [header, ...lines].map((line) =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return right.has(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join("  ")
      .trimEnd()
  )
  return `${drawn.join("\n")}\n`
}

export const aboutMachine = (machine: MachineReport): string =>
  [
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}`,
    `load ${machine.loadAtBegin.toFixed(2)} at the beginning, ${machine.loadAtEnd.toFixed(2)} at the end; ` +
      `other programs took ${(machine.others * 100).toFixed(1)} % of the machine`,
    "ratio: median of the rounds' ratios, above 1 ours is better; quartiles: between them lies half of the rounds",
    ...machine.warnings.map((warning) => `WARNING: ${warning}`),
    ""
  ].join("\n")
