/**
 * Captures on the room's direct transport: of a producer by a pipe consumer, which hands each packet of each layer to the
 * node with its RTP timestamp as it was sent; of a data producer by a data consumer, message by message.
 */
import type { DirectTransport, Router } from "mediasoup/types"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { UnknownProducer } from "../../MediaError.ts"
import type { CaptureInfo, CaptureSink, DataProducerInfo, DataSink } from "../RoomMedia.ts"
import { holdCapture, type Capture } from "./captured.ts"
import { makeLayerWatch } from "./layerWatch.ts"
import type { LiveData, LiveProducer } from "./liveProducer.ts"
import { requestScoped, type Door } from "./mediasoupDoor.ts"
import { codecParameters } from "./rtpCodecs.ts"

/** Where captures of a room are made. */
export interface CaptureSite {
  readonly door: Door
  readonly router: Router
  readonly direct: DirectTransport
  readonly captures: Set<Capture>
}

const consumed = <A extends { close(): void }>(door: Door, producerId: string, consume: () => Promise<A>) =>
  requestScoped(door, "capture", consume).pipe(
    // The producer went while we asked.
    Effect.catchTag(["MediaRejected", "PortsExhausted"], () =>
      Effect.fail(new UnknownProducer({ roomId: door.roomId, producerId }))
    )
  )

export const openCapture = Effect.fnUntraced(function* <E, R>(
  { captures, direct, door, router }: CaptureSite,
  live: LiveProducer,
  source: CaptureSink | ((info: CaptureInfo) => Effect.Effect<CaptureSink, E, R>)
) {
  const { producerId } = live.info
  const consumer = yield* consumed(door, producerId, () =>
    direct.consume({
      producerId: live.producer.id,
      rtpCapabilities: router.rtpCapabilities,
      pipe: true,
      enableRtx: false,
      paused: true
    })
  )

  const ssrcs = (consumer.rtpParameters.encodings ?? []).flatMap(({ ssrc }) =>
    ssrc === undefined ? [] : [ssrc]
  )
  const info: CaptureInfo = {
    ...live.info,
    ...codecParameters(consumer.rtpParameters),
    ssrcs,
    layers: ssrcs.map((ssrc, i) => ({ ...live.info.layers[i], ssrc }))
  }
  const sink = typeof source === "function" ? yield* source(info) : source

  const reports = {
    ssrcs,
    take: (report: Parameters<CaptureSink["senderReport"]>[0]) => sink.senderReport(report)
  }
  const clock = yield* Clock.Clock
  const watch = ssrcs.length > 1 ? makeLayerWatch() : undefined
  const askOfRest = (packet: Buffer) => {
    const nowMs = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    const ends = (packet.readUInt8(1) & 0x80) !== 0
    if (watch?.packet(packet.readUInt32BE(8), ends, nowMs) !== true) return
    // Refused only of a consumer that is closed.
    void consumer.requestKeyFrame().catch(() => undefined)
  }
  yield* holdCapture(door, captures, {
    producerId,
    flow: consumer,
    requestKeyFrame: () => consumer.requestKeyFrame(),
    listen: (isOver, gone) => {
      consumer.on("rtp", (packet) => {
        if (isOver()) return
        sink.rtp(packet)
        if (watch !== undefined) askOfRest(packet)
      })
      consumer.on("producerclose", gone)
      consumer.on("transportclose", gone)
      if (!consumer.closed) live.addTaker(reports)
    },
    over: (end) => {
      live.removeTaker(reports)
      sink.closed(end)
    }
  })
  return info
})

export const openDataCapture = Effect.fnUntraced(function* <E, R>(
  { captures, direct, door }: CaptureSite,
  { info, producer }: LiveData,
  source: DataSink | ((info: DataProducerInfo) => Effect.Effect<DataSink, E, R>)
) {
  const { producerId } = info
  const consumer = yield* consumed(door, producerId, () =>
    direct.consumeData({ dataProducerId: producer.id, paused: true })
  )
  const sink = typeof source === "function" ? yield* source(info) : source
  yield* holdCapture(door, captures, {
    producerId,
    flow: consumer,
    requestKeyFrame: () => Promise.resolve(),
    listen: (isOver, gone) => {
      consumer.on("message", (payload, ppid) => {
        if (!isOver()) sink.message({ payload, ppid })
      })
      consumer.on("dataproducerclose", gone)
      consumer.on("transportclose", gone)
    },
    over: (end) => sink.closed(end)
  })
  return info
})
