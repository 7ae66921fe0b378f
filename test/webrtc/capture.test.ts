/** What a real Chromium sends, as the engine's captures see it: each layer by itself, with its own clock. */
import { expect, it } from "@effect/vitest"
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { MediaEngine } from "../../packages/media/src/engine/MediaEngine.ts"
import type { CaptureInfo, DataMessage, RoomMedia } from "../../packages/media/src/engine/RoomMedia.ts"
import { browserPeer, openBrowser } from "../support/browser/browserPeer.ts"
import { until, untilTrue } from "../support/until.ts"

interface Captured {
  readonly info: CaptureInfo
  /** By the SSRC that the sink sees. */
  readonly packets: Map<number, number>
  readonly reports: Map<number, number>
  readonly ends: Array<string>
}

const count = (counts: Map<number, number>, key: number) => counts.set(key, (counts.get(key) ?? 0) + 1)

/** Captures whatever comes into the room, as a recording does. */
const captureAll = Effect.fnUntraced(function* (room: RoomMedia) {
  const media = new Map<string, Captured>()
  const data = new Map<string, Array<DataMessage>>()
  const scope = yield* Effect.scope
  const captureData = (producerId: string) =>
    Effect.suspend(() => {
      const messages: Array<DataMessage> = []
      data.set(producerId, messages)
      const message = (each: DataMessage) => void messages.push(each)
      return Effect.asVoid(room.captureData(producerId, { message, closed: () => undefined }))
    })
  const captureMedia = (producerId: string) =>
    Effect.asVoid(
      room.capture(producerId, (info) =>
        Effect.sync(() => {
          const captured: Captured = { info, packets: new Map(), reports: new Map(), ends: [] }
          media.set(producerId, captured)
          return {
            rtp: (packet) =>
              count(captured.packets, new DataView(packet.buffer, packet.byteOffset).getUint32(8)),
            senderReport: ({ ssrc }) => count(captured.reports, ssrc),
            closed: (end) => void captured.ends.push(end)
          }
        })
      )
    )
  yield* room.watchProducers({
    opened: ({ kind, producerId }) =>
      (kind === "data" ? captureData(producerId) : captureMedia(producerId)).pipe(
        Effect.orDie,
        Scope.provide(scope)
      ),
    closed: () => Effect.void
  })
  return { media, data }
})

/** The commands of one room, for one peer, without NATS and tokens between. */
const callOf = (room: RoomMedia, peerId: string): ControlClient["call"] => {
  const commands: Readonly<Record<string, (input: never) => Effect.Effect<unknown, unknown>>> = {
    "room.capabilities": () => Effect.succeed({ rtpCapabilities: room.rtpCapabilities }),
    "webrtc.open": (o: Parameters<RoomMedia["webRtc"]["open"]>[0]) => room.webRtc.open({ ...o, peerId }),
    "webrtc.connect": (o: Parameters<RoomMedia["webRtc"]["connect"]>[0]) =>
      room.webRtc.connect({ ...o, peerId }),
    "webrtc.produce": (o: Parameters<RoomMedia["webRtc"]["produce"]>[0]) =>
      room.webRtc.produce({ ...o, peerId }),
    "webrtc.produceData": (o: Parameters<RoomMedia["webRtc"]["produceData"]>[0]) =>
      room.webRtc.produceData({ ...o, peerId }),
    "webrtc.mute": (o: Parameters<RoomMedia["webRtc"]["mute"]>[0]) => room.webRtc.mute({ ...o, peerId }),
    "webrtc.closeProducer": (o: Parameters<RoomMedia["webRtc"]["closeProducer"]>[0]) =>
      room.webRtc.closeProducer({ ...o, peerId })
  }
  return ((command: string, input: never) =>
    commands[command]?.(input) ?? Effect.die(`no ${command}`)) as unknown as ControlClient["call"]
}

const chromiumIn = Effect.fnUntraced(function* () {
  const engine = yield* MediaEngine.make({ workers: 1, webRtc: { listen: [{ ip: "127.0.0.1" }] } })
  const room = yield* engine.openRoom("talk")
  const captured = yield* captureAll(room)
  const browser = yield* openBrowser
  const ada = yield* browserPeer(browser, { call: callOf(room, "ada"), roomId: "talk", token: "" })
  const types = yield* ada.open
  return { room, ada, types, ...captured }
})

const of = <A>(map: ReadonlyMap<string, A>, id: string): A => {
  const found = map.get(id)
  if (found === undefined) throw new Error(`nothing of ${id}`)
  return found
}

it.live(
  "every layer of a camera is captured with an SSRC and sender reports of its own, a screen and a microphone beside it",
  () =>
    Effect.gen(function* () {
      const { ada, media } = yield* chromiumIn()
      yield* ada.camera({ producerId: "camera" })
      yield* ada.screen({ producerId: "screen" })
      yield* ada.microphone({ producerId: "microphone" })

      const camera = of(media, "camera")
      expect(camera.info).toMatchObject({
        kind: "video",
        mimeType: "video/VP8",
        peerId: "ada",
        source: "camera",
        layers: [{ rid: "r0" }, { rid: "r1" }, { rid: "r2" }]
      })
      expect(new Set(camera.info.ssrcs).size).toBe(3)
      const whole = ({ info, packets, reports }: Captured) =>
        info.ssrcs.every((ssrc) => (packets.get(ssrc) ?? 0) > 20 && (reports.get(ssrc) ?? 0) > 1)
      yield* untilTrue(() => ["camera", "screen", "microphone"].every((id) => whole(of(media, id))))
      expect(new Set(camera.packets.keys())).toEqual(new Set(camera.info.ssrcs))

      const sent = yield* ada.page((peer) => peer.sent("camera"))
      expect(sent.map(({ rid, width }) => [rid, width])).toEqual([
        ["r0", 240],
        ["r1", 480],
        ["r2", 960]
      ])
      expect(of(media, "screen").info.layers).toHaveLength(1)
      expect(of(media, "microphone").info).toMatchObject({
        kind: "audio",
        mimeType: "audio/opus",
        channels: 2
      })
    })
)

it.live(
  "VP9, H.264 and AV1 of Chromium are captured with the parameters of their formats, SVC in one stream",
  () =>
    Effect.gen(function* () {
      const { ada, media, types } = yield* chromiumIn()
      expect(types).toEqual(["audio/opus", "video/VP8", "video/VP9", "video/H264", "video/AV1"])
      const sends = [
        { mimeType: "video/VP9", scalabilityMode: "L3T3_KEY", parameters: { "profile-id": 0 } },
        { mimeType: "video/AV1", scalabilityMode: "L1T2", parameters: {} },
        { mimeType: "video/H264", parameters: { "packetization-mode": 1 } }
      ]
      for (const { mimeType, parameters, scalabilityMode } of sends) {
        const encodings = [scalabilityMode === undefined ? {} : { scalabilityMode }]
        yield* ada.camera({ producerId: mimeType, mimeType, encodings, width: 320, height: 180 })
        const { info, packets, reports } = of(media, mimeType)
        expect(info).toMatchObject({ mimeType, parameters, layers: [...encodings] })
        expect(info.layers).toHaveLength(1)
        const [ssrc = 0] = info.ssrcs
        yield* untilTrue(() => (packets.get(ssrc) ?? 0) > 20 && (reports.get(ssrc) ?? 0) > 0)
        const sent = yield* ada.page((peer, id) => peer.sent(id), mimeType)
        expect(sent.map(({ codec }) => codec)).toEqual([mimeType])
        yield* ada.page((peer, id) => peer.stop(id), mimeType)
        expect(of(media, mimeType).ends).toEqual(["producer"])
      }
      expect(of(media, "video/H264").info.parameters["profile-level-id"]).toMatch(/^42/)
    })
)

it.live("messages of data channels are captured in their order, texts and bytes told apart", () =>
  Effect.gen(function* () {
    const { ada, data, room } = yield* chromiumIn()
    yield* ada.page((peer) => peer.openData({ producerId: "chat", label: "chat", ordered: true }))
    yield* ada.page(async (peer) => {
      await peer.sendText("chat", "hello")
      await peer.sendBytes("chat", [0, 255, 7])
      for (let i = 0; i < 100; i++) await peer.sendText("chat", `line ${i}`)
    })
    const messages = of(data, "chat")
    yield* untilTrue(() => messages.length === 102)
    expect(messages.slice(0, 2).map(({ payload, ppid }) => [ppid, [...payload]])).toEqual([
      [51, [...Buffer.from("hello")]],
      [53, [0, 255, 7]]
    ])
    expect(messages.slice(2).map(({ payload }) => Buffer.from(payload).toString())).toEqual(
      Array.from({ length: 100 }, (_, i) => `line ${i}`)
    )
    expect(yield* room.dataProducers).toMatchObject([
      { producerId: "chat", label: "chat", peerId: "ada", messagesReceived: 102 }
    ])
  })
)

it.live("nothing of a muted producer is captured; it lives on, and goes on when it is heard again", () =>
  Effect.gen(function* () {
    const { ada, media, room } = yield* chromiumIn()
    yield* ada.camera({ producerId: "camera", encodings: [{}], width: 320, height: 180 })
    const { ends, info, packets } = of(media, "camera")
    const [ssrc = 0] = info.ssrcs
    const come = () => packets.get(ssrc) ?? 0
    const sent = Effect.map(
      ada.page((peer) => peer.sent("camera")),
      ([stream]) => stream?.packets ?? 0
    )
    yield* untilTrue(() => come() > 10)
    yield* ada.page((peer) => peer.mute("camera", true))
    expect(yield* room.producers).toMatchObject([{ producerId: "camera", muted: true }])
    // The browser goes on, with black frames.
    const sentBefore = yield* sent
    const before = come()
    yield* until(sent, (packets) => packets > sentBefore + 2)
    expect(come()).toBe(before)

    yield* ada.page((peer) => peer.mute("camera", false))
    yield* untilTrue(() => come() > before + 10)
    expect(ends).toEqual([])
    expect(yield* room.producers).toMatchObject([{ producerId: "camera", muted: false }])
  })
)
