/** A node's computations: seen from outside, and caught in the act, stopped for as long as a test wants one to be under way. */
import * as Effect from "effect/Effect"
import { childrenOf } from "./ebbNode.ts"
import { until } from "./until.ts"

/** Stops the next one before it has a result. `seen` are the pids of it and of all that come after it, for as long as the test looks. */
export const holdComputation = Effect.fnUntraced(function* (nodePid: number) {
  const [pid = 0] = yield* until(computationsOf(nodePid), (pids) => pids.length > 0)
  process.kill(pid, "SIGSTOP")
  // Its lock would outlive the test as a stopped process.
  const release = Effect.ignore(Effect.try({ try: () => process.kill(pid, "SIGCONT"), catch: String }))
  yield* Effect.addFinalizer(() => release)
  const seen = new Set([pid])
  yield* computationsOf(nodePid).pipe(
    Effect.tap((pids) => Effect.sync(() => pids.forEach((each) => seen.add(each)))),
    Effect.andThen(Effect.sleep(20)),
    Effect.forever,
    Effect.forkScoped
  )
  return { release, seen }
})

const computationsOf = (nodePid: number) =>
  Effect.map(childrenOf(nodePid), (all) =>
    all.filter(({ command }) => command.includes("ebb-compute")).map(({ pid }) => pid)
  )
