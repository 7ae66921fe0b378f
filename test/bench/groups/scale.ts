/**
 * Many actors in one process, and their drain: does the cost grow with their number alone? Measured against itself: `theirs` is what so many
 * would take if each took as long as one of a thousand does. A ratio of 1 is linear, 0.5 is twice as long.
 */
import * as Effect from "effect/Effect"
import { startContender } from "../Contender.ts"
import { alone, column, compared, type Figure, type Row } from "../Row.ts"
import { median } from "../statistics.ts"
import type { Figures, Task } from "../Task.ts"
import type { Group } from "./Group.ts"

const few = 1000

interface Measured {
  readonly name: string
  readonly figure: string
  readonly drain: Extract<Task, { name: "family" }>["drain"]
}

/** `evacuate`: told to end them. `wait`: each ends by itself, and the drain goes with the last. */
const measured: ReadonlyArray<Measured> = [
  { name: "spawn", figure: "spawnMs", drain: "evacuate" },
  { name: "evacuate", figure: "drainMs", drain: "evacuate" },
  { name: "drain", figure: "drainMs", drain: "wait" }
]

export const scale: Group = {
  name: "scale",
  run: Effect.fnUntraced(function* ({ effort, execArgv, say }) {
    const rounds = Math.max(2, Math.round(effort.rounds / 4))
    const rows: Array<Row> = []
    for (const { drain, figure, name } of measured) {
      const ofFew: Array<Figures> = []
      const ofMany = new Map<number, Array<Figures>>([
        [10_000, []],
        [100_000, []]
      ])
      // Each round has a process of its own: what a hundred thousand leave in the heap is not the next one's.
      for (let round = 0; round < rounds; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const ebb = yield* startContender("ebb", "localEbb", [], { execArgv })
            const family = (count: number) => ebb.does({ name: "family", count, drain })
            for (let warmUp = 0; warmUp < 5; warmUp++) yield* family(few)
            // So few are soon done: one of them may have met the garbage of all before.
            const samples = column(yield* Effect.replicateEffect(family(few), 5), figure)
            ofFew.push({ [figure]: median(samples) })
            for (const [count, figures] of ofMany) {
              figures.push(yield* family(count))
              say(`${name} of ${count}: ${Math.round(column(figures, figure).at(-1) ?? 0)} ms`)
            }
          })
        )
      }
      for (const [count, figures] of ofMany) {
        const unit: Figure = { name: figure, unit: "ms", better: "less" }
        const linear = ofFew.map((those) => ({ [figure]: ((those[figure] ?? 0) * count) / few }))
        rows.push(compared(`${name}-${count}/linear`, unit, figures, linear))
      }
      rows.push(alone(`${name}-${few}`, "ms", column(ofFew, figure)))
    }
    return rows
  })
}
