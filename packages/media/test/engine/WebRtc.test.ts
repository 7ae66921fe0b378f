/** The way in for browsers without a browser: ports, ownership, ends. What comes over it is tested with a real one, in test/webrtc. */
import { createHmac } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { connect } from "node:net"
import { crc32 } from "node:zlib"
import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { AnyProducerInfo, RoomMedia } from "../../src/engine/RoomMedia.ts"
import type { WebRtcTransport } from "../../src/protocol/WebRtc.ts"
import { audio, makeEngine, makeRoom, makeSink } from "./engineFixture.ts"

const listen = [{ ip: "127.0.0.1" }]
const ada = { transportId: "t", peerId: "ada" }
const microphone = {
  ...ada,
  producerId: "mic",
  kind: "audio",
  rtpParameters: {
    mid: "0",
    codecs: [{ mimeType: "audio/opus", payloadType: 111, clockRate: 48_000, channels: 2 }],
    encodings: [{ ssrc: 2222 }]
  },
  source: "microphone"
} as const
const chat = { ...ada, producerId: "chat", sctpStreamParameters: { streamId: 1 }, label: "chat" }

/** Of its candidates, by protocol. */
const portsOf = Effect.fnUntraced(function* (room: RoomMedia, transportId = "ports") {
  const { iceCandidates } = yield* room.webRtc.open({ transportId, peerId: "ada" })
  return new Map(iceCandidates.map(({ port, protocol }) => [protocol, port]))
})

const heldPort = Effect.acquireRelease(
  Effect.callback<ReturnType<typeof createSocket>>((resume) => {
    const socket = createSocket("udp4")
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
)

it.live("an engine that was not told to listens for no browser", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom()
    expect((yield* Effect.flip(room.webRtc.open(ada)))._tag).toBe("WebRtcOff")
  })
)

it.live("all rooms of a worker share one port for each protocol, which a second worker passes over", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine({
      workers: 2,
      webRtc: { listen, portRange: { min: 45_200, max: 45_299 } }
    })
    const rooms = yield* Effect.forEach(["a", "b", "c", "d"], engine.openRoom)
    const ports = yield* Effect.forEach(rooms, (room) => portsOf(room))
    const udp = ports.map((port) => port.get("udp") ?? 0)
    expect(new Set(udp).size).toBe(2)
    expect(udp.every((port) => port >= 45_200 && port <= 45_299)).toBe(true)
    expect(ports.every((port) => port.has("tcp"))).toBe(true)
  })
)

it.live("a range whose ports others hold is a typed refusal to start", () =>
  Effect.gen(function* () {
    const held = yield* heldPort
    const { port } = held.address()
    const webRtc = { listen, tcp: false, portRange: { min: port, max: port } }
    const refused = yield* Effect.flip(makeEngine({ webRtc }))
    expect(refused).toMatchObject({ _tag: "WorkerUnavailable", retry: "safe" })
    expect(refused.message).toContain(`ports ${port} to ${port}`)
  })
)

it.live(
  "the announced address is given out in place of that which is listened on, and TCP only where wanted",
  () =>
    Effect.gen(function* () {
      const webRtc = { listen: [{ ip: "127.0.0.1", announced: "192.0.2.7" }], tcp: false }
      const room = yield* makeRoom({ webRtc })
      const { iceCandidates, sctpParameters } = yield* room.webRtc.open({ ...ada, data: false })
      expect(iceCandidates.map(({ address, protocol }) => [address, protocol])).toEqual([
        ["192.0.2.7", "udp"]
      ])
      expect(sctpParameters).toBeUndefined()
    })
)

it.live("a transport and what is on it is its peer's alone", () =>
  Effect.gen(function* () {
    const { webRtc } = yield* makeRoom({ webRtc: { listen } })
    yield* webRtc.open(ada)
    yield* webRtc.produce(microphone)
    const bob = { ...ada, peerId: "bob" }
    const refused: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
      webRtc.open(bob),
      webRtc.connect({ ...bob, dtlsParameters: { fingerprints: [] } }),
      webRtc.produce({ ...microphone, peerId: "bob" }),
      webRtc.produceData({ ...chat, peerId: "bob" }),
      webRtc.restartIce(bob),
      webRtc.mute({ peerId: "bob", producerId: "mic", muted: true }),
      webRtc.closeProducer({ peerId: "bob", producerId: "mic" }),
      webRtc.close(bob)
    ]
    for (const each of refused) expect((yield* Effect.flip(each))._tag).toBe("ForeignPeer")
    expect(yield* webRtc.transports).toMatchObject([
      { transportId: "t", peerId: "ada", ice: "new", dtls: "new" }
    ])
  })
)

it.live(
  "a transport that closes takes its producers along, of media and data, and tells captures and watchers",
  () =>
    Effect.gen(function* () {
      const room = yield* makeRoom({ webRtc: { listen } })
      const closed: Array<AnyProducerInfo> = []
      const sink = makeSink()
      const ends: Array<string> = []
      yield* room.watchProducers({
        opened: () => Effect.void,
        closed: (producer) => Effect.sync(() => void closed.push(producer))
      })
      yield* room.webRtc.open(ada)
      yield* room.webRtc.produce(microphone)
      yield* room.webRtc.produceData(chat)
      yield* room.addRtpProducer(audio)
      yield* room.capture("mic", sink)
      yield* room.captureData("chat", { message: () => undefined, closed: (end) => void ends.push(end) })
      expect((yield* Effect.flip(room.capture("chat", makeSink())))._tag).toBe("UnknownProducer")

      yield* room.webRtc.close(ada)
      expect(new Map(closed.map(({ kind, producerId }) => [producerId, kind]))).toEqual(
        new Map([
          ["mic", "audio"],
          ["chat", "data"]
        ])
      )
      expect(closed.every(({ peerId }) => peerId === "ada")).toBe(true)
      expect([sink.ends, ends]).toEqual([["producer"], ["producer"]])
      expect((yield* room.producers).map(({ producerId }) => producerId)).toEqual([audio.producerId])
      expect(yield* room.dataProducers).toEqual([])
      expect((yield* Effect.flip(room.webRtc.restartIce(ada)))._tag).toBe("UnknownTransport")
      yield* room.webRtc.open({ ...ada, peerId: "bob" })
    })
)

it.live("a peer has 16 transports at most, each with 64 producers, whatever others have", () =>
  Effect.gen(function* () {
    const { webRtc } = yield* makeRoom({ webRtc: { listen } })
    const open = (n: number, peerId = "ada") => webRtc.open({ transportId: `${peerId}-${n}`, peerId })
    for (let n = 0; n < 16; n++) yield* open(n)
    expect(yield* Effect.flip(open(16))).toMatchObject({ _tag: "MediaRejected", retry: "never" })
    yield* open(0, "bob")
    yield* webRtc.close({ transportId: "ada-0", peerId: "ada" })
    yield* open(16)
    const data = (streamId: number) =>
      webRtc.produceData({
        transportId: "ada-1",
        peerId: "ada",
        producerId: `d-${streamId}`,
        sctpStreamParameters: { streamId }
      })
    for (let n = 0; n < 64; n++) yield* data(n)
    expect(yield* Effect.flip(data(64))).toMatchObject({ _tag: "MediaRejected" })
    yield* data(0)
  })
)

it.live("of a peer with 16 transports the one that has lost its page gives way, and no other", () =>
  Effect.gen(function* () {
    const { webRtc } = yield* makeRoom({ webRtc: { listen } })
    const open = (n: number) => webRtc.open({ transportId: `t-${n}`, peerId: "ada" })
    const opened = yield* Effect.forEach(Array.from({ length: 16 }).keys(), open)
    const ice = Effect.map(
      webRtc.transports,
      (all) => all.find(({ transportId }) => transportId === "t-5")?.ice ?? "gone"
    )
    const page = yield* pageOn(opened[5])
    yield* Effect.repeat(ice, { schedule: Schedule.spaced("5 millis"), until: (it) => it === "completed" })
    expect(yield* Effect.flip(open(16))).toMatchObject({ _tag: "MediaRejected" })
    // What goes by UDP is heard of no more for 30 s until then.
    page.destroy()
    yield* Effect.repeat(ice, { schedule: Schedule.spaced("5 millis"), until: (it) => it === "disconnected" })
    yield* open(16)
    expect(yield* ice).toBe("gone")
    expect(yield* Effect.flip(open(17))).toMatchObject({ _tag: "MediaRejected" })
    expect((yield* webRtc.transports).length).toBe(16)
  })
)

it.live("a close goes on without its caller", () =>
  Effect.gen(function* () {
    const room = yield* makeRoom({ webRtc: { listen } })
    const closing = yield* Deferred.make<void>()
    const mayClose = yield* Deferred.make<void>()
    yield* room.watchProducers({
      opened: () => Effect.void,
      closed: () => Effect.andThen(Deferred.succeed(closing, undefined), Deferred.await(mayClose))
    })
    const page = yield* pageOn(yield* room.webRtc.open(ada))
    yield* room.webRtc.produce(microphone)
    const asking = yield* Effect.forkChild(room.webRtc.close(ada))
    yield* Deferred.await(closing)
    yield* Fiber.interrupt(asking)
    yield* Deferred.succeed(mayClose, undefined)
    yield* Effect.repeat(
      Effect.sync(() => page.closed),
      { schedule: Schedule.spaced("5 millis"), until: (it) => it }
    )
  })
)

/** A page's connection by TCP, which was let in. */
const pageOn = Effect.fnUntraced(function* (opened: WebRtcTransport | undefined) {
  const { iceCandidates = [], iceParameters } = opened ?? {}
  const { port = 0 } = iceCandidates.find(({ protocol }) => protocol === "tcp") ?? {}
  const page = yield* Effect.acquireRelease(
    Effect.sync(() => connect({ host: "127.0.0.1", port })),
    (socket) => Effect.sync(() => socket.destroy())
  )
  page.write(bindingRequest(iceParameters?.usernameFragment ?? "", iceParameters?.password ?? ""))
  yield* Effect.promise(() => once(page, "data"))
  return page
})

/** A page's STUN binding request (RFC 8489, with ICE's attributes), framed for TCP (RFC 4571). */
const bindingRequest = (usernameFragment: string, password: string): Buffer => {
  const header = Buffer.from("000100002112a442000000000000000000000001", "hex")
  const attribute = (type: number, value: Buffer) => {
    const bytes = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4)
    bytes.writeUInt16BE(type)
    bytes.writeUInt16BE(value.length, 2)
    value.copy(bytes, 4)
    return bytes
  }
  /** With one more, made of all before it, whose length already counts it. */
  const signed = (message: Buffer, type: number, length: number, sign: (bytes: Buffer) => Buffer) => {
    message.writeUInt16BE(message.length - header.length + 4 + length, 2)
    return Buffer.concat([message, attribute(type, sign(message))])
  }
  const asked = Buffer.concat([
    header,
    attribute(0x0006, Buffer.from(`${usernameFragment}:page`)),
    attribute(0x0024, Buffer.from("6e0001ff", "hex")),
    attribute(0x802a, Buffer.alloc(8, 1)),
    attribute(0x0025, Buffer.alloc(0))
  ])
  const authentic = signed(asked, 0x0008, 20, (bytes) => createHmac("sha1", password).update(bytes).digest())
  const message = signed(authentic, 0x8028, 4, (bytes) => {
    const fingerprint = Buffer.alloc(4)
    fingerprint.writeUInt32BE((crc32(bytes) ^ 0x5354554e) >>> 0)
    return fingerprint
  })
  const frame = Buffer.alloc(2)
  frame.writeUInt16BE(message.length)
  return Buffer.concat([frame, message])
}

it.live("what is being made counts in these limits: asked for at once there are no more", () =>
  Effect.gen(function* () {
    const { webRtc } = yield* makeRoom({ webRtc: { listen } })
    const atOnce = <A, E>(count: number, ask: (n: number) => Effect.Effect<A, E>) =>
      Effect.map(
        Effect.forEach(Array.from({ length: count }).keys(), (n) => Effect.exit(ask(n)), {
          concurrency: "unbounded"
        }),
        (asked) => asked.filter(Exit.isSuccess).length
      )
    const open = (n: number) => webRtc.open({ transportId: `t-${n}`, peerId: "ada" })
    expect(yield* atOnce(40, open)).toBe(16)
    const data = (streamId: number) =>
      webRtc.produceData({
        transportId: "t-0",
        peerId: "ada",
        producerId: `d-${streamId}`,
        sctpStreamParameters: { streamId }
      })
    expect(yield* atOnce(100, data)).toBe(64)
    yield* webRtc.close({ transportId: "t-1", peerId: "ada" })
    yield* open(40)
    yield* webRtc.closeProducer({ producerId: "d-0", peerId: "ada" })
    yield* data(100)
  })
)

it.live("an open goes on without its caller, and who asks again finds it", () =>
  Effect.gen(function* () {
    const { webRtc } = yield* makeRoom({ webRtc: { listen } })
    const asking = yield* Effect.forkChild(webRtc.open(ada), { startImmediately: true })
    yield* Fiber.interrupt(asking)
    const opened = yield* webRtc.open(ada)
    expect(yield* webRtc.open(ada)).toEqual(opened)
    expect(yield* webRtc.transports).toHaveLength(1)
  })
)

it.live("a worker that is replaced listens for browsers again", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine({ webRtc: { listen }, restart: { min: 10, max: 10 } })
    const scope = yield* Scope.make()
    const room = yield* Scope.provide(engine.openRoom("doomed"), scope)
    yield* room.webRtc.open(ada)
    process.kill(room.workerPid, "SIGKILL")
    yield* room.ended
    expect((yield* Effect.flip(room.webRtc.open({ ...ada, transportId: "late" })))._tag).toBe("WorkerDied")
    yield* Scope.close(scope, Exit.void)
    const another = yield* Effect.retry(engine.openRoom("another"), Schedule.spaced(10))
    expect((yield* portsOf(another)).get("udp")).toBeGreaterThan(0)
  })
)
