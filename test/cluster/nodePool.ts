/** The nodes of a long test: always so many alive, each process under a name of its own, and whoever is gone is replaced. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EbbNode } from "../support/ebbNode.ts"
import type { TestCluster } from "../support/testCluster.ts"

export interface NodePool {
  readonly running: () => ReadonlyArray<EbbNode>
  /** Starts as many as are missing; they serve when it returns. */
  readonly fill: Effect.Effect<void, never, Scope.Scope>
}

export const nodePool = Effect.fnUntraced(function* (cluster: TestCluster, size: number) {
  const nodes: Array<EbbNode> = []
  let started = 0
  const running = () => nodes.filter((node) => node.isRunning())
  const pool: NodePool = {
    running,
    fill: Effect.suspend(() =>
      Effect.forEach(
        Array.from({ length: size - running().length }, () => `n${++started}`),
        (name) => Effect.map(cluster.node(name), (node) => void nodes.push(node)),
        { concurrency: 2, discard: true }
      )
    )
  }
  yield* pool.fill
  return pool
})
