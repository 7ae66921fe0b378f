/** Real VP8 of 500 kbit/s and Opus, as the packets that ffmpeg made of them once: a sender that repeats them costs nearly nothing. */
import * as Effect from "effect/Effect"
import { startProgram } from "../../support/program.ts"
import { opus, vp8 } from "../../support/mediaSender.ts"
import { isRtcp, openUdp } from "../../support/udpCounter.ts"

export const clipSeconds = 6

/** Base64 of whole RTP packets, in their order. Each stream lasts `clipSeconds`. */
export interface Clip {
  readonly video: ReadonlyArray<string>
  readonly audio: ReadonlyArray<string>
}

/** One stream of the clip, again and again: its packets by their number, from 0 on, as one stream without an end. */
export const endless = (clip: Clip, kind: keyof Clip) => {
  const clockRate = kind === "video" ? 90_000 : 48_000
  const packets = clip[kind].map((text) => Buffer.from(text, "base64"))
  const first = packets[0]?.readUInt32BE(4) ?? 0
  const ticksOf = packets.map((packet) => (packet.readUInt32BE(4) - first) >>> 0)
  const ticks = (n: number) =>
    Math.floor(n / packets.length) * clipSeconds * clockRate + (ticksOf[n % packets.length] ?? 0)
  return {
    /** When it is due, in ms from the beginning. */
    dueMs: (n: number) => (ticks(n) / clockRate) * 1000,
    packet: (n: number): Buffer => {
      const copy = Buffer.from(packets[n % packets.length] ?? [])
      copy.writeUInt16BE(n & 0xffff, 2)
      copy.writeUInt32BE(ticks(n) >>> 0, 4)
      return copy
    }
  }
}

export const makeClip = Effect.gen(function* () {
  const video = yield* caught
  const audio = yield* caught
  const stream = ({ payloadType, ssrc }: typeof vp8 | typeof opus, port: number) =>
    `-payload_type ${payloadType} -ssrc ${ssrc} -f rtp rtp://127.0.0.1:${port}?pkt_size=1200`
  const args = [
    "-loglevel error -nostdin",
    // Faster than it is played, and not so fast that a socket overflows.
    `-readrate 4 -f lavfi -i testsrc2=size=640x360:rate=25:duration=${clipSeconds}`,
    `-readrate 4 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=${clipSeconds}`,
    "-map 0:v -c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -minrate 500k -maxrate 500k -g 50",
    `-auto-alt-ref 0 -lag-in-frames 0 ${stream(vp8, video.port)}`,
    `-map 1:a -c:a libopus -b:a 32k -ac 2 ${stream(opus, audio.port)}`
  ].flatMap((words) => words.split(" "))
  const ffmpeg = yield* startProgram("ffmpeg", args)
  const { code } = yield* ffmpeg.exited
  if (code !== 0) return yield* Effect.die(new Error(ffmpeg.lines.join("\n")))
  yield* Effect.sleep(50)
  const clip: Clip = {
    video: video.packets.map((packet) => packet.toString("base64")),
    // Its last packets are the encoder's delay, and of the next round.
    audio: audio.packets.slice(0, clipSeconds * 50).map((packet) => packet.toString("base64"))
  }
  return clip
}).pipe(Effect.scoped)

const caught = Effect.map(openUdp, (socket) => {
  const packets: Array<Buffer> = []
  socket.on("message", (packet) => {
    if (!isRtcp(packet)) packets.push(packet)
  })
  return { port: socket.address().port, packets }
})
