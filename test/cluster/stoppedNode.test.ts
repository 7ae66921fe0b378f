/**
 * A node is stopped by SIGSTOP for 30 s, long enough to be dead for the cluster, and one of its rooms is taken over. When it goes on, at once
 * with messages that make it write, it writes nothing that is not its own any more: the room that was taken ends, the one that was not is
 * still there, and what it was told to open meanwhile is opened by nobody.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { expect, it } from "@effect/vitest"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const stopMs = 30_000
/** For so long after it is looked whether anything that the stopped node wrote shows. */
const watchMs = 10_000

it.live(
  "a node that was stopped for 30 s and is made to write at once takes nothing back that was taken from it",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call, system } = cluster
      const a = yield* cluster.node("a")
      for (const roomId of ["taken", "kept"]) yield* call("room.create", { roomId })
      const b = yield* cluster.node("b")
      yield* call("node.cordon", { nodeId: "a" })

      yield* a.signal("SIGSTOP")
      const stoppedMs = performance.now()
      const { ask } = system.system(a.incarnation)
      const watching = yield* Effect.forkScoped(
        ask("Watch", { kind: "room", id: "taken", holdMs: 60_000 }, { timeoutMs: 65_000 })
      )
      yield* until(
        call("room.list", {}),
        ({ rooms }) => rooms.length === 2 && rooms.every(({ lost }) => lost)
      )
      expect(yield* call("room.create", { roomId: "taken" })).toMatchObject({ nodeId: "b", created: true })
      yield* Effect.sleep(stopMs - (performance.now() - stoppedMs))

      // They wait in its socket, and are the first it reads: each would claim a name.
      const nodeActor = cluster.actorOf(a)
      const writes = yield* Effect.forEach(["late", "taken"], (roomId) =>
        Effect.forkScoped(Effect.exit(nodeActor.ask("OpenRoom", { roomId, options: {} })), {
          startImmediately: true
        })
      )
      yield* Effect.sleep(100)
      yield* a.signal("SIGCONT")
      const continuedMs = performance.now()
      // And again and again from the moment it goes on, as somebody who does not give up.
      const insistent = yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(
            Effect.exit(nodeActor.ask("OpenRoom", { roomId: "taken", options: {} })),
            Effect.sleep(20)
          )
        )
      )
      while (performance.now() - continuedMs < watchMs) {
        expect(yield* call("room.get", { roomId: "taken" })).toMatchObject({ nodeId: "b" })
        yield* Effect.sleep(50)
      }
      yield* Fiber.interrupt(insistent)
      for (const write of yield* Effect.forEach(writes, Fiber.join)) expect(write._tag).toBe("Failure")
      expect((yield* Fiber.join(watching)).terminated?.detail).toMatch(/superseded/)

      // It has come back, with what is still its own.
      yield* until(call("room.get", { roomId: "kept" }), ({ nodeId }) => nodeId === "a")
      const { rooms } = yield* call("room.list", {})
      expect(rooms.map(({ lost, nodeId, roomId }) => `${roomId} ${nodeId} ${lost}`).toSorted()).toEqual([
        "kept a false",
        "taken b false"
      ])
      yield* Effect.logInfo(`stopped for ${Math.round(continuedMs - stoppedMs)} ms; nothing was taken back`)
      expect(b.isRunning()).toBe(true)
    }),
  120_000
)
