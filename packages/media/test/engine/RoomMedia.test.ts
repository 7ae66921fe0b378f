import { createSocket } from "node:dgram"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { AnyProducerInfo } from "../../src/engine/RoomMedia.ts"
import {
  audio,
  makeEngine,
  makeRoom,
  makeSink,
  makeSource,
  sendPaced,
  until,
  video
} from "./engineFixture.ts"
import { makeRtpReceiver, makeRtpSender, rtpHeader, type RtpSender } from "./rtpPeer.ts"

it.live("every packet sent reaches a consumer and a capture", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const receiver = yield* makeRtpReceiver
    const sink = makeSink()
    const sender = yield* makeSource(room, video)
    const consumer = yield* room.addRtpConsumer({
      consumerId: "c",
      producerId: video.producerId,
      ip: "127.0.0.1",
      port: receiver.port
    })
    const captured = yield* room.capture(video.producerId, sink)
    yield* sendPaced(sender, 300, () => Math.min(receiver.packets.length, sink.packets.length))
    yield* receiver.count(300)
    yield* until(() => sink.packets.length >= 300)

    const headers = receiver.packets.map(rtpHeader)
    expect(new Set(headers.map(({ ssrc }) => ssrc))).toEqual(new Set([consumer.ssrc]))
    expect(new Set(headers.map(({ payloadType }) => payloadType))).toEqual(new Set([consumer.payloadType]))
    expect(headers).toHaveLength(300)

    const took = sink.packets.map(rtpHeader)
    expect(took).toHaveLength(300)
    expect(new Set(took.map(({ ssrc }) => ssrc))).toEqual(new Set(captured.ssrcs))
    expect(new Set(took.map(({ payloadType }) => payloadType))).toEqual(new Set([captured.payloadType]))
    expect(took.at(-1)?.timestamp).toBe(sender.timestamp())
    expect(yield* room.producers).toMatchObject([{ producerId: video.producerId, packetsReceived: 300 }])
  })
)

it.live(
  "a capture keeps the sender's timestamps, its gaps, and its order across the wrap of sequence numbers",
  () =>
    Effect.gen(function* () {
      const room = yield* makeRoom()
      const sink = makeSink()
      const sender = yield* makeSource(room, audio, 65_500)
      yield* room.capture(audio.producerId, sink)
      for (let i = 0; i < 100; i++) yield* sender.send(i === 30 ? { skip: 5 } : {})
      yield* until(() => sink.packets.length >= 100)
      const headers = sink.packets.map(rtpHeader)
      const steps = headers
        .slice(1)
        .map((header, i) => (header.sequence - (headers[i]?.sequence ?? 0)) & 0xffff)
      expect(steps.filter((step) => step !== 1)).toEqual([6])
      expect(headers.at(-1)?.timestamp).toBe(sender.timestamp())
    })
)

it.live("a packet in a sink's hands never changes", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const sink = makeSink()
    const copies: Array<Uint8Array> = []
    const sender = yield* makeSource(room, audio)
    yield* room.capture(audio.producerId, {
      ...sink,
      rtp: (packet) => {
        sink.rtp(packet)
        copies.push(Uint8Array.from(packet))
      }
    })
    yield* sendPaced(sender, 1000, () => copies.length)
    yield* until(() => copies.length >= 1000)
    expect(
      sink.packets.every((packet, i) => Buffer.compare(packet, copies[i] ?? Buffer.alloc(0)) === 0)
    ).toBe(true)
  })
)

it.live("the sender's reports reach a capture as they were sent, also the last one before it began", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const first = makeSink()
    const second = makeSink()
    const sender = yield* makeSource(room, audio)
    const { ssrcs } = yield* room.capture(audio.producerId, first)
    yield* sender.send()
    yield* sender.report(1_700_000_000_250.5)
    yield* until(() => first.reports.length === 1)
    const report = first.reports[0]
    expect(report).toMatchObject({ ssrc: ssrcs[0], rtpTimestamp: sender.timestamp() })
    expect(report?.ntpMs).toBeCloseTo(1_700_000_000_250.5, 3)

    const later = yield* room.capture(audio.producerId, second)
    expect(second.reports).toHaveLength(1)
    expect(second.reports[0]).toMatchObject({ ssrc: later.ssrcs[0], ntpMs: report?.ntpMs })
    expect(second.reports[0]?.ageMs).toBeGreaterThan(0)
  })
)

/**
 * The event loop stands still, so that all that the worker does meanwhile is found at once, and in its order. Long enough
 * for a worker that has little to do.
 */
const standStill = Effect.sync(() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200))

/** Packets that the worker has taken and this process has not read when `close` is sent, nor when its answer comes. */
const closeWithPacketsInFlight = Effect.fnUntraced(function* <E>(
  sender: RtpSender,
  packets: number,
  close: Effect.Effect<void, E>
) {
  sender.burst(packets)
  yield* standStill
  const closing = yield* Effect.forkChild(close, { startImmediately: true })
  yield* standStill
  yield* Fiber.join(closing)
})

it.live("closing a capture gives it what the worker has taken, then says so once", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const receiver = yield* makeRtpReceiver
    const sink = makeSink()
    const sender = yield* makeSource(room, audio)
    const { producerId } = audio
    yield* room.addRtpConsumer({ consumerId: "c", producerId, ip: "127.0.0.1", port: receiver.port })
    const scope = yield* Scope.make()
    yield* room.capture(producerId, sink).pipe(Scope.provide(scope))
    yield* closeWithPacketsInFlight(sender, 50, Scope.close(scope, Exit.void))
    expect(sink.packets).toHaveLength(50)
    expect(sink.ends).toEqual(["capture"])

    yield* sender.send()
    yield* receiver.count(51)
    yield* room.closeProducer(producerId)
    expect(sink.packets).toHaveLength(50)
    expect(sink.ends).toEqual(["capture"])
  })
)

it.live("closing a producer gives its captures their last packets, and takes its consumers along", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const sink = makeSink()
    const sender = yield* makeSource(room, audio)
    const { producerId } = audio
    yield* room.addRtpConsumer({ consumerId: "c", producerId, ip: "127.0.0.1", port: 9 })
    yield* room.capture(producerId, sink)
    yield* closeWithPacketsInFlight(sender, 50, room.closeProducer(producerId))
    expect(sink.packets).toHaveLength(50)
    expect(sink.ends).toEqual(["producer"])
    expect(yield* room.consumers).toEqual([])
    expect(yield* room.producers).toEqual([])
  })
)

it.live("closing a room gives its captures their last packets", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine()
    const roomScope = yield* Scope.make()
    const room = yield* engine.openRoom("room-1").pipe(Scope.provide(roomScope))
    const sink = makeSink()
    const sender = yield* makeSource(room, audio)
    yield* room.capture(audio.producerId, sink)
    yield* closeWithPacketsInFlight(sender, 50, Scope.close(roomScope, Exit.void))
    expect(sink.packets).toHaveLength(50)
    expect(sink.ends).toEqual(["producer"])
    expect(yield* Effect.flip(room.addRtpProducer(audio))).toMatchObject({ _tag: "RoomMediaClosed" })
  })
)

it.live("a capture's sink is made before its first packet", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const sink = makeSink()
    const sender = yield* makeSource(room, audio)
    const receiver = yield* makeRtpReceiver
    const { producerId } = audio
    yield* room.addRtpConsumer({ consumerId: "c", producerId, ip: "127.0.0.1", port: receiver.port })
    let seenWhileMaking = -1
    const info = yield* room.capture(producerId, (info) =>
      Effect.gen(function* () {
        expect(info).toMatchObject({ codec: "opus", clockRate: 48_000, channels: 2, ssrc: audio.ssrc })
        expect(info.ssrcs).toHaveLength(1)
        yield* sender.send()
        yield* receiver.count(1)
        seenWhileMaking = sink.packets.length
        return sink
      })
    )
    expect(seenWhileMaking).toBe(0)
    yield* sender.send()
    yield* until(() => sink.packets.length === 1)
    expect(rtpHeader(sink.packets[0] ?? Buffer.alloc(12)).ssrc).toBe(info.ssrcs[0])
  })
)

it.live("a watcher's captures stand before a producer's address is given out", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const sink = makeSink()
    const scope = yield* Effect.scope
    const closed: Array<AnyProducerInfo> = []
    yield* makeSource(room, video)
    const opened: Array<string> = []
    yield* room.watchProducers({
      opened: (producer) =>
        room.capture(producer.producerId, sink).pipe(
          Scope.provide(scope),
          Effect.orDie,
          Effect.tap(() => Effect.sync(() => opened.push(producer.producerId)))
        ),
      closed: (producer) => Effect.sync(() => void closed.push(producer))
    })
    expect(opened).toEqual([video.producerId])
    const sender = yield* makeSource(room, audio)
    expect(opened).toEqual([video.producerId, audio.producerId])
    yield* sender.send()
    yield* until(() => sink.packets.length === 1)
    yield* room.closeProducer(audio.producerId)
    expect(closed).toMatchObject([{ producerId: audio.producerId }])
  })
)

it.live("a watcher that hangs keeps nobody out", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom({ watcherTimeout: 20 })
    yield* room.watchProducers({ opened: () => Effect.never, closed: () => Effect.void })
    yield* room.addRtpProducer(audio)
  })
)

it.live("the same create twice is one thing, also at the same time; other options conflict", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const [one, two] = yield* Effect.all([room.addRtpProducer(audio), room.addRtpProducer(audio)], {
      concurrency: "unbounded"
    })
    expect(two).toEqual(one)
    expect(yield* room.addRtpProducer({ ...audio, rtcpMux: true })).toEqual(one)
    expect(yield* Effect.flip(room.addRtpProducer({ ...audio, ssrc: 3333 }))).toMatchObject({
      _tag: "MediaConflict",
      entity: "producer",
      id: audio.producerId
    })

    const consumer = { consumerId: "c", producerId: audio.producerId, ip: "127.0.0.1", port: 9 }
    const sending = yield* room.addRtpConsumer(consumer)
    expect(yield* room.addRtpConsumer(consumer)).toEqual(sending)
    expect(yield* Effect.flip(room.addRtpConsumer({ ...consumer, port: 10 }))).toMatchObject({
      _tag: "MediaConflict",
      entity: "consumer"
    })

    yield* room.closeConsumer("c")
    yield* room.closeProducer(audio.producerId)
    expect(yield* room.addRtpProducer({ ...audio, ssrc: 3333 })).toMatchObject({
      producerId: audio.producerId
    })
  })
)

it.live("a create whose caller was interrupted is found when asked for again", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const caller = yield* Effect.forkChild(room.addRtpProducer(audio), { startImmediately: true })
    yield* Fiber.interrupt(caller)
    const { port } = yield* room.addRtpProducer(audio)
    expect(yield* room.producers).toHaveLength(1)
    const sink = makeSink()
    yield* room.capture(audio.producerId, sink)
    const sender = yield* makeRtpSender({ ...audio, port })
    yield* sender.send()
    yield* until(() => sink.packets.length === 1)
  })
)

it.live("unknown ids are typed", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const nowhere = { ip: "127.0.0.1", port: 9 }
    const tag = (effect: Effect.Effect<unknown, { readonly _tag: string }, Scope.Scope>) =>
      Effect.map(Effect.flip(effect), (error) => error._tag)
    expect(yield* tag(room.closeProducer("nobody"))).toBe("UnknownProducer")
    expect(yield* tag(room.closeConsumer("nobody"))).toBe("UnknownConsumer")
    expect(yield* tag(room.capture("nobody", makeSink()))).toBe("UnknownProducer")
    expect(yield* tag(room.addRtpConsumer({ consumerId: "c", producerId: "nobody", ...nowhere }))).toBe(
      "UnknownProducer"
    )
  })
)

it.live("what a producer or a consumer cannot be is refused with what to give instead", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    yield* room.addRtpProducer(audio)
    const refused = Effect.fnUntraced(function* (
      effect: Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>
    ) {
      const error = yield* Effect.flip(effect)
      expect(error._tag).toBe("MediaRejected")
      return error.message
    })
    expect(yield* refused(room.addRtpProducer({ ...video, payloadType: 300 }))).toContain("from 0 to 127")
    expect(yield* refused(room.addRtpProducer({ ...video, payloadType: 72 }))).toContain("taken for RTCP")
    expect(yield* refused(room.addRtpProducer({ ...video, ssrc: 0 }))).toContain("ssrc 0")
    expect(yield* refused(room.addRtpProducer({ ...video, ssrc: 2 ** 32 }))).toContain("ssrc 4294967296")
    expect(yield* refused(room.addRtpProducer({ ...video, kind: "audio" }))).toContain("vp8 is video")
    const consumer = { consumerId: "c", producerId: audio.producerId, ip: "127.0.0.1", port: 5000 }
    expect(yield* refused(room.addRtpConsumer({ ...consumer, ip: "example.org" }))).toContain("IPv4 or IPv6")
    expect(yield* refused(room.addRtpConsumer({ ...consumer, port: 0 }))).toContain("port 0")
    expect(yield* refused(room.addRtpConsumer({ ...consumer, rtcpMux: false }))).toContain(
      "rtcpPort is missing"
    )
    expect(yield* refused(room.addRtpConsumer({ ...consumer, rtcpPort: 5001 }))).toContain("leave it out")
    const srtp = { cryptoSuite: "AES_CM_128_HMAC_SHA1_80", keyBase64: "c2hvcnQ=" } as const
    expect(yield* refused(room.addRtpProducer({ ...video, srtp }))).toContain("SRTP key length")

    // None of them left anything behind, and the room goes on.
    yield* room.addRtpProducer(video)
    expect(yield* room.producers).toHaveLength(2)
    expect(yield* room.consumers).toHaveLength(0)
  })
)

it.live("plain RTP on a network address is refused, SRTP is not, and the choice can be made", () =>
  Effect.gen(function* () {
    const ip = "0.0.0.0"
    const room = yield* makeRoom({ listenIp: ip })
    expect(yield* Effect.flip(room.addRtpProducer(audio))).toMatchObject({
      _tag: "PlainOnNetworkRefused",
      ip
    })
    const srtp = {
      cryptoSuite: "AEAD_AES_128_GCM",
      keyBase64: Buffer.alloc(28, 7).toString("base64")
    } as const
    expect(yield* room.addRtpProducer({ ...audio, srtp })).toMatchObject({
      srtp: { cryptoSuite: srtp.cryptoSuite }
    })
    const allowed = yield* makeRoom({ listenIp: ip, allowPlainOnNetwork: true })
    yield* allowed.addRtpProducer(audio)

    const loopback = yield* makeRoom()
    yield* loopback.addRtpProducer(audio)
    const away = { consumerId: "c", producerId: audio.producerId, ip: "192.0.2.1", port: 5000 }
    expect(yield* Effect.flip(loopback.addRtpConsumer(away))).toMatchObject({
      _tag: "PlainOnNetworkRefused",
      ip: away.ip
    })
  })
)

it.live("ports come from the range, past those that others hold, and running out is typed", () =>
  Effect.gen(function* () {
    const taken = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createSocket>>((resume) => {
        const socket = createSocket("udp4")
        socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
      }),
      (socket) => Effect.sync(() => socket.close())
    )
    const { port } = taken.address()
    const portRange = { min: port - 1, max: port + 1 }
    const one = yield* makeRoom({ portRange })
    const other = yield* makeRoom({ portRange })
    const ports = [
      (yield* one.addRtpProducer(audio)).port,
      (yield* other.addRtpProducer(audio)).port
    ].toSorted((a, b) => a - b)
    expect(ports).toEqual([port - 1, port + 1])
    expect(yield* Effect.flip(one.addRtpProducer(video))).toMatchObject({
      _tag: "PortsExhausted",
      ...portRange
    })
    yield* other.closeProducer(audio.producerId)
    yield* Effect.eventually(one.addRtpProducer(video))
  })
)

it.live("a producer of H.264 or VP9 has the parameters of its codec, and whose it is", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    const seen: Array<AnyProducerInfo> = []
    yield* room.watchProducers({
      opened: (producer) => Effect.sync(() => void seen.push(producer)),
      closed: () => Effect.void
    })
    const high = {
      ...video,
      producerId: "high",
      codec: "h264",
      parameters: { "profile-level-id": "640028" },
      peerId: "ada",
      source: "screen"
    } as const
    yield* room.addRtpProducer(high)
    yield* room.addRtpProducer({ ...video, producerId: "vp9", codec: "vp9" })
    yield* room.addRtpProducer({ ...video, producerId: "av1", codec: "av1" })
    expect(seen).toMatchObject([
      {
        producerId: "high",
        mimeType: "video/H264",
        parameters: { "packetization-mode": 1, "profile-level-id": "640028" },
        layers: [{ ssrc: video.ssrc }],
        peerId: "ada",
        source: "screen"
      },
      { producerId: "vp9", mimeType: "video/VP9", parameters: { "profile-id": 0 } },
      { producerId: "av1", mimeType: "video/AV1", parameters: {} }
    ])
    const captured = yield* room.capture("high", makeSink())
    expect(captured).toMatchObject({
      codec: "h264",
      parameters: { "profile-level-id": "640028" },
      layers: [{ ssrc: captured.ssrcs[0] }],
      peerId: "ada"
    })

    const other = { ...high, parameters: { "profile-level-id": "42e01f" } }
    expect((yield* Effect.flip(room.addRtpProducer(other)))._tag).toBe("MediaConflict")
    const unknown = { ...high, producerId: "unknown", parameters: { "profile-level-id": "f40028" } }
    expect((yield* Effect.flip(room.addRtpProducer(unknown)))._tag).toBe("MediaRejected")
  })
)
