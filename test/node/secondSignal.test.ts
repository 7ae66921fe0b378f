/** The second and the third signal. Each counts only when it comes at least a second after the one before. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { holdComputation } from "../support/computing.ts"
import type { EbbNode } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const lifeIs = ({ call }: TestCluster, nodeId: string, wanted: string) =>
  until(call("node.status", { nodeId }), ({ life }) => life === wanted)

/** The only way to make a signal another one is to let a second pass. */
const anotherSignal = (node: EbbNode, name: NodeJS.Signals) =>
  Effect.andThen(Effect.sleep(1100), node.signal(name))

it.live(
  "two signals within a second are one; a later one evacuates: the room is cut, its recording is whole, 3",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      // Answers when a is gone.
      const b = yield* cluster.node("b")
      yield* receiver.more(10)

      yield* a.signal("SIGTERM")
      yield* a.says(/SIGTERM: draining/)
      yield* a.signal("SIGTERM")
      yield* a.signal("SIGINT")
      yield* lifeIs(cluster, "a", "Draining")
      yield* receiver.more(25)
      expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({ life: "Draining" })

      yield* anotherSignal(a, "SIGINT")
      expect(yield* a.exited).toMatchObject({ code: 3, signal: null })
      const info = yield* call("recording.get", { recordingId: "talk-1" })
      expect(info).toMatchObject({ state: "Computed", lostPackets: 0 })
      expect(info.packets).toBeGreaterThan(50)
      const { recorded, sent, ...rest } = yield* recordedAgainstSent(info, sender)
      expect(recorded).toEqual(sent)
      expect(rest).toMatchObject({ lostPackets: 0, complaints: "" })
      expect(b.isRunning()).toBe(true)
    })
)

it.live("the third signal kills: 143, and a later start computes what was left", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const a = yield* cluster.node("a")
    const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(10)
    yield* sender.stop
    yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ packets }) => packets >= sender.packets()
    )

    yield* a.signal("SIGTERM")
    yield* lifeIs(cluster, "a", "Draining")
    yield* anotherSignal(a, "SIGTERM")
    const computation = yield* holdComputation(a.pid)
    yield* lifeIs(cluster, "a", "Sealing")
    yield* anotherSignal(a, "SIGTERM")
    expect(yield* a.exited).toMatchObject({ code: 143, signal: null })
    yield* computation.release

    yield* cluster.node("b")
    const info = yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ state }) => state === "Computed"
    )
    expect(info).toMatchObject({ packets: sender.packets(), lostPackets: 0 })
    const { complaints, recorded } = yield* recordedAgainstSent(info, sender)
    expect({ ...recorded, complaints }).toEqual({
      video: sender.video.frames(),
      audio: sender.audio.frames(),
      complaints: ""
    })
  })
)
