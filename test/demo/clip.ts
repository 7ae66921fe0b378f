/** The demo's real media: VP8 and Opus, encoded once by ffmpeg and sent again and again, so that encoding costs nothing while it runs. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as path from "node:path"

/** Arguments without spaces inside. */
export const words = (line: string): ReadonlyArray<string> => line.split(" ")

/** 20 s of a moving picture at 15 frames/s with a key frame each second, and a tone. */
const picture = words("-f lavfi -i testsrc2=size=320x240:rate=15")
const tone = words("-f lavfi -i sine=frequency=440:sample_rate=48000")
const vp8 = words("-c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 0 -g 15 -b:v 300k")
const opus = words("-c:a libopus -ac 2 -b:a 48k")
const quietly = words("-hide_banner -loglevel error")

export const makeClip = Effect.fnUntraced(function* (folder: string) {
  const file = path.join(folder, "clip.webm")
  yield* run("ffmpeg", [...quietly, ...picture, ...tone, "-t", "20", ...vp8, ...opus, "-y", file])
  return file
})

export interface Destination {
  readonly videoPort: number
  readonly audioPort: number
  readonly videoSsrc: number
  readonly audioSsrc: number
}

export const payloadTypes = { video: 96, audio: 97 } as const

/** Sends the clip as RTP in real time until the scope closes; RTCP goes to the same ports. */
export const sendClip = Effect.fnUntraced(function* (clip: string, to: Destination) {
  const stream = (map: string, ssrc: number, payloadType: number, port: number) =>
    words(
      `-map ${map} -c copy -ssrc ${ssrc} -payload_type ${payloadType} -f rtp rtp://127.0.0.1:${port}?rtcpport=${port}&pkt_size=1200`
    )
  const args = [
    ...quietly,
    ...words("-re -stream_loop -1 -i"),
    clip,
    ...stream("0:v", to.videoSsrc, payloadTypes.video, to.videoPort),
    ...stream("0:a", to.audioSsrc, payloadTypes.audio, to.audioPort)
  ]
  yield* Effect.acquireRelease(
    Effect.sync(() => spawn("ffmpeg", args, { stdio: "ignore" })),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGTERM")
      })
  )
})

/** Runs a program to its end; what it wrote, or a defect with what it complained of. */
export const run = (program: string, args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let complaint = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text))
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code) => {
      resume(
        code === 0
          ? Effect.succeed(out)
          : Effect.die(new Error(`${program} ended with ${code}: ${complaint}`))
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
