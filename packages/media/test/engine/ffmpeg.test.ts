/** Real encoders: ffmpeg's VP8 and Opus, counted on the way in by a relay. */
import { spawn } from "node:child_process"
import { createSocket } from "node:dgram"
import { expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
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

/** Runs in real time, for as long as its options say. */
const ffmpeg = (...options: ReadonlyArray<string>): Effect.Effect<number | null> =>
  Effect.callback((resume) => {
    const args = ["-loglevel error -nostdin", ...options].flatMap((option) => option.split(" "))
    const child = spawn("ffmpeg", args, { stdio: ["ignore", "ignore", "inherit"] })
    child.once("exit", (code) => resume(Effect.succeed(code)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const picture = "-re -f lavfi -i testsrc2=size=320x240:rate=30"
const tone = "-re -f lavfi -i sine=frequency=440"
const vp8 = "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -g 30"
const opus = "-c:a libopus -ar 48000 -ac 2"
const stream = ({ payloadType, ssrc }: typeof video | typeof audio, seconds: number) =>
  `-t ${seconds} -ssrc ${ssrc} -payload_type ${payloadType}`

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
    const exit = yield* ffmpeg(
      `${picture} ${tone}`,
      `-map 0:v ${vp8} ${stream(video, 6)} -f rtp ${videoFlow.url}`,
      `-map 1:a ${opus} ${stream(audio, 6)} -f rtp ${audioFlow.url}`
    )
    expect(exit).toBe(0)

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
    expect(Math.abs(lastAt - (yield* Clock.currentTimeMillis))).toBeLessThan(10_000)
  })
)

it.live("SRTP from ffmpeg is taken with its key, and with another key nothing is", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const cryptoSuite = "AES_CM_128_HMAC_SHA1_80"
    const keys = [1, 2].map((byte) => Buffer.alloc(30, byte).toString("base64"))
    const [key = "", otherKey = ""] = keys
    const sendWith = Effect.fnUntraced(function* (producerId: string, keyBase64: string) {
      const { port, rtcpPort, srtp } = yield* room.addRtpProducer({
        ...audio,
        producerId,
        rtcpMux: false,
        srtp: { cryptoSuite, keyBase64 }
      })
      expect(srtp?.cryptoSuite).toBe(cryptoSuite)
      const sink = makeSink()
      yield* room.capture(producerId, sink)
      const relay = yield* makeRelay(port)
      const url = `srtp://127.0.0.1:${relay.port}?rtcpport=${rtcpPort}`
      const encryption = `-srtp_out_suite ${cryptoSuite} -srtp_out_params ${key}`
      expect(yield* ffmpeg(tone, `${opus} ${stream(audio, 1)} -f rtp ${encryption} ${url}`)).toBe(0)
      expect(relay.forwarded).toBeGreaterThanOrEqual(50)
      return { relay, sink }
    })

    const { relay, sink } = yield* sendWith("right", key)
    yield* until(() => sink.packets.length >= relay.forwarded)
    expect(sink.packets).toHaveLength(relay.forwarded)
    expect((yield* sendWith("wrong", otherKey)).sink.packets).toHaveLength(0)
  })
)
