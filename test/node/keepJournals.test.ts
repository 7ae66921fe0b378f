/** A journal goes when its recording is computed and its keep time is over; the result stays. */
import { access } from "node:fs/promises"
import { dirname } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const isThere = (file: string) =>
  Effect.promise(() =>
    access(file).then(
      () => true,
      () => false
    )
  )

const loseAll = ({ nats }: TestCluster) =>
  Effect.all([nats.kill, nats.loseStore, nats.start], { discard: true })

it.live(
  "a node removes the journals that are past their keep time when it starts, and keeps the results, also in sight",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      const { folder = "" } = yield* call("recording.get", { recordingId: "talk-1" })
      yield* call("room.close", { roomId: "talk" })
      const recording = call("recording.get", { recordingId: "talk-1" })
      const { file = "" } = yield* until(recording, ({ state }) => state === "Computed")
      yield* a.signal("SIGTERM")
      expect(yield* a.exited).toMatchObject({ code: 0 })

      // Its time has not come: 24 hours, when nothing is said.
      const b = yield* cluster.node("b")
      yield* b.signal("SIGTERM")
      yield* b.exited
      expect(yield* isThere(folder)).toBe(true)

      const c = yield* cluster.node("c", { args: ["--keep-journals=0"] })
      yield* c.says(/removed 1 journals/)
      expect([yield* isThere(folder), yield* isThere(dirname(folder)), yield* isThere(file)]).toEqual([
        false,
        false,
        true
      ])
      const info = yield* recording
      expect(info).toMatchObject({ state: "Computed", file })

      // Then the results alone know of it: whoever lives, or starts, when NATS has lost all tells the others again.
      yield* loseAll(cluster)
      expect(yield* until(recording, ({ state }) => state === "Computed")).toEqual(info)
      yield* c.signal("SIGTERM")
      yield* c.exited
      yield* loseAll(cluster)
      yield* cluster.node("d")
      expect(yield* until(recording, ({ state }) => state === "Computed")).toEqual(info)
    })
)
