/**
 * nats-server is killed and started again: calls and recordings go on meanwhile, nobody is declared dead, SIGTERM still drains, and after it
 * everything is commanded again. With its store lost, too: who lives registers again, and enters the receipts again.
 */
import { startMediaNode } from "@ebb/media"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { describe, expect, it } from "@effect/vitest"
import { childrenOf } from "../support/ebbNode.ts"
import { consume, liveRoom } from "../support/liveRoom.ts"
import { opus } from "../support/mediaSender.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { openUdp } from "../support/udpCounter.ts"
import { until } from "../support/until.ts"

const outageMs = 30_000

/** A room with a recording that has some Opus in it. */
const recordedRoom = Effect.fnUntraced(function* (
  { call }: TestCluster,
  roomId: string,
  recordingId: string
) {
  const { nodeId } = yield* call("room.create", { roomId })
  const { port } = yield* call("producer.add", { roomId, producerId: "audio", ...opus })
  yield* call("recording.start", { roomId, recordingId })
  const socket = yield* openUdp
  for (let n = 1; n <= 25; n++) {
    const packet = Buffer.from("806f00000000000000000000fcfffe", "hex")
    packet.writeUInt16BE(n, 2)
    packet.writeUInt32BE(n * 960, 4)
    packet.writeUInt32BE(opus.ssrc, 8)
    socket.send(packet, port, "127.0.0.1")
  }
  yield* until(call("recording.get", { recordingId }), ({ packets }) => packets === 25)
  return nodeId
})

const isComputed = ({ call }: TestCluster, recordingId: string) =>
  until(call("recording.get", { recordingId }), ({ state }) => state === "Computed")

/** Kept out of the next room's way. */
const cordon = ({ call }: TestCluster, nodeId: string) => call("node.cordon", { nodeId })

describe("nats-server killed for 30 s", () => {
  it.live(
    "ends no room and no recording, and nobody: the node drains on SIGTERM meanwhile, and all is commanded again after",
    () =>
      Effect.gen(function* () {
        const cluster = yield* testCluster
        const { call, nats } = cluster
        // a is called all through; b evacuates, idle ends, c loses a worker, all while NATS is away.
        const a = yield* cluster.node("a")
        const talk = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
        yield* cordon(cluster, "a")
        const b = yield* cluster.node("b")
        expect(yield* recordedRoom(cluster, "b-room", "b-1")).toBe("b")
        yield* cordon(cluster, "b")
        const c = yield* startMediaNode({
          cluster: cluster.name,
          nodeId: "c",
          nats: { servers: cluster.nats.address },
          dataDir: cluster.dataDir,
          media: { workers: 1 }
        })
        expect(yield* recordedRoom(cluster, "c-room", "c-1")).toBe("c")
        yield* cordon(cluster, "c")
        const idle = yield* cluster.node("idle")
        yield* talk.receiver.more(25)

        yield* nats.kill
        const killedMs = performance.now()
        const before = { sent: talk.sender.video.packets(), received: talk.receiver.packets() }

        yield* idle.signal("SIGTERM")
        yield* b.signal("SIGTERM")
        yield* b.says(/SIGTERM: draining/)
        const idleEnd = yield* idle.exited
        expect(idleEnd.code).toBe(0)
        const idleMs = idleEnd.atMs - killedMs
        // It waits for its room. A second signal ends the room, and its recording is finished all the same.
        yield* Effect.sleep(1100)
        expect(b.isRunning()).toBe(true)
        yield* b.signal("SIGTERM")
        expect((yield* b.exited).code).toBe(3)
        const [worker] = (yield* childrenOf(process.pid)).filter(({ command }) =>
          /mediasoup-worker/.test(command)
        )
        process.kill(worker?.pid ?? 0, "SIGKILL")

        // Of itself and by its log: nobody can ask it by NATS.
        const isolated = yield* until(c.report, ({ control }) => control === "isolated")
        const isolatedMs = performance.now() - killedMs
        expect(isolated).toMatchObject({ life: "Serving", rooms: [] })
        yield* a.says(/node 'a' is isolated/)
        yield* Effect.sleep(outageMs - (performance.now() - killedMs))

        const sent = talk.sender.video.packets() - before.sent
        const received = talk.receiver.packets() - before.received
        yield* Effect.logInfo(
          `in ${outageMs} ms without NATS: ${sent} video packets sent, ${received} received; isolated after ` +
            `${Math.round(isolatedMs)} ms; an idle node gone ${Math.round(idleMs)} ms after its SIGTERM`
        )
        // What is on its way at either end.
        expect(Math.abs(sent - received)).toBeLessThan(20)
        expect(sent).toBeGreaterThan(outageMs / 100)

        yield* nats.start
        const restartedMs = performance.now()
        yield* until(call("node.status", { nodeId: "a" }), ({ control }) => control === "connected")
        yield* until(c.report, ({ control }) => control === "connected")
        const connectedMs = performance.now() - restartedMs
        yield* a.says(/holds its lease again/)

        // For longer than a death takes to be found: who went through it is never said to be dead.
        while (performance.now() - restartedMs < 20_000) {
          const { rooms } = yield* call("room.list", {})
          expect(rooms.find(({ roomId }) => roomId === "talk")).toEqual({
            roomId: "talk",
            nodeId: "a",
            lost: false
          })
          yield* Effect.sleep(250)
        }
        // Those who ended meanwhile could not say so: they are missed.
        yield* until(call("node.list", undefined), ({ nodes }) => nodes.length === 2)

        // Everything is commanded again.
        expect(yield* call("room.create", { roomId: "new" })).toMatchObject({ created: true })
        yield* call("room.close", { roomId: "new" })
        yield* call("node.uncordon", { nodeId: "a" })
        const late = yield* consume(cluster, { roomId: "talk", producerId: "video", consumerId: "late" })
        yield* late.more(10)
        yield* talk.sender.stop
        yield* call("recording.stop", { recordingId: "talk-1" })
        const info = yield* isComputed(cluster, "talk-1")
        const {
          complaints,
          lostPackets,
          recorded,
          sent: whole
        } = yield* recordedAgainstSent(info, talk.sender)
        expect({ recorded, complaints, lostPackets, disk: info.lostPackets }).toEqual({
          recorded: whole,
          complaints: "",
          lostPackets: 0,
          disk: 0
        })
        expect(info.packets).toBe(talk.sender.packets())
        // c went on living, and entered its receipt as soon as it could; b's comes with the next start on its folder.
        yield* isComputed(cluster, "c-1")
        yield* cluster.node("b2")
        expect(yield* isComputed(cluster, "b-1")).toMatchObject({ packets: 25, lostPackets: 0 })
        yield* call("room.close", { roomId: "talk" })
        yield* a.signal("SIGTERM")
        expect((yield* a.exited).code).toBe(0)
        yield* Effect.logInfo(
          `connected ${Math.round(connectedMs)} ms after the server's start; ${info.packets} packets recorded of ` +
            `${talk.sender.packets()}, ${recorded.video} video and ${recorded.audio} audio frames of ${whole.video} and ${whole.audio}`
        )
      }).pipe(Effect.provideService(References.MinimumLogLevel, "Info")),
    150_000
  )
})

describe("nats-server killed and started again", () => {
  it.live(
    "with its store: receipts are listed, rooms are there. Without: rooms register again, receipts are entered again",
    () =>
      Effect.gen(function* () {
        const cluster = yield* testCluster
        const { call, nats } = cluster
        const a = yield* cluster.node("a")
        yield* recordedRoom(cluster, "first", "first-1")
        yield* call("room.close", { roomId: "first" })
        yield* isComputed(cluster, "first-1")
        yield* recordedRoom(cluster, "talk", "talk-1")
        const listed = Effect.gen(function* () {
          const { rooms } = yield* call("room.list", {})
          const { recordings } = yield* call("recording.list", {})
          return { rooms, recordings: recordings.map(({ recordingId, state }) => `${recordingId} ${state}`) }
        })
        const all = {
          rooms: [{ roomId: "talk", nodeId: "a", lost: false }],
          recordings: ["first-1 Computed", "talk-1 Capturing"]
        }
        expect(yield* listed).toEqual(all)

        yield* nats.kill
        yield* nats.start
        expect(yield* listed).toEqual(all)

        yield* nats.kill
        yield* nats.loseStore
        yield* nats.start
        yield* a.says(/the registry has lost its store/)
        yield* until(listed, ({ recordings, rooms }) => rooms.length === 1 && recordings.length === 2)
        expect(yield* listed).toEqual(all)
        yield* call("producer.add", { roomId: "talk", producerId: "more", ...opus, ssrc: 3333 })
        yield* call("recording.stop", { recordingId: "talk-1" })
        yield* isComputed(cluster, "talk-1")
        yield* call("room.close", { roomId: "talk" })
        yield* a.signal("SIGTERM")
        expect((yield* a.exited).code).toBe(0)

        // The next start finds both.
        yield* cluster.node("b")
        yield* isComputed(cluster, "first-1")
        expect(yield* listed).toEqual({ rooms: [], recordings: ["first-1 Computed", "talk-1 Computed"] })
      }),
    120_000
  )
})
