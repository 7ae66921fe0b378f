/** What happens when a drain's time is up: each phase has a clock of its own, and none of them costs a recording. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { holdComputation } from "../support/computing.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

it.live(
  "at the drain deadline a room that is still there is cut, its recording computed, and the end is 3",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a", { args: ["--drain-deadline=1"] })
      const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      const b = yield* cluster.node("b")
      yield* receiver.more(10)
      yield* a.signal("SIGTERM")
      expect(yield* a.exited).toMatchObject({ code: 3 })
      const info = yield* call("recording.get", { recordingId: "talk-1" })
      const check = yield* recordedAgainstSent(info, sender)
      expect(check).toMatchObject({
        recorded: check.sent,
        lostPackets: 0,
        complaints: "",
        receipt: { computedBy: "a" }
      })
      expect(b.isRunning()).toBe(true)
    })
)

it.live("at the sealing deadline the end is 4, what is left is named, and a later start computes it", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const a = yield* cluster.node("a", { args: ["--sealing-deadline=1"] })
    const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(10)
    yield* a.signal("SIGTERM")
    yield* sender.stop
    yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ packets }) => packets >= sender.packets()
    )
    yield* call("room.close", { roomId: "talk" })
    const computation = yield* holdComputation(a.pid)
    expect(yield* a.exited).toMatchObject({ code: 4 })
    yield* a.says(/ERROR.*talk-1 is unfinished/)
    yield* computation.release

    yield* cluster.node("b")
    const info = yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ state }) => state === "Computed"
    )
    const check = yield* recordedAgainstSent(info, sender)
    expect(check).toMatchObject({ recorded: check.sent, packets: sender.packets() })
  })
)
