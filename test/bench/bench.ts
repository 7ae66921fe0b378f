/**
 * Everything that is promised of speed, measured side by side on this machine in one run: ours and its peers in turns, as ratios with
 * their spread. Absolute figures are of this machine; ratios can be compared.
 *
 *     pnpm bench [--json] [--quick | --once] [--only NAME[,NAME]] [--profile DIR]
 *
 * `--only`: the groups whose name contains one of these. `--quick`: fewer and shorter rounds. `--once`: one that is too short to mean
 * anything, to see that all of it runs. `--profile`: CPU profiles of our own processes, one file each.
 * With `--json` the last line is `{"rows":[...],"machine":{...}}`, and what is for people goes to standard error.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import type { Group } from "./groups/Group.ts"
import { compute } from "./groups/compute.ts"
import * as local from "./groups/local.ts"
import { node } from "./groups/node.ts"
import { recordings } from "./groups/recordings.ts"
import { remote } from "./groups/remote.ts"
import { scale } from "./groups/scale.ts"
import type { Effort } from "./heat.ts"
import { watchMachine } from "./machine.ts"
import { aboutMachine, table } from "./table.ts"

const groups: ReadonlyArray<Group> = [
  remote(1),
  remote(64),
  remote(256),
  local.ask(1),
  local.ask(64),
  local.tell,
  local.spawn,
  local.bytes,
  scale,
  node,
  compute,
  recordings
]

const { values: flags } = parseArgs({
  // pnpm hands on the `--` that npm takes away.
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    once: { type: "boolean", default: false },
    only: { type: "string" },
    profile: { type: "string" }
  }
})

const wanted = flags.only?.split(",")
const chosen = groups.filter(({ name }) => wanted?.some((word) => name.includes(word)) ?? true)
if (chosen.length === 0) {
  process.stderr.write(
    `--only is some of ${groups.map(({ name }) => name).join(", ")}, not '${flags.only}'\n`
  )
  process.exit(64)
}

const efforts = {
  whole: { rounds: 15, warmUps: 6, turnMs: 400 },
  quick: { rounds: 5, warmUps: 5, turnMs: 200 },
  once: { rounds: 1, warmUps: 0, turnMs: 20 }
} as const satisfies Record<string, Effort>
const effort = efforts[flags.once ? "once" : flags.quick ? "quick" : "whole"]

const say = (text: string) => (flags.json ? process.stderr : process.stdout).write(text)

const machine = watchMachine()
for (const warning of machine.warnings) say(`WARNING: ${warning}\n`)

const execArgv = flags.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${resolve(flags.profile)}`]

const all = Effect.forEach(chosen, ({ name, run }) => {
  const beganMs = performance.now()
  return Effect.scoped(run({ effort, execArgv, say: (line) => say(`  ${line}\n`) })).pipe(
    Effect.tap(() =>
      Effect.sync(() => say(`${name}: measured in ${((performance.now() - beganMs) / 1000).toFixed(0)} s\n`))
    )
  )
})

const exit = await Effect.runPromiseExit(Effect.provideService(all, References.MinimumLogLevel, "Error"))
if (Exit.isFailure(exit)) {
  process.stderr.write(`the benchmark could not run: ${Cause.pretty(exit.cause)}\n`)
  process.exit(1)
}
const rows = exit.value.flat()
const report = machine.report()
say(`\n${table(rows)}\n${aboutMachine(report)}`)
if (flags.json) process.stdout.write(`${JSON.stringify({ rows, machine: report })}\n`)
