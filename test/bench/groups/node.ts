/**
 * A real media node and a real signal: how long until it refuses a new room, and how long from the end of its last room until it is
 * Drained, and until its process is gone. Seen by a client over NATS, so the way there and back is in it.
 */
import { roomKind, RoomProtocol } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { EbbNode } from "../../support/ebbNode.ts"
import { type TestCluster, testCluster } from "../../support/testCluster.ts"
import { alone } from "../Row.ts"
import type { Group } from "./Group.ts"

/** Milliseconds from the call to the first refusal of a room; and the rooms that were taken before. */
const untilRefused = Effect.fnUntraced(function* (cluster: TestCluster, node: EbbNode) {
  const beganMs = performance.now()
  yield* node.signal("SIGTERM")
  const taken: Array<string> = []
  while (true) {
    const roomId = `probe-${taken.length}-of-${node.nodeId}`
    const answer = yield* Effect.result(cluster.actorOf(node).ask("OpenRoom", { roomId, options: {} }))
    if (answer._tag === "Failure") return { refusedMs: performance.now() - beganMs, taken }
    taken.push(roomId)
  }
})

const oneDrain = Effect.fnUntraced(function* (cluster: TestCluster, nodeId: string) {
  const node = yield* cluster.node(nodeId)
  const roomId = `talk-on-${nodeId}`
  yield* cluster.call("room.create", { roomId })
  const { refusedMs, taken } = yield* untilRefused(cluster, node)
  yield* Effect.forEach(taken, (taken) => cluster.call("room.close", { roomId: taken }), { discard: true })

  const endOf = (terminated: Effect.Effect<unknown>) =>
    Effect.forkChild(Effect.map(terminated, () => performance.now()))
  const { incarnation } = node
  const room = cluster.system.ref(RoomProtocol, { kind: roomKind, id: roomId, incarnation })
  const roomEnds = yield* endOf(room.terminated)
  const nodeEnds = yield* endOf(cluster.actorOf(node).terminated)
  // Both watches are there before the close: frames of one sender keep their order.
  yield* cluster.actorOf(node).ask("Report", undefined)
  yield* cluster.call("room.close", { roomId })
  const roomEndedMs = yield* Fiber.join(roomEnds)
  const drainedMs = (yield* Fiber.join(nodeEnds)) - roomEndedMs
  const exit = yield* node.exited
  if (exit.code !== 0) return yield* Effect.die(new Error(`the node ended with ${exit.signal ?? exit.code}`))
  return { refusedMs, drainedMs, goneMs: exit.atMs - roomEndedMs }
})

export const node: Group = {
  name: "node",
  run: Effect.fnUntraced(function* ({ effort, say }) {
    const cluster = yield* Effect.orDie(testCluster)
    const rounds = Math.max(3, Math.round(effort.rounds / 2))
    const drains = yield* Effect.forEach(
      Array.from({ length: rounds }, (_, round) => `node-${round}`),
      (nodeId) =>
        Effect.scoped(oneDrain(cluster, nodeId)).pipe(
          Effect.orDie,
          Effect.tap(({ drainedMs, refusedMs }) =>
            Effect.sync(() =>
              say(`refused after ${refusedMs.toFixed(1)} ms, Drained ${drainedMs.toFixed(1)} ms`)
            )
          )
        )
    )
    return [
      alone(
        "sigterm-to-refusal",
        "ms",
        drains.map(({ refusedMs }) => refusedMs)
      ),
      alone(
        "last-room-to-drained",
        "ms",
        drains.map(({ drainedMs }) => drainedMs)
      ),
      alone(
        "last-room-to-exit",
        "ms",
        drains.map(({ goneMs }) => goneMs)
      )
    ]
  })
}
