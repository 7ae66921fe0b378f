/**
 * So many recordings of VP8 500 kbit/s and Opus on one real node: processor time, memory and how late its event loop is; against the same
 * rooms with nobody who records, and against as many `ffmpeg -c copy`, one for each room, fed by the node's plain consumers.
 */
import * as Effect from "effect/Effect"
import { mkdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type EbbNode, childrenOf } from "../../support/ebbNode.ts"
import { opus, vp8 } from "../../support/mediaSender.ts"
import { type Program, startProgram } from "../../support/program.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { type TestCluster, testCluster } from "../../support/testCluster.ts"
import { openUdp } from "../../support/udpCounter.ts"
import { until, untilTrue } from "../../support/until.ts"
import { makeClip } from "../recordings/clip.ts"
import { cpuSeconds, megabytes } from "../recordings/usage.ts"
import { compared, type Figure } from "../Row.ts"
import type { Figures } from "../Task.ts"
import type { Group } from "./Group.ts"

const loopDelay = join(import.meta.dirname, "../recordings/loopDelay.ts")
const senderProgram = join(import.meta.dirname, "../recordings/sender.ts")

const cpu: Figure = { name: "cpuPercent", unit: "% of a core", better: "less" }
const memory: Figure = { name: "megabytes", unit: "MB", better: "less" }
const delay: Figure = { name: "delayMs", unit: "ms, p99", better: "less" }

/** A node with so many rooms into which the clip is sent. */
const roomsOf = Effect.fnUntraced(function* (
  cluster: TestCluster,
  nodeId: string,
  count: number,
  clip: string
) {
  const node = yield* cluster.node(nodeId, { env: { NODE_OPTIONS: `--import=${loopDelay}` } })
  const rooms = yield* Effect.forEach(
    Array.from({ length: count }, (_, i) => `${nodeId}-${i}`),
    Effect.fnUntraced(function* (roomId) {
      yield* cluster.call("room.create", { roomId })
      const video = yield* cluster.call("producer.add", { roomId, producerId: "video", ...vp8 })
      const audio = yield* cluster.call("producer.add", { roomId, producerId: "audio", ...opus })
      return { roomId, video: video.port, audio: audio.port }
    })
  )
  const sender = yield* startProgram(process.execPath, [senderProgram, clip], { input: true })
  yield* sender.types(`${JSON.stringify({ rooms })}\n`)
  const sent = Effect.gen(function* () {
    const before = sender.lines.length
    yield* sender.types("\n")
    const line = yield* until(
      Effect.sync(() => sender.lines[before]),
      (said) => said !== undefined
    )
    return Number((JSON.parse(line ?? "{}") as { readonly sent?: number }).sent)
  })
  const workers = (yield* childrenOf(node.pid)).filter(({ command }) => command.includes("mediasoup-worker"))
  return { node, rooms, sent, pids: [node.pid, ...workers.map(({ pid }) => pid)] }
})

/** What these processes cost in so many milliseconds, and how late the node's event loop was meanwhile. */
const measured = Effect.fnUntraced(function* (node: EbbNode, pids: ReadonlyArray<number>, forMs: number) {
  yield* loopDelayOf(node)
  const [beganMs, before] = [performance.now(), cpuSeconds(pids)]
  yield* Effect.sleep(forMs)
  const seconds = (performance.now() - beganMs) / 1000
  const figures: Figures = {
    cpuPercent: ((cpuSeconds(pids) - before) / seconds) * 100,
    megabytes: megabytes(pids),
    delayMs: yield* loopDelayOf(node)
  }
  return figures
})

const loopDelayOf = Effect.fnUntraced(function* (node: EbbNode) {
  const said = () => node.lines.filter((line) => line.startsWith('{"loopDelayMs"'))
  const before = said().length
  yield* node.signal("SIGUSR2")
  const line = yield* until(
    Effect.sync(() => said()[before]),
    (each) => each !== undefined
  )
  return (JSON.parse(line ?? "{}") as { readonly loopDelayMs: { readonly p99: number } }).loopDelayMs.p99
})

/** Nobody records, and then Ebb does: two figures of one node. */
const ours = Effect.fnUntraced(function* (
  cluster: TestCluster,
  nodeId: string,
  count: number,
  clip: string,
  forMs: number
) {
  const { node, pids, rooms, sent } = yield* roomsOf(cluster, nodeId, count, clip)
  yield* Effect.sleep(forMs / 4)
  const none = yield* measured(node, pids, forMs)
  yield* Effect.forEach(rooms, ({ roomId }) =>
    cluster.call("recording.start", { roomId, recordingId: roomId })
  )
  const sentBefore = yield* sent
  yield* Effect.sleep(forMs / 4)
  const recorded = yield* measured(node, pids, forMs)
  const sentMeanwhile = (yield* sent) - sentBefore
  const journals = Effect.forEach(rooms, ({ roomId }) =>
    cluster.call("recording.get", { recordingId: roomId })
  )
  const sum = (all: Effect.Success<typeof journals>, of: "packets" | "lostPackets") =>
    all.reduce((total, each) => total + each[of], 0)
  // What is counted is on its way to the disk for a moment.
  const all = yield* until(journals, (now) => sum(now, "packets") >= sentMeanwhile)
  yield* node.signal("SIGKILL")
  return {
    none,
    recorded,
    said: `${sum(all, "packets")} packets recorded, ${sum(all, "lostPackets")} lost`
  }
})

/** As many `ffmpeg -c copy`. */
const theirs = Effect.fnUntraced(function* (
  cluster: TestCluster,
  nodeId: string,
  count: number,
  clip: string,
  forMs: number
) {
  const { node, pids, rooms } = yield* roomsOf(cluster, nodeId, count, clip)
  const folder = yield* temporaryFolder
  const types = yield* payloadTypesOf(cluster, rooms[0]?.roomId ?? "")
  const recorders: Array<Recorder> = []
  // Some at a time: ffmpeg gives up when nothing has come for ten seconds.
  for (let from = 0; from < rooms.length; from += 10) {
    const some = rooms.slice(from, from + 10)
    const begun = yield* Effect.forEach(some, ({ roomId }) => ffmpegOf(join(folder, roomId), types))
    // It listens some 150 to 350 ms after its start, and says nothing of it.
    yield* Effect.sleep(1000)
    yield* Effect.forEach(some, ({ roomId }, i) =>
      Effect.forEach(["video", "audio"] as const, (producerId) => {
        const port = begun[i]?.ports[producerId] ?? 0
        const to = { ip: "127.0.0.1", port, rtcpMux: false, rtcpPort: port + 1 }
        return cluster.call("consumer.add", { roomId, producerId, consumerId: `ffmpeg-${producerId}`, ...to })
      })
    )
    recorders.push(...begun)
  }
  // Each looks at what comes for some seconds before it writes.
  const isWriting = ({ file, program }: Recorder) => {
    if (!program.isRunning()) throw new Error(`ffmpeg has ended: ${program.lines.join("; ")}`)
    return (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0
  }
  yield* untilTrue(() => recorders.every(isWriting))
  const figures = yield* measured(node, [...pids, ...recorders.map(({ program }) => program.pid)], forMs)
  yield* Effect.forEach(recorders, ({ program }) => program.signal("SIGKILL"))
  yield* node.signal("SIGKILL")
  return figures
})

/** What the node gives its consumers: known only once there is one. */
const payloadTypesOf = Effect.fnUntraced(function* (cluster: TestCluster, roomId: string) {
  const { port } = (yield* openUdp).address()
  const typeOf = Effect.fnUntraced(function* (producerId: string) {
    const consumerId = `look-${producerId}`
    const { payloadType } = yield* cluster.call("consumer.add", {
      roomId,
      producerId,
      consumerId,
      ip: "127.0.0.1",
      port
    })
    yield* cluster.call("consumer.close", { roomId, consumerId })
    return payloadType
  })
  return { video: yield* typeOf("video"), audio: yield* typeOf("audio") }
}, Effect.scoped)

interface Recorder {
  readonly program: Program
  readonly file: string
  readonly ports: { readonly video: number; readonly audio: number }
}

const ffmpegOf = Effect.fnUntraced(function* (
  folder: string,
  types: { readonly video: number; readonly audio: number }
) {
  mkdirSync(folder)
  const ports = { video: yield* evenPort, audio: yield* evenPort }
  const sdp = [
    "v=0",
    "o=- 0 0 IN IP4 127.0.0.1",
    "s=-",
    "c=IN IP4 127.0.0.1",
    "t=0 0",
    `m=video ${ports.video} RTP/AVP ${types.video}`,
    `a=rtpmap:${types.video} VP8/90000`,
    `m=audio ${ports.audio} RTP/AVP ${types.audio}`,
    `a=rtpmap:${types.audio} opus/48000/2`,
    ""
  ].join("\r\n")
  writeFileSync(join(folder, "room.sdp"), sdp)
  const file = join(folder, "room.webm")
  const args = `-loglevel error -nostdin -protocol_whitelist file,udp,rtp -i ${join(folder, "room.sdp")} -c copy -y ${file}`
  const program = yield* startProgram("ffmpeg", args.split(" "))
  const recorder: Recorder = { program, file, ports }
  return recorder
})

/** RTP on an even port and RTCP on the next, below those that the kernel and mediasoup give out. */
let nextPort = 21_000
const evenPort = Effect.sync(() => (nextPort += 2))

export const recordings: Group = {
  name: "recordings",
  run: Effect.fnUntraced(function* ({ effort, say }) {
    const counts = effort.rounds === 1 ? [2] : [10, 50, 100]
    const rounds = Math.ceil(effort.rounds / 8)
    const forMs = effort.turnMs * 20
    const cluster = yield* Effect.orDie(testCluster)
    const clip = join(yield* temporaryFolder, "clip.json")
    const packets = yield* makeClip
    writeFileSync(clip, JSON.stringify(packets))
    const rows = yield* Effect.forEach(
      counts,
      Effect.fnUntraced(function* (count) {
        const seen = { none: Array.of<Figures>(), ours: Array.of<Figures>(), theirs: Array.of<Figures>() }
        for (let round = 0; round < rounds; round++) {
          const mine = yield* Effect.scoped(ours(cluster, `ours-${count}-${round}`, count, clip, forMs))
          const others = yield* Effect.scoped(theirs(cluster, `theirs-${count}-${round}`, count, clip, forMs))
          seen.none.push(mine.none)
          seen.ours.push(mine.recorded)
          seen.theirs.push(others)
          say(`${count} recordings: ${mine.said}`)
        }
        const name = `record-${count}`
        return [
          compared(`${name}-cpu/ffmpeg`, cpu, seen.ours, seen.theirs),
          compared(`${name}-cpu/none`, cpu, seen.ours, seen.none),
          compared(`${name}-memory/ffmpeg`, memory, seen.ours, seen.theirs),
          compared(`${name}-memory/none`, memory, seen.ours, seen.none),
          compared(`${name}-loop-delay/none`, delay, seen.ours, seen.none),
          compared(`${name}-loop-delay/ffmpeg`, delay, seen.ours, seen.theirs)
        ]
      }, Effect.orDie)
    )
    return rows.flat()
  })
}
