/**
 * Contenders in turns: each does the task once a round, and who begins moves on with each round, so that what the machine does beside
 * falls on all alike. The first rounds are for the compilers and are thrown away.
 */
import * as Effect from "effect/Effect"
import type { Contender } from "./Contender.ts"
import type { Rounds } from "./Row.ts"
import type { Figures, Task } from "./Task.ts"

export interface Effort {
  readonly rounds: number
  readonly warmUps: number
  /** Of one turn. */
  readonly turnMs: number
}

/** The rounds of each contender, by its name. `task` is what a contender does in its turn. */
export const heat = Effect.fnUntraced(function* (
  contenders: ReadonlyArray<Contender>,
  { rounds, warmUps }: Pick<Effort, "rounds" | "warmUps">,
  task: Task
) {
  const seen = new Map<string, Array<Figures>>(contenders.map(({ name }) => [name, []]))
  for (let round = -warmUps; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(turn + round + warmUps) % contenders.length]
      if (contender === undefined) continue
      const figures = yield* contender.does(task)
      if (round >= 0) seen.get(contender.name)?.push(figures)
    }
  }
  return (name: string): Rounds => seen.get(name) ?? []
})
