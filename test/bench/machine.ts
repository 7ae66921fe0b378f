/** What else the machine was doing: a benchmark on a busy machine is a rumour, and has to say so. */
import { readFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg } from "node:os"

/** In USER_HZ, which is 100 a second on every Linux. */
interface Ticks {
  readonly atMs: number
  /** All that was worked on this machine, and what its host took for others. */
  readonly busy: number
  readonly stolen: number
  /** Of that, by this process and its children that have ended. */
  readonly own: number
}

const ticks = (): Ticks => {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, stolen = 0] = (
    readFileSync("/proc/stat", "utf8").split("\n")[0] ?? ""
  )
    .split(/\s+/)
    .map(Number)
  const stat = readFileSync("/proc/self/stat", "utf8")
  // After the name, in parentheses, which may contain anything: utime, stime, cutime, cstime are fields 14 to 17.
  const own = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15)
    .reduce((sum, field) => sum + Number(field), 0)
  return { atMs: performance.now(), busy: user + nice + system + irq + softirq, stolen, own }
}

export interface MachineReport {
  readonly cpu: string
  readonly cores: number
  readonly node: string
  readonly loadAtBegin: number
  readonly loadAtEnd: number
  /** Of all cores' time, from 0 to 1, that went to other programs while this one ran. */
  readonly others: number
  /** The same, that the machine's host took away. */
  readonly stolen: number
  readonly warnings: ReadonlyArray<string>
}

/** Begins to watch. Ask for the report when every child has ended. */
export const watchMachine = () => {
  const loadAtBegin = loadavg()[0] ?? 0
  const begin = ticks()
  const cores = availableParallelism()
  const warnings: Array<string> = []
  if (loadAtBegin > 0.25 * cores) {
    warnings.push(`the machine was loaded at the beginning: ${loadAtBegin.toFixed(2)} on ${cores} cores`)
  }
  const report = (): MachineReport => {
    const end = ticks()
    const all = ((end.atMs - begin.atMs) / 1000) * 100 * cores
    const others = Math.max(0, end.busy - begin.busy - (end.own - begin.own)) / all
    const stolen = (end.stolen - begin.stolen) / all
    if (others > 0.05) {
      warnings.push(
        `other programs took ${percent(others)} of the machine meanwhile: trust no figure closely`
      )
    }
    if (stolen > 0.02) warnings.push(`the machine's host took ${percent(stolen)} of it away`)
    return {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores,
      node: process.version,
      loadAtBegin,
      loadAtEnd: loadavg()[0] ?? 0,
      others,
      stolen,
      warnings
    }
  }
  return { warnings: warnings as ReadonlyArray<string>, report }
}

const percent = (share: number) => `${(share * 100).toFixed(0)} %`
