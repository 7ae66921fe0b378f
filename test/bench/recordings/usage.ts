/** What processes cost: processor time and memory, from the kernel's own accounts. */
import { readFileSync } from "node:fs"

/** Seconds of processor time so far, of all of them. */
export const cpuSeconds = (pids: ReadonlyArray<number>): number =>
  pids.reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // After the name, in parentheses: utime and stime are fields 14 and 15, in hundredths.
    const [user = 0, system = 0] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13)
      .map(Number)
    return sum + (user + system) / 100
  }, 0)

/** Megabytes: what is shared by several is counted once, in parts. */
export const megabytes = (pids: ReadonlyArray<number>): number =>
  pids.reduce((sum, pid) => {
    const [, kilobytes = "0"] = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")) ?? []
    return sum + Number(kilobytes) / 1000
  }, 0)
