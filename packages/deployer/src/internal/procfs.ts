/**
 * The door to /proc: whether a process known by pid *and* start time still lives, and which boot of the machine this is.
 *
 * A pid alone names nobody: it is given out again. With its start time (clock ticks since boot, field 22 of
 * /proc/PID/stat) and the boot id it names one process for ever. A zombie counts as gone: it runs no more code.
 */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { PlatformUnsupported } from "../DeployError.ts"

export interface ProcessId {
  readonly pid: number
  readonly startTime: number
}

/** Synchronous, so that a signal can follow in the same turn of the event loop. */
export const isAlive = (process: ProcessId): boolean => startTimeOf(process.pid) === process.startTime

/** Undefined when there is no such process, or only its zombie. */
export const startTimeOf = (pid: number): number | undefined => {
  const stat = readOrUndefined(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The second field is the program's name in parentheses and may hold anything, parentheses and blanks too.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return state === "Z" || state === "X" ? undefined : Number(rest[18])
}

const bootIdFile = "/proc/sys/kernel/random/boot_id"

/** Random per boot of the machine. */
export const bootId: Effect.Effect<string, PlatformUnsupported> = Effect.suspend(() => {
  const text = readOrUndefined(bootIdFile)
  return text === undefined
    ? Effect.fail(new PlatformUnsupported({ missing: bootIdFile }))
    : Effect.succeed(text.trim())
})

// ENOENT, or ESRCH when the process ends between open and read.
const readOrUndefined = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return undefined
  }
}
