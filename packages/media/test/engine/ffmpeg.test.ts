/** Real encoders: ffmpeg's VP8 and Opus, counted on the way in by a relay. */
import { spawn } from "node:child_process"
import { createSocket } from "node:dgram"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { audio, makeRoom, makeSink, until, video } from "./engineFixture.ts"
import { isRtcp, makeRtpReceiver, rtpHeader } from "./rtpPeer.ts"

/** Forwards RTP and counts it, so that what was sent is known from neither end's word. */
const makeRelay = Effect.fnUntraced(function* (to: number) {
  const relay = { port: 0, forwarded: 0 }
  const socket = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createSocket>>((resume) => {
      const socket = createSocket("udp4")
      socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  )
  socket.on("message", (packet) => {
    if (isRtcp(packet)) return
    relay.forwarded += 1
    socket.send(packet, to, "127.0.0.1")
  })
  relay.port = socket.address().port
  return relay
})

/** In real time, for so many seconds; ends by itself. */
const ffmpeg = (seconds: number, videoUrl: string, audioUrl: string): Effect.Effect<number | null> =>
  Effect.callback((resume) => {
    const child = spawn(
      "ffmpeg",
      [
        ...["-loglevel", "error", "-nostdin", "-re"],
        ...[
          "-f",
          "lavfi",
          "-i",
          "testsrc2=size=320x240:rate=30",
          "-re",
          "-f",
          "lavfi",
          "-i",
          "sine=frequency=440"
        ],
        ...[
          "-map",
          "0:v",
          "-c:v",
          "libvpx",
          "-deadline",
          "realtime",
          "-cpu-used",
          "8",
          "-b:v",
          "300k",
          "-g",
          "30"
        ],
        ...["-t", String(seconds), "-f", "rtp", "-ssrc", String(video.ssrc)],
        ...["-payload_type", String(video.payloadType), videoUrl],
        ...["-map", "1:a", "-c:a", "libopus", "-ar", "48000", "-ac", "2", "-t", String(seconds), "-f", "rtp"],
        ...["-ssrc", String(audio.ssrc), "-payload_type", String(audio.payloadType), audioUrl]
      ],
      { stdio: ["ignore", "ignore", "inherit"] }
    )
    child.once("exit", (code) => resume(Effect.succeed(code)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

it.live("every packet that ffmpeg sends reaches a consumer and a capture, and so do its sender reports", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const flows = yield* Effect.forEach([video, audio], (options) =>
      Effect.gen(function* () {
        const { port, rtcpPort } = yield* room.addRtpProducer({ ...options, rtcpMux: false })
        const receiver = yield* makeRtpReceiver
        const { producerId } = options
        yield* room.addRtpConsumer({
          consumerId: producerId,
          producerId,
          ip: "127.0.0.1",
          port: receiver.port
        })
        const sink = makeSink()
        yield* room.capture(producerId, sink)
        const relay = yield* makeRelay(port)
        return {
          url: `rtp://127.0.0.1:${relay.port}?rtcpport=${rtcpPort}`,
          relay,
          receiver,
          sink,
          clock: options
        }
      })
    )
    const [videoFlow, audioFlow] = flows
    if (videoFlow === undefined || audioFlow === undefined) return expect.fail("two flows")
    // ffmpeg's second report comes after 5 s; the first is before its first packet, when the worker knows no stream yet.
    expect(yield* ffmpeg(6, videoFlow.url, audioFlow.url)).toBe(0)

    for (const { receiver, relay, sink } of flows) {
      yield* until(() => sink.packets.length >= relay.forwarded && receiver.packets.length >= relay.forwarded)
      expect(sink.packets).toHaveLength(relay.forwarded)
      expect(receiver.packets).toHaveLength(relay.forwarded)
      const sequences = sink.packets.map((packet) => rtpHeader(packet).sequence)
      expect(
        sequences.slice(1).every((sequence, i) => sequence === (((sequences[i] ?? 0) + 1) & 0xffff))
      ).toBe(true)
      expect(sink.reports.length).toBeGreaterThan(0)
    }
    // 6 s of video at 30 frames, of audio at 50 packets.
    const frames = videoFlow.sink.packets.filter((packet) => rtpHeader(packet).marker)
    expect(frames).toHaveLength(180)
    expect(audioFlow.sink.packets.length).toBeGreaterThanOrEqual(300)

    // The report ties the last packets to the wall clock, to within what ffmpeg and this machine are late by.
    const report = videoFlow.sink.reports.at(-1)
    const last = videoFlow.sink.packets.at(-1)
    if (report === undefined || last === undefined) return expect.fail("no report")
    const lastAt = report.ntpMs + ((rtpHeader(last).timestamp - report.rtpTimestamp) | 0) / 90
    expect(Math.abs(lastAt - Date.now())).toBeLessThan(2000)
  })
)
