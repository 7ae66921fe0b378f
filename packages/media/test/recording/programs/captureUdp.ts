/**
 * A process that captures one video and one audio track from UDP, RTP and sender reports alike, into a part of a recording. Says its ports, and
 * `sealed` once each of them has got an empty datagram, which ends it.
 *
 *     node captureUdp.ts <dataDir> <incarnation> <recordingId> <part> <ssrc of video> <ssrc of audio>
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import * as fs from "node:fs"
import * as IncarnationFolder from "../../../src/recording/IncarnationFolder.ts"
import * as JournalWriter from "../../../src/recording/JournalWriter.ts"
import { opusTrack, vp8Track } from "../fixtures.ts"

const [dataDir = "", incarnation = "", recordingId = "", part = "0", video = "1", audio = "2"] =
  process.argv.slice(2)
const say = (text: string) => fs.writeSync(1, `${text}\n`)

const listen = async (onPacket: (packet: Buffer) => void) => {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 })
  const ended = new Promise<void>((resolve) => {
    socket.on("message", (packet) => (packet.length === 0 ? resolve() : onPacket(packet)))
  })
  socket.bind(0, "127.0.0.1")
  await once(socket, "listening")
  return { port: socket.address().port, ended, socket }
}

await Effect.gen(function* () {
  const folder = yield* IncarnationFolder.acquire(dataDir, { incarnation, nodeId: incarnation })
  const writer = yield* JournalWriter.make({
    folder: folder.partFolder(recordingId),
    manifest: {
      format: 1,
      recordingId,
      roomId: "room",
      nodeId: incarnation,
      incarnation,
      part: Number(part),
      startedAt: yield* Clock.currentTimeMillis,
      state: "Capturing"
    }
  })
  // A producer of its own in each process, as after a move.
  const producerId = (source: string) => `${source}-${incarnation}`
  const infos = [
    vp8Track({ producerId: producerId("camera"), source: "camera", ssrc: Number(video) }),
    opusTrack({ producerId: producerId("microphone"), source: "microphone", ssrc: Number(audio) })
  ]
  const sockets = yield* Effect.forEach(infos, (info) => {
    const track = writer.track(info)
    return Effect.promise(() =>
      listen((packet) => {
        // RTP and RTCP share a port (RFC 5761): 200 is a sender report.
        if (packet[1] !== 200) return writer.rtp(track, packet)
        writer.senderReport(track, {
          ntpSeconds: packet.readUInt32BE(8),
          ntpFraction: packet.readUInt32BE(12),
          rtpTimestamp: packet.readUInt32BE(16)
        })
      })
    )
  })
  say(sockets.map(({ port }) => port).join(" "))
  yield* Effect.promise(() => Promise.all(sockets.map(({ ended }) => ended)))
  yield* writer.seal("stopped")
  for (const { socket } of sockets) socket.close()
  say("sealed")
}).pipe(Effect.scoped, Effect.runPromise)
