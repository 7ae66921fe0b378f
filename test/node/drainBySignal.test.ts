/**
 * A real signal to a node with a live room: nothing of the room is lost, nothing new is taken, and the process ends by itself when the room
 * has closed and the recording has its receipt. The same by SIGTERM to the process, to its whole group, and by Ctrl-C in a terminal.
 */
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { holdComputation } from "../support/computing.ts"
import type { EbbNode } from "../support/ebbNode.ts"
import { decodeFile } from "../support/ffprobe.ts"
import { consume, liveRoom } from "../support/liveRoom.ts"
import { opus, sendMedia, vp8 } from "../support/mediaSender.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import { nodeInTerminal } from "./terminal.ts"

interface Stopping {
  readonly how: string
  readonly start: (cluster: TestCluster) => Effect.Effect<EbbNode, never, Scope.Scope>
  readonly stop: (node: EbbNode) => Effect.Effect<void>
}

const ways: ReadonlyArray<Stopping> = [
  {
    how: "SIGTERM to the process",
    start: (cluster) => cluster.node("a"),
    stop: (node) => node.signal("SIGTERM")
  },
  {
    how: "SIGTERM to the whole process group",
    start: (cluster) => cluster.node("a", { ownGroup: true }),
    stop: (node) => node.signalGroup("SIGTERM")
  },
  {
    how: "Ctrl-C in a terminal",
    start: (cluster) => nodeInTerminal(cluster.options("a")),
    stop: (node) => node.types("\x03")
  }
]

describe.each(ways)("$how", ({ start, stop }) => {
  it.live(
    "drains the node: its room lives on and grows, new ones go elsewhere, its recording is whole, 0",
    () =>
      Effect.gen(function* () {
        const cluster = yield* testCluster
        const { call } = cluster
        const a = yield* start(cluster)
        const room = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
        const b = yield* cluster.node("b")
        yield* room.receiver.more(10)

        const signalledMs = performance.now()
        yield* stop(a)
        const refusal = yield* firstRefusal(cluster, a)
        const refusedAfterMs = performance.now() - signalledMs
        expect(refusal).toMatchObject({ _tag: "NodeDraining", nodeId: "a", retry: "safe" })
        // One try: the caller need not know that there was somebody who refused.
        const elsewhere = yield* call("room.create", { roomId: "another" }, { retryForMs: 0 })
        expect(elsewhere).toEqual({ roomId: "another", nodeId: "b", created: true })

        const more = { videoPort: 0, audioPort: 0 }
        more.videoPort = (yield* call("producer.add", { roomId: "talk", producerId: "video2", ...vp8 })).port
        more.audioPort = (yield* call("producer.add", { roomId: "talk", producerId: "audio2", ...opus })).port
        const ofNewcomer = yield* consume(cluster, {
          roomId: "talk",
          producerId: "audio2",
          consumerId: "newcomer"
        })
        const newcomer = yield* sendMedia(more)
        yield* ofNewcomer.more(25)
        const late = yield* consume(cluster, { roomId: "talk", producerId: "video", consumerId: "late" })

        yield* Effect.sleep(Math.max(0, signalledMs + 5000 - performance.now()))
        yield* room.receiver.more(25)
        yield* late.more(25)
        expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({
          life: "Draining",
          admission: "closed",
          blockers: expect.arrayContaining([expect.objectContaining({ kind: "room", id: "talk" })])
        })

        yield* room.sender.stop
        yield* newcomer.stop
        const sent = room.sender.packets() + newcomer.packets()
        yield* until(call("recording.get", { recordingId: "talk-1" }), ({ packets }) => packets >= sent)
        expect(a.isRunning()).toBe(true)
        yield* call("room.close", { roomId: "talk" })

        const exit = yield* a.exited
        expect(exit).toMatchObject({ code: 0, signal: null })
        const info = yield* call("recording.get", { recordingId: "talk-1" })
        expect(info).toMatchObject({ state: "Computed", packets: sent, lostPackets: 0, tracks: 4 })
        const { file = "", computedAt = 0 } = info
        const receipt: unknown = JSON.parse(
          yield* Effect.promise(() => readFile(join(dirname(file), "receipt.json"), "utf8"))
        )
        expect(receipt).toMatchObject({ state: "Computed", computedBy: "a", sha256: info.sha256 })
        expect(yield* decodeFile(file)).toEqual({
          video: room.sender.video.frames() + newcomer.video.frames(),
          audio: room.sender.audio.frames() + newcomer.audio.frames(),
          complaints: ""
        })
        const nodes = yield* until(call("node.list", undefined), ({ nodes }) => nodes.length === 1)
        expect(nodes.nodes[0]?.nodeId).toBe("b")
        expect(yield* call("room.list", {})).toEqual({
          rooms: [{ roomId: "another", nodeId: "b", lost: false }]
        })
        expect(b.isRunning()).toBe(true)
        yield* Effect.logInfo(
          `first refusal ${Math.round(refusedAfterMs)} ms after the signal; process gone`,
          `${Math.round(performance.timeOrigin + exit.atMs - computedAt)} ms after its last receipt`
        )
      })
  )
})

describe.each(ways)("$how while a recording is computed", ({ start, stop }) => {
  it.live("leaves the computation alone, and the process ends with 0 when the receipt is there", () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* start(cluster)
      const room = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* room.sender.stop
      yield* call("room.close", { roomId: "talk" })
      const computation = yield* holdComputation(a.pid)
      yield* stop(a)
      yield* until(call("node.status", { nodeId: "a" }), ({ life }) => life === "Sealing")
      yield* computation.release
      expect(yield* a.exited).toMatchObject({ code: 0, signal: null })
      const receipt = JSON.parse(
        yield* Effect.promise(() => readFile(join(cluster.dataDir, "results/talk-1/receipt.json"), "utf8"))
      )
      expect(receipt).toMatchObject({ state: "Computed" })
      // It did not have to be begun again.
      expect(computation.seen.size).toBe(1)
    })
  )
})

/** What the node itself says; rooms that it took before it heard of the signal are closed again. */
const firstRefusal = Effect.fnUntraced(function* (cluster: TestCluster, node: EbbNode) {
  for (let probe = 0; ; probe++) {
    const roomId = `probe-${probe}`
    const answer = yield* Effect.result(cluster.actorOf(node).ask("OpenRoom", { roomId, options: {} }))
    if (answer._tag === "Failure") return answer.failure
    yield* cluster.call("room.close", { roomId })
  }
})
