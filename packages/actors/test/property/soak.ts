/**
 * `pnpm soak [--seeds N] [--from S] [--shards K]`: as many runs as wanted, beyond the thousand of `npm test`. Reports each seed that breaks a
 * promise, with the shortest run that does so, goes on, and ends with 1 if there was any.
 */
import { spawn } from "node:child_process"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { check } from "./check.ts"

const number = (text: string, name: string): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  process.stderr.write(`--${name} is a number from 0 on\n`)
  process.exit(2)
}

const { values } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "0" },
    shards: { type: "string", default: "1" }
  }
})
const [seeds, from, shards] = [
  number(values.seeds, "seeds"),
  number(values.from, "from"),
  Math.max(1, number(values.shards, "shards"))
]

const soak = (): number => {
  const startedMs = performance.now()
  const counts = new Map<string, number>()
  const failed: Array<number> = []
  for (let seed = from; seed < from + seeds; seed++) {
    const { failure, model } = check(seed)
    for (const [what, count] of model.counts) counts.set(what, (counts.get(what) ?? 0) + count)
    if (failure !== undefined) {
      failed.push(seed)
      process.stdout.write(`${failure.report}\n\n`)
    }
    const done = seed - from + 1
    if (done % 1_000 === 0 && done < seeds)
      process.stdout.write(`${from} + ${done}: ${failed.length} failed\n`)
  }
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
  const told = [...counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, count]) => `  ${what}: ${count}\n`)
  process.stdout.write(`seeds ${from} to ${from + seeds - 1} in ${seconds} s\n${told.join("")}`)
  process.stdout.write(
    `${seeds - failed.length} kept every promise, ${failed.length} failed: ${failed.join(" ")}\n`
  )
  return failed.length === 0 ? 0 : 1
}

/** A part of the seeds each, in processes of their own. */
const inShards = async (): Promise<number> => {
  const share = Math.ceil(seeds / shards)
  const codes = await Promise.all(
    Array.from({ length: shards }, (_, shard) => {
      const first = from + shard * share
      const size = Math.max(0, Math.min(share, from + seeds - first))
      const args = [fileURLToPath(import.meta.url), "--from", String(first), "--seeds", String(size)]
      const child = spawn(process.execPath, args, { stdio: "inherit" })
      return new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)))
    })
  )
  return Math.max(...codes)
}

process.exitCode = shards === 1 ? soak() : await inShards()
