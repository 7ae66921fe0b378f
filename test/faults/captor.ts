/** The capturing process of `programs/capture.ts`, and what it left on disk, packet by packet. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileHeader } from "../../packages/media/src/recording/JournalFormat.ts"
import { makeJournalParser } from "../../packages/media/src/recording/JournalParser.ts"

export interface Status {
  readonly handed: number
  readonly lost: number
  /** Of the event loop, in milliseconds, since it began to capture. */
  readonly p99: number
  readonly worst: number
  readonly queued: number
  readonly stalled: number
  readonly sealed?: boolean
}

export interface CaptorOptions {
  readonly recordings: number
  readonly way?: "thread" | "direct"
  readonly queueBytes?: number
  readonly syncEveryMs?: number
}

export const startCaptor = async (folder: string, options: CaptorOptions) => {
  const shared = mkdtempSync("/dev/shm/ebb-faults-")
  const counter = join(shared, "handed")
  mkdirSync(folder, { recursive: true })
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, "programs/capture.ts"),
      JSON.stringify({ way: "thread", folder, counter, ...options })
    ],
    { stdio: ["pipe", "pipe", "inherit"] }
  )
  const ended = once(child, "close")
  let last: Status | undefined
  const waiting = new Set<() => void>()
  let isReady = false
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line === "ready") isReady = true
    else last = JSON.parse(line) as Status
    for (const look of waiting) look()
  })
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!holds()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      void ended.then(() => reject(new Error("it ended before that")))
      look()
    })
  await until(() => isReady)
  const status = async (holds: (status: Status) => boolean): Promise<Status> => {
    await until(() => last !== undefined && holds(last))
    if (last === undefined) throw new Error("BUG: no status")
    return last
  }
  return {
    pid: child.pid ?? 0,
    status,
    /** Packets that have reached it until now. */
    handed: () => readFileSync(counter).readDoubleBE(0),
    signal: (signal: NodeJS.Signals) => child.kill(signal),
    seal: async () => {
      child.stdin.write("seal\n")
      const sealed = await status(({ sealed }) => sealed === true)
      await ended
      return sealed
    },
    kill: async () => {
      child.kill("SIGKILL")
      await ended
    },
    forget: () => rmSync(shared, { recursive: true, force: true })
  }
}

/** The numbers of all packets in the journals below a folder, and what the journals say is missing. */
export const inJournals = (folder: string) => {
  const numbers = new Set<number>()
  let gapPackets = 0
  let gaps = 0
  let records = 0
  let damaged = 0
  let tornBytes = 0
  for (const name of readdirSync(folder)) {
    if (!name.startsWith("rec")) continue
    const parser = makeJournalParser()
    const bytes = readFileSync(join(folder, name, "journal.ebbj")).subarray(fileHeader.length)
    for (const record of [...parser.push(bytes), ...parser.end()]) {
      if (record._tag === "Rtp") numbers.add(Buffer.from(record.packet).readUInt32BE(12))
      if (record._tag === "Gap") {
        gapPackets += record.gap.packets
        gaps += 1
      }
    }
    records += parser.stats.records
    damaged += parser.stats.damaged
    tornBytes += parser.stats.tornBytes
  }
  return { numbers, gapPackets, gaps, records, damaged, tornBytes }
}

/** Of the packets 1 to `handed`, those that are in no journal. */
export const lostOf = (handed: number, numbers: ReadonlySet<number>): number => {
  let lost = 0
  for (let number = 1; number <= handed; number++) if (!numbers.has(number)) lost += 1
  return lost
}
