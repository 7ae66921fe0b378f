/** A recording whose node was killed does not disappear: until a later start adopts it, it is listed, and its id is taken. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

it.live(
  "a recording whose node was killed is Interrupted until it is adopted, and its id is nobody else's",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      // A data folder of its own: what runs meanwhile finds nothing to adopt.
      const b = yield* cluster.node("b", { dataDir: `${cluster.dataDir}-b` })
      yield* call("node.cordon", { nodeId: "b" })
      const a = yield* cluster.node("a")
      const { nodeId, receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      expect(nodeId).toBe("a")
      yield* receiver.more(10)
      yield* a.signal("SIGKILL")
      yield* a.exited

      const info = yield* until(
        call("recording.get", { recordingId: "talk-1" }),
        ({ state }) => state === "Interrupted"
      )
      expect(info).toMatchObject({
        roomId: "talk",
        nodeId: "a",
        problem: expect.stringContaining("ebb recordings recover")
      })
      expect(yield* call("recording.list", {})).toEqual({ recordings: [info] })
      expect(yield* call("recording.stop", { recordingId: "talk-1" })).toEqual(info)

      // The room lives on elsewhere; its recording of that id is not begun anew, by whatever way one comes.
      expect(yield* call("room.create", { roomId: "talk" })).toMatchObject({ nodeId: "b", created: true })
      const again = { roomId: "talk", recordingId: "talk-1" }
      expect(yield* Effect.flip(call("recording.start", again))).toMatchObject({
        _tag: "Conflict",
        retry: "never",
        problem: `it is Interrupted: ${info.problem}`
      })
      expect(yield* Effect.flip(cluster.actorOf(b).ask("StartRecording", again))).toMatchObject({
        _tag: "Conflict",
        problem: "node 'a' has begun it, and it is Capturing"
      })

      yield* cluster.node("a-again")
      const computed = yield* until(
        call("recording.get", { recordingId: "talk-1" }),
        ({ state }) => state === "Computed"
      )
      expect(computed).toMatchObject({ nodeId: "a", startedAt: info.startedAt })
      expect(yield* call("recording.start", again)).toEqual({ created: false, recording: computed })
      // What was refused has left nothing to be adopted.
      yield* b.signal("SIGTERM")
      yield* call("room.close", { roomId: "talk" })
      expect(yield* b.exited).toMatchObject({ code: 0 })
    })
)
