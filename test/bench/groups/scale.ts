/**
 * Many actors in one process, and their drain: does the cost grow with their number alone? Measured against itself: `theirs` is what so many
 * would take if each took as long as one of a thousand does. A ratio of 1 is linear, 0.5 is twice as long.
 */
import * as Effect from "effect/Effect"
import { startContender } from "../Contender.ts"
import { alone, column, compared, type Row } from "../Row.ts"
import { median } from "../statistics.ts"
import type { Figures, Task } from "../Task.ts"
import type { Group } from "./Group.ts"

const few = 1000
const many = [10_000, 100_000] as const

interface Measured {
  readonly name: string
  /** By the clock, and of processor time: what the ratio is made of. */
  readonly ms: string
  readonly cpuMs: string
  readonly drain: Extract<Task, { name: "family" }>["drain"]
}

/** `evacuate`: told to end them. `wait`: each ends by itself, and the drain goes with the last. */
const measured: ReadonlyArray<Measured> = [
  { name: "spawn", ms: "spawnMs", cpuMs: "spawnCpuMs", drain: "evacuate" },
  { name: "evacuate", ms: "drainMs", cpuMs: "drainCpuMs", drain: "evacuate" },
  { name: "drain", ms: "drainMs", cpuMs: "drainCpuMs", drain: "wait" }
]

export const scale: Group = {
  name: "scale",
  run: Effect.fnUntraced(function* ({ effort, execArgv, say }) {
    const rounds = Math.max(2, Math.round(effort.rounds / 4))
    const rows: Array<Row> = []
    for (const { cpuMs, drain, ms, name } of measured) {
      const ofFew: Array<Figures> = []
      const ofMany = many.map((count) => ({ count, figures: Array.of<Figures>() }))
      // Each round has a process of its own: what a hundred thousand leave in the heap is not the next one's.
      for (let round = 0; round < rounds; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const ebb = yield* startContender("ebb", "localEbb", [], { execArgv })
            const family = (count: number) => ebb.does({ name: "family", count, drain })
            for (let warmUp = 0; warmUp < 5; warmUp++) yield* family(few)
            // So few are soon done: one of them may have met the garbage of all before.
            const samples = column(yield* Effect.replicateEffect(family(few), 5), cpuMs)
            ofFew.push({ [cpuMs]: median(samples) })
            for (const { count, figures } of ofMany) {
              figures.push(yield* family(count))
              say(`${name} of ${count}: ${Math.round(column(figures, ms).at(-1) ?? 0)} ms`)
            }
          })
        )
      }
      for (const { count, figures } of ofMany) {
        const linear = ofFew.map((those) => ({ [cpuMs]: ((those[cpuMs] ?? 0) * count) / few }))
        const figure = { name: cpuMs, unit: "ms of CPU", better: "less" } as const
        rows.push(compared(`${name}-${count}/linear`, figure, figures, linear))
        rows.push(alone(`${name}-${count}`, "ms", column(figures, ms)))
      }
    }
    return rows
  })
}
