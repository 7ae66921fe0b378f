/**
 * Real VP9, H.264 and AV1 as RTP. ffmpeg encodes and sends the first two. It cannot send AV1, which is encoded to a file and cut into
 * packets here, in every form that the specification allows.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fsp from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { av1Packets } from "./av1Packets.ts"
import { isGapless, listen } from "./realRtp.ts"

export type VideoCodec = "vp8" | "vp9" | "h264" | "av1"

export interface RealVideo {
  /** Whole RTP packets in the order they were sent. */
  readonly packets: ReadonlyArray<Buffer>
  /** What ffmpeg encoded. */
  readonly frames: number
  readonly seconds: number
}

export interface VideoOptions {
  readonly codec: VideoCodec
  readonly seconds: number
  /** Default 320x240. */
  readonly size?: string
  readonly ssrc?: number
  /** Default 400. */
  readonly kbps?: number
  /** Default 1000. */
  readonly packetBytes?: number
  /** Frames from one key frame to the next. Default 50. */
  readonly keyEvery?: number
  /** Of VP9: no frame takes more from the one before than its picture. */
  readonly resilient?: boolean
  /** Of H.264: frames between two others that are decoded after both. Default none. */
  readonly bFrames?: number
}

const fps = 25

const encoders: Readonly<Record<VideoCodec, ReadonlyArray<string>>> = {
  vp8: "-c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 0 -lag-in-frames 0".split(" "),
  vp9: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -auto-alt-ref 0 -lag-in-frames 0 -strict experimental".split(
    " "
  ),
  h264: "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p".split(" "),
  av1: "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -pix_fmt yuv420p".split(" ")
}

const caught = new Map<string, Promise<RealVideo>>()

/** The same stream for all tests of a file: encoding takes longer than most of them. */
export const realVideo = (options: VideoOptions) =>
  Effect.promise(() => {
    const name = JSON.stringify(options)
    const known = caught.get(name) ?? (options.codec === "av1" ? encodeAv1(options) : captureWhole(options))
    caught.set(name, known)
    return known
  })

const ffmpeg = async (options: VideoOptions, output: ReadonlyArray<string>) => {
  const { codec, kbps = 400, keyEvery = 50, resilient = false, seconds, size = "320x240" } = options
  const source = `testsrc2=size=${size}:rate=${fps}:duration=${seconds}`
  const args = ["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", source]
  const child = spawn(
    "ffmpeg",
    [
      ...args,
      ...encoders[codec],
      ...(resilient ? ["-error-resilient", "1"] : []),
      ...(options.bFrames === undefined
        ? []
        : ["-tune", "film", "-bf", String(options.bFrames), "-rc-lookahead", "5"]),
      "-b:v",
      `${kbps}k`,
      "-g",
      String(keyEvery),
      ...output
    ],
    {
      // It prints what a receiver would have to be told.
      stdio: ["ignore", "ignore", "inherit"]
    }
  )
  const [code] = await once(child, "exit")
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`)
}

/** The kernel drops datagrams when this process is not given the time to read them: then once more. */
const captureWhole = async (options: VideoOptions): Promise<RealVideo> => {
  const { packetBytes = 1000, seconds, ssrc = 1111 } = options
  for (let attempt = 1; ; attempt++) {
    const socket = await listen()
    const url = `rtp://127.0.0.1:${socket.port}?pkt_size=${packetBytes}`
    await ffmpeg(options, ["-f", "rtp", "-payload_type", "96", "-ssrc", String(ssrc), url])
    // What the kernel still holds for the socket is read before this turn of the loop ends twice.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    const packets = await socket.close()
    if (isGapless(packets)) return { packets, frames: seconds * fps, seconds }
    if (attempt === 5) throw new Error("the machine is too busy to catch ffmpeg's packets")
  }
}

const encodeAv1 = async (options: VideoOptions): Promise<RealVideo> => {
  const { packetBytes = 1000, seconds, ssrc = 1111 } = options
  const folder = await fsp.mkdtemp(path.join(os.tmpdir(), "ebb-av1-"))
  const file = path.join(folder, "video.ivf")
  await ffmpeg(options, ["-f", "ivf", file])
  const units = ivfFrames(await fsp.readFile(file))
  await fsp.rm(folder, { recursive: true })
  const packets = av1Packets(units, { ssrc, ticksPerUnit: 90_000 / fps, maxBytes: packetBytes })
  return { packets, frames: seconds * fps, seconds }
}

const ivfFrames = (file: Buffer): ReadonlyArray<Buffer> => {
  const frames: Array<Buffer> = []
  for (let at = file.readUInt16LE(6); at + 12 <= file.length;) {
    const size = file.readUInt32LE(at)
    frames.push(file.subarray(at + 12, at + 12 + size))
    at += 12 + size
  }
  return frames
}
