/**
 * `kill -9`, of a node and of its worker, while media flows. What had reached the node process is in the recording, and nothing is taken from
 * a process that lives.
 */
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { holdComputation } from "../support/computing.ts"
import { childrenOf } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { readReceipt, recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const computed = ({ call }: TestCluster, recordingId: string) =>
  until(call("recording.get", { recordingId }), ({ state }) => state === "Computed")

it.live(
  "a node killed in mid-recording: a later start on its data folder computes every packet that reached it",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const quiet = yield* liveRoom(cluster, "quiet", { recordingId: "quiet-1" })
      const talking = yield* liveRoom(cluster, "talking", { recordingId: "talking-1" })
      const b = yield* cluster.node("b", { dataDir: `${cluster.dataDir}-b` })
      yield* quiet.receiver.more(25)
      yield* talking.receiver.more(25)
      // One sender has paused, so that what reached the node is known to the packet; the other is in the middle of it.
      yield* quiet.sender.stop
      yield* until(
        call("recording.get", { recordingId: "quiet-1" }),
        ({ packets }) => packets === quiet.sender.packets()
      )
      const { packets: known } = yield* call("recording.get", { recordingId: "talking-1" })
      yield* a.signal("SIGKILL")
      const sentByThen = talking.sender.packets()
      expect(yield* a.exited).toMatchObject({ signal: "SIGKILL" })

      const again = yield* cluster.node("a-again")
      const quietInfo = yield* computed(cluster, "quiet-1")
      const quietCheck = yield* recordedAgainstSent(quietInfo, quiet.sender)
      expect(quietCheck).toMatchObject({
        packets: quiet.sender.packets(),
        recorded: { video: quiet.sender.video.frames(), audio: quiet.sender.audio.frames() },
        lostPackets: 0,
        complaints: "",
        receipt: { computedBy: "a-again", parts: [{ nodeId: "a", gapPackets: 0, damagedRecords: 0 }] }
      })

      const talkingCheck = yield* recordedAgainstSent(yield* computed(cluster, "talking-1"), talking.sender)
      expect(talkingCheck.recorded).toEqual(talkingCheck.sent)
      expect(talkingCheck).toMatchObject({ lostPackets: 0, complaints: "" })
      expect(talkingCheck.packets).toBeGreaterThanOrEqual(known)
      expect(talkingCheck.receipt.parts[0]).not.toHaveProperty("sealed")
      yield* Effect.logInfo(
        `killed after ${sentByThen} packets were sent: ${talkingCheck.packets} recorded;`,
        `the node had said ${known} just before`
      )

      // Whichever node answers.
      for (let times = 0; times < 6; times++) {
        const { recordings } = yield* call("recording.list", {})
        expect(recordings.map(({ recordingId, state }) => `${recordingId} ${state}`).toSorted()).toEqual([
          "quiet-1 Computed",
          "talking-1 Computed"
        ])
      }
      expect([b.isRunning(), again.isRunning()]).toEqual([true, true])
    })
)

it.live(
  "a second node on the data folder of a living one takes nothing: the first computes its own recording",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      // Stopped, it must look as alive as ever.
      yield* a.signal("SIGSTOP")
      yield* cluster.node("b")
      yield* a.signal("SIGCONT")
      yield* receiver.more(25)
      yield* sender.stop
      const live = yield* until(
        call("recording.get", { recordingId: "talk-1" }),
        ({ packets }) => packets >= sender.packets()
      )
      expect(live).toMatchObject({ state: "Capturing", nodeId: "a" })
      yield* call("recording.stop", { recordingId: "talk-1" })
      const check = yield* recordedAgainstSent(yield* computed(cluster, "talk-1"), sender)
      expect(check).toMatchObject({
        packets: sender.packets(),
        recorded: { video: sender.video.frames(), audio: sender.audio.frames() },
        receipt: { computedBy: "a", parts: [{ nodeId: "a", gapPackets: 0 }] }
      })
    })
)

it.live("a node killed while it computes, twice: the third computes", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const a = yield* cluster.node("a")
    const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(10)
    yield* sender.stop
    yield* cluster.call("room.close", { roomId: "talk" })
    const first = yield* holdComputation(a.pid)
    yield* a.signal("SIGKILL")
    yield* a.exited
    // Its computation sees that nobody is there any more, and goes too.
    yield* first.release

    const b = yield* cluster.node("b")
    const second = yield* holdComputation(b.pid)
    yield* b.signal("SIGKILL")
    yield* b.exited
    yield* second.release

    yield* cluster.node("c")
    const check = yield* recordedAgainstSent(yield* computed(cluster, "talk-1"), sender)
    expect(check).toMatchObject({
      recorded: { video: sender.video.frames(), audio: sender.audio.frames() },
      receipt: { computedBy: "c" }
    })
  })
)

it.live("a drain waits for what is being adopted, and says so", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const a = yield* cluster.node("a")
    const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(10)
    yield* a.signal("SIGKILL")
    yield* a.exited

    const b = yield* cluster.node("b")
    const adopting = yield* holdComputation(b.pid)
    // Once its owner may be called dead, whoever asks is told who finishes it, and how far that is.
    const known = yield* until(
      Effect.orElseSucceed(call("recording.get", { recordingId: "talk-1" }), () => undefined),
      (info) => info !== undefined && info.state !== "Capturing"
    )
    expect(known).toMatchObject({
      state: "Sealing",
      problem: "its node 'a' is dead; node 'b' finishes it",
      progress: { step: "index", fraction: 0 }
    })
    yield* b.signal("SIGTERM")
    const { blockers } = yield* until(call("node.status", { nodeId: "b" }), ({ life }) => life === "Sealing")
    expect(blockers).toEqual([expect.objectContaining({ kind: "adoption" })])
    yield* adopting.release
    expect(yield* b.exited).toMatchObject({ code: 0 })
    expect(yield* readReceipt(join(cluster.dataDir, "results/talk-1/recording.webm"))).toMatchObject({
      state: "Computed",
      computedBy: "b"
    })
  })
)

it.live(
  "a worker killed under a room: the room ends and says why, its recording is whole, the node has a new worker",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(25)
      const [worker] = yield* workersOf(a.pid)
      const { packets: known } = yield* call("recording.get", { recordingId: "talk-1" })
      process.kill(worker?.pid ?? 0, "SIGKILL")
      const info = yield* computed(cluster, "talk-1")
      const check = yield* recordedAgainstSent(info, sender)
      expect(check.recorded).toEqual(check.sent)
      expect(check).toMatchObject({ lostPackets: 0, complaints: "" })
      expect(check.packets).toBeGreaterThanOrEqual(known)
      expect(check.receipt.parts[0]?.sealed).toMatch(/^room ended: .*worker/)
      expect(yield* Effect.flip(call("room.get", { roomId: "talk" }))).toMatchObject({ _tag: "NotFound" })

      expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({ life: "Serving", unfinished: [] })
      const next = yield* liveRoom(cluster, "next")
      yield* next.receiver.more(25)
      const [newWorker] = yield* workersOf(a.pid)
      expect(newWorker?.pid).toBeGreaterThan(0)
      expect(newWorker?.pid).not.toBe(worker?.pid)
    })
)

const workersOf = (nodePid: number) =>
  Effect.map(childrenOf(nodePid), (all) => all.filter(({ command }) => command.includes("mediasoup-worker")))
