/**
 * `pnpm fuzz [--inputs N] [--seed S] [--target NAME]`: N inputs, a million by default, shared out among all targets; or all to one.
 * A fault ends it with the seed that shows it again.
 */
import { parseArgs } from "node:util"
import { fuzz } from "../fuzz.ts"
import { targets } from "../targets.ts"

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    target: { type: "string" }
  }
})

const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target)
if (chosen.length === 0)
  throw new Error(`no target ${values.target}: ${targets.map(({ name }) => name).join(" ")}`)
const inputs = Math.ceil(Number(values.inputs) / chosen.length)
const begun = performance.now()
for (const target of chosen) {
  const { grownBytes, outcomes, slowestMs } = fuzz(target, { seed: Number(values.seed), inputs })
  const counts = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`)
  console.log(
    `${target.name.padEnd(16)} ${inputs} inputs: ${counts.join(", ")}; ` +
      `memory +${(grownBytes / 1e6).toFixed(1)} MB, slowest ${slowestMs.toFixed(1)} ms`
  )
}
console.log(
  `${inputs * chosen.length} inputs, no fault, ${((performance.now() - begun) / 1000).toFixed(0)} s`
)
