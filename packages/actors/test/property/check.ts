/** Runs by seed: what `npm test` does a thousand times, and `pnpm soak` for as long as wanted. */
import type { Broken, Model } from "./model.ts"
import type { Run } from "./operations.ts"
import { runOf } from "./operations.ts"
import { Scenario } from "./scenario.ts"

export interface Failure {
  readonly seed: number
  readonly broken: Broken
  /** For a person: the shortest run that was found to break the same promise, and what happened in it. */
  readonly report: string
}

/** Plays the run of one seed. */
export const check = (seed: number): { readonly model: Model; readonly failure: Failure | undefined } => {
  const run = runOf(seed)
  const { broken, model } = withoutStacks(() => Scenario.play(run))
  if (broken === undefined) return { model, failure: undefined }
  const shortest = withoutStacks(() => shorten(run, broken))
  return { model, failure: { seed, broken, report: describe(seed, run, shortest) } }
}

/** Errors are common here, and each would spend more on its stack than on all else. */
const withoutStacks = <A>(run: () => A): A => {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return run()
  } finally {
    Error.stackTraceLimit = before
  }
}

/** Leaves steps out, half of them, a quarter, ... one, as long as the same promise is broken by the rest. */
const shorten = (run: Run, { promise }: Broken): Run => {
  let shortest = run
  for (let size = Math.ceil(run.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.steps.length;) {
      const steps = shortest.steps.toSpliced(at, size)
      if (Scenario.play({ ...shortest, steps }).broken?.promise === promise) shortest = { ...shortest, steps }
      else at += size
    }
  }
  return shortest
}

const describe = (seed: number, run: Run, shortest: Run): string => {
  const { broken, model } = Scenario.play(shortest)
  const { processes, steps } = shortest
  return [
    `seed ${seed}: ${broken?.message}`,
    `with ${processes} processes; of ${run.steps.length} steps these ${steps.length} are enough:`,
    ...steps.map(({ operation, thenMs }) => `    ${JSON.stringify(operation)}, then ${thenMs} ms`),
    "what happens in them:",
    ...model.trace.map((line) => `    ${line}`),
    `again: pnpm soak --from ${seed} --seeds 1`
  ].join("\n")
}
