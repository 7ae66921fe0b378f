/**
 * The faults of a recording, done for real, and what was lost in each, counted in packets: `node test/faults/faults.ts [row...]`. Prints the table
 * of docs/recordings.md. As root, for the rows that need a disk of their own; about five minutes.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout as sleep } from "node:timers/promises"
import { makeJournalParser } from "../../packages/media/src/recording/JournalParser.ts"
import { inJournals, lostOf, startCaptor, type CaptorOptions, type Status } from "./captor.ts"
import { makeDisk } from "./disk.ts"

interface Row {
  readonly fault: string
  readonly lost: string
  readonly told: string
}

const recordings = 10

const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "ebb-faults-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const onDisk = async <A>(
  megabytes: number,
  use: (disk: ReturnType<typeof makeDisk>) => Promise<A>
): Promise<A> => {
  const disk = makeDisk(megabytes)
  try {
    return await use(disk)
  } finally {
    disk.remove()
  }
}

/** Captures, lets something happen to it, seals, and compares what was handed over with what is there. */
const captured = async (
  folder: string,
  options: Partial<CaptorOptions>,
  happens: (captor: Awaited<ReturnType<typeof startCaptor>>) => Promise<unknown>
) => {
  const captor = await startCaptor(folder, { recordings, ...options })
  try {
    await captor.status(({ handed }) => handed > 1000)
    const seen = await happens(captor)
    const last = await captor.seal()
    const there = inJournals(folder)
    return { last, seen: seen as Status | undefined, there, lost: lostOf(last.handed, there.numbers) }
  } finally {
    captor.forget()
  }
}

const loop = ({ p99, worst }: Status) => `event loop p99 ${p99} ms, worst ${worst} ms`

const killed = async (way: "thread" | "direct", runs: number): Promise<ReadonlyArray<number>> => {
  const losses: Array<number> = []
  for (let run = 0; run < runs; run++) {
    losses.push(
      await inFolder(async (folder) => {
        const captor = await startCaptor(folder, { recordings, way })
        await captor.status(({ handed }) => handed > 500)
        await sleep(Math.random() * 300)
        await captor.kill()
        const lost = lostOf(captor.handed(), inJournals(folder).numbers)
        captor.forget()
        return lost
      })
    )
  }
  return losses
}
const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((all, each) => all + each, 0)

const cutOff = async (syncEveryMs: number, runs: number) => {
  const losses: Array<number> = []
  const handed: Array<number> = []
  for (let run = 0; run < runs; run++) {
    await onDisk(256, async (disk) => {
      const folder = join(disk.at, "inc")
      const captor = await startCaptor(folder, { recordings, syncEveryMs })
      await captor.status(({ handed }) => handed > 3000)
      const cut = await disk.arm()
      await sleep(Math.random() * 1500)
      const before = captor.handed()
      await cut()
      await captor.kill()
      captor.forget()
      disk.boot()
      losses.push(lostOf(before, inJournals(folder).numbers))
      handed.push(before)
    })
  }
  const perSecond = 112 * recordings
  const worstMs = Math.round((Math.max(...losses) / perSecond) * 1000)
  return { losses, worstMs, handed }
}

const rows: Readonly<Record<string, () => Promise<ReadonlyArray<Row>>>> = {
  none: () =>
    inFolder(async (folder) => {
      const { last, lost } = await captured(folder, {}, () => sleep(5000))
      return [{ fault: "none, 5 s", lost: `${lost} of ${last.handed}`, told: loop(last) }]
    }),
  killed: async () => {
    const runs = 30
    const thread = await killed("thread", runs)
    const direct = await killed("direct", runs)
    return [
      {
        fault: `process killed (\`kill -9\`), ${runs} times`,
        lost: `${sum(thread)} packets in all, at most ${Math.max(...thread)} at once`,
        told: `a synchronous write in the event loop instead: ${sum(direct)} in all, at most ${Math.max(...direct)}`
      }
    ]
  },
  stopped: () =>
    inFolder(async (folder) => {
      const { last, lost, there } = await captured(folder, {}, async (captor) => {
        captor.signal("SIGSTOP")
        await sleep(3000)
        captor.signal("SIGCONT")
        await sleep(500)
      })
      return [
        {
          fault: "process stopped for 3 s (SIGSTOP)",
          lost: `${lost} of ${last.handed}`,
          told: `gaps ${there.gaps}`
        }
      ]
    }),
  stalled: async () => {
    const stall = (seconds: number, options: Partial<CaptorOptions>) =>
      onDisk(256, (disk) =>
        captured(join(disk.at, "inc"), options, async (captor) => {
          disk.freeze()
          try {
            await sleep(seconds * 1000)
            return options.way === "direct" ? undefined : await captor.status(() => true)
          } finally {
            disk.thaw()
          }
        })
      )
    const long = await stall(15, {})
    const small = await stall(15, { queueBytes: 4 * 2 ** 20 })
    const direct = await stall(3, { way: "direct" })
    return [
      {
        fault: "disk stands still for 15 s",
        lost: `${long.lost} of ${long.last.handed}`,
        told: `${loop(long.last)}; at most ${Math.round((long.seen?.queued ?? 0) / 2 ** 20)} MiB waited`
      },
      {
        fault: "the same, with a queue of 4 MiB",
        lost: `${small.lost} of ${small.last.handed}`,
        told: `${small.there.gapPackets} told in ${small.there.gaps} gaps; ${loop(small.last)}`
      },
      {
        fault: "to compare: a synchronous write in the event loop, 3 s",
        lost: `${direct.lost} of ${direct.last.handed}`,
        told: loop(direct.last)
      }
    ]
  },
  full: () =>
    onDisk(64, async (disk) => {
      const ballast = join(disk.at, "ballast")
      const { last, lost, there } = await captured(join(disk.at, "inc"), {}, async (captor) => {
        for (let bytes = 1 << 20; bytes > 0; bytes >>= 1) {
          for (;;) {
            try {
              writeFileSync(ballast, Buffer.alloc(bytes, 1), { flag: "a" })
            } catch {
              break
            }
          }
        }
        await captor.status(({ lost }) => lost > 1000)
        rmSync(ballast)
        const { handed } = await captor.status(() => true)
        await captor.status((status) => status.handed > handed + 1000)
      })
      return [
        {
          fault: "disk full, until there is room again",
          lost: `${lost} of ${last.handed}`,
          told: `${there.gapPackets} told in ${there.gaps} gaps; ${loop(last)}`
        }
      ]
    }),
  cut: async () => {
    const made: Array<Row> = []
    for (const syncEveryMs of [1000, 100, 0]) {
      const runs = 6
      const { losses, worstMs } = await cutOff(syncEveryMs, runs)
      made.push({
        fault: `power cut, \`--sync-ms ${syncEveryMs}\`, ${runs} times`,
        lost: `the last ${worstMs} ms at most`,
        told: `${losses.join(", ")} packets of ${recordings} recordings`
      })
    }
    return made
  },
  damaged: () =>
    inFolder(async (folder) => {
      const { last, there } = await captured(folder, { recordings: 1 }, () => sleep(20_000))
      const bytes = readFileSync(join(folder, "rec0", "journal.ebbj")).subarray(8)
      const readable = (spoilt: Buffer) => {
        const parser = makeJournalParser()
        return { records: [...parser.push(spoilt), ...parser.end()], stats: parser.stats }
      }
      const spoilt = Buffer.from(bytes)
      const flips = 100
      for (let flip = 0; flip < flips; flip++) {
        const at = Math.floor(Math.random() * spoilt.length)
        spoilt[at] = (spoilt[at] ?? 0) ^ (1 << Math.floor(Math.random() * 8))
      }
      const flipped = readable(spoilt)
      const rtp = flipped.records.filter(({ _tag }) => _tag === "Rtp").length
      const torn = Array.from({ length: 100 }, () => {
        const cut = bytes.subarray(0, Math.floor(Math.random() * bytes.length))
        const { stats } = readable(Buffer.from(cut))
        return stats.damaged
      })
      return [
        {
          fault: `${flips} flipped bits in a journal of ${last.handed} packets`,
          lost: `${there.numbers.size - rtp} packets`,
          told: `${flipped.stats.damaged} places, ${flipped.stats.damagedBytes} bytes`
        },
        {
          fault: "a torn tail, at 100 places",
          lost: "the record that it tears",
          told: `its bytes; ${sum(torn)} others damaged`
        }
      ]
    })
}

const asked = process.argv.slice(2)
const table: Array<Row> = []
for (const [name, measure] of Object.entries(rows)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  process.stderr.write(`${name}\n`)
  table.push(...(await measure()))
}
process.stdout.write(`| fault | lost | told, and beside it |\n|---|---|---|\n`)
for (const { fault, lost, told } of table) process.stdout.write(`| ${fault} | ${lost} | ${told} |\n`)
