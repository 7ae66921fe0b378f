/**
 * Real VP8 and Opus as RTP: ffmpeg encodes a test picture and a tone and sends them to a UDP socket of this process. What was
 * caught is checked to be gapless, so a test knows exactly what it starts from.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"

export interface RealRtp {
  /** Whole RTP packets in the order they were sent. */
  readonly video: ReadonlyArray<Buffer>
  readonly audio: ReadonlyArray<Buffer>
  /** What ffmpeg encoded. */
  readonly videoFrames: number
  readonly audioFrames: number
  readonly seconds: number
}

const fps = 25

const caught = new Map<string, Promise<RealRtp>>()

export interface RealRtpOptions {
  readonly seconds: number
  /** Of the video, default 400. Another one is another encoding of the same pictures. */
  readonly kbit?: number
  /** Default 320x240. */
  readonly size?: string
}

/** The same stream for all tests of a file: encoding takes longer than most of them. */
export const realRtp = (options: RealRtpOptions) =>
  Effect.promise(() => {
    const name = JSON.stringify(options)
    const known = caught.get(name) ?? captureWhole(options)
    caught.set(name, known)
    return known
  })

/** The kernel drops datagrams when this process is not given the time to read them: then once more. */
const captureWhole = async (options: RealRtpOptions): Promise<RealRtp> => {
  for (let attempt = 1; ; attempt++) {
    const source = await capture(options)
    const lost = [source.video, source.audio].some((packets) => !isGapless(packets))
    if (!lost) return source
    if (attempt === 5) throw new Error("the machine is too busy to catch ffmpeg's packets")
  }
}

const capture = async ({ kbit = 400, seconds, size = "320x240" }: RealRtpOptions): Promise<RealRtp> => {
  const [video, audio] = await Promise.all([listen(), listen()])
  const child = spawn(
    "ffmpeg",
    [
      ["-hide_banner", "-loglevel", "error", "-nostdin"],
      ["-f", "lavfi", "-i", `testsrc2=size=${size}:rate=${fps}:duration=${seconds}`],
      ["-f", "lavfi", "-i", `sine=frequency=440:sample_rate=48000:duration=${seconds}`],
      [
        "-map",
        "0:v",
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-b:v",
        `${kbit}k`,
        "-g",
        "50"
      ],
      ["-auto-alt-ref", "0", "-lag-in-frames", "0"],
      ["-f", "rtp", "-payload_type", "96", "-ssrc", "1111", `rtp://127.0.0.1:${video.port}?pkt_size=1000`],
      ["-map", "1:a", "-c:a", "libopus", "-b:a", "32k", "-ac", "2"],
      ["-f", "rtp", "-payload_type", "97", "-ssrc", "2222", `rtp://127.0.0.1:${audio.port}`]
    ].flat(),
    { stdio: ["ignore", "ignore", "inherit"] }
  )
  const [code] = await once(child, "exit")
  // What the kernel still holds for the sockets is read before this turn of the loop ends twice.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  const [videoPackets, audioPackets] = await Promise.all([video.close(), audio.close()])
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`)
  return {
    video: videoPackets,
    audio: audioPackets,
    videoFrames: seconds * fps,
    // Opus adds a packet for the encoder's delay.
    audioFrames: seconds * 50 + 1,
    seconds
  }
}

/** A socket that catches datagrams until it is closed. */
export const listen = async () => {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 })
  const packets: Array<Buffer> = []
  socket.on("message", (message) => packets.push(message))
  socket.bind(0, "127.0.0.1")
  await once(socket, "listening")
  return {
    port: socket.address().port,
    close: async () => {
      socket.close()
      await once(socket, "close")
      return packets
    }
  }
}

export const isGapless = (packets: ReadonlyArray<Buffer>): boolean => {
  const sequences = packets.map((packet) => parseRtp(packet)?.sequence ?? -1)
  return sequences.every((sequence, i) => i === 0 || sequence === (((sequences[i - 1] ?? 0) + 1) & 0xffff))
}
