/** A node's computation, caught in the act: stopped before it has a result, for as long as a test wants it to be under way. */
import * as Effect from "effect/Effect"
import { childrenOf } from "./ebbNode.ts"
import { until } from "./until.ts"

export const holdComputation = Effect.fnUntraced(function* (nodePid: number) {
  const children = yield* until(childrenOf(nodePid), (all) => all.some(isComputing))
  const pid = children.find(isComputing)?.pid ?? 0
  process.kill(pid, "SIGSTOP")
  // Its lock would outlive the test as a stopped process.
  const release = Effect.ignore(Effect.try({ try: () => process.kill(pid, "SIGCONT"), catch: String }))
  yield* Effect.addFinalizer(() => release)
  return { pid, release }
})

const isComputing = ({ command }: { readonly command: string }) => command.includes("ebb-compute")
