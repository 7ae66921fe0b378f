/** What a deployer can see of the cluster, as far as the rollout's state asks for it. Remembers which receipts it has seen. */
import { Leases } from "@ebb/actors"
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import { Orchestrator } from "../Orchestrator.ts"
import type { OpenRollout } from "../Rollout.ts"
import type { Cluster } from "../RolloutDecision.ts"

/** For one question to a node: it is asked again at the next look. */
export const askOnce = { timeoutMs: 2_000, retryForMs: 0 } as const

export const makeSight = Effect.fnUntraced(function* (control: ControlClient) {
  const orchestrator = yield* Orchestrator
  const leases = yield* Leases
  const computed = new Set<string>()

  const reportOf = (nodeId: string) =>
    control.call("node.status", { nodeId }, askOnce).pipe(
      Effect.map(({ life, recordings, rooms, unfinished }) => ({
        life,
        rooms: rooms.map(({ id }) => id),
        recordings: [...recordings.map(({ id }) => id), ...unfinished.map(({ recordingId }) => recordingId)]
      })),
      Effect.orElseSucceed(() => undefined)
    )
  /** Nobody has to wait for it any more. */
  const isSettled = (recordingId: string) =>
    control.call("recording.get", { recordingId }, askOnce).pipe(
      Effect.map(({ givenUp, state }) => state === "Computed" || givenUp !== undefined),
      Effect.orElseSucceed(() => false)
    )

  return Effect.fnUntraced(function* (rollout: OpenRollout, quietMs: number) {
    const instances = new Map(
      (yield* orchestrator.list).map(({ instance, signalled, state }) => [instance, { state, signalled }])
    )
    const asks = rollout._tag === "Ready" || rollout._tag === "Draining"
    const old = asks ? rollout.plan.old[rollout.step]?.instance : undefined
    const isRunning = old !== undefined && instances.get(old)?.state._tag === "Running"
    const report = isRunning ? yield* reportOf(old) : undefined
    if (rollout._tag === "Settling") {
      for (const recording of rollout.recordings) {
        if (!computed.has(recording) && (yield* isSettled(recording))) computed.add(recording)
      }
    }
    const nodes = new Map(
      (yield* leases.current).map((lease) => [
        lease.node,
        {
          incarnation: lease.inc,
          version: lease.version,
          life: lease.life,
          admission: lease.admission,
          proto: lease.proto
        }
      ])
    )
    return { instances, nodes, report, computed, quietMs } satisfies Cluster
  })
})
