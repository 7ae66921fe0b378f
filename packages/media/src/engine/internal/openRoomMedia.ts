/** Makes a room's media on a worker: the owner of its router and of what goes out of it as RTP, and the door that RTP comes in by. */
import type { PlainTransport, Producer } from "mediasoup/types"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  MediaConflict,
  UnknownConsumer,
  type EngineTimeout,
  type PlainOnNetworkRefused,
  type UnknownProducer
} from "../../MediaError.ts"
import type { EngineWorker, MediaEngineOptions } from "../MediaEngine.ts"
import type {
  ProducerInfo,
  RoomMedia,
  RtpAddress,
  RtpConsumer,
  RtpConsumerOptions,
  RtpProducerOptions,
  SrtpParameters
} from "../RoomMedia.ts"
import { LiveProducer } from "./liveProducer.ts"
import { alive, request, requestScoped, withDeadline, type Door, type Rejection } from "./mediasoupDoor.ts"
import { OnceById } from "./onceById.ts"
import { localSide, openPlainTransport } from "./plainTransport.ts"
import { makeProducers } from "./producers.ts"
import {
  capabilitiesOf,
  checkAddress,
  checkProducerOptions,
  codecParameters,
  formatKey,
  layersOf,
  plainReceiver,
  producerRtpParameters,
  routerCodecs
} from "./rtpCodecs.ts"
import { makeWebRtc } from "./webRtc.ts"

/** For comparing options: what is absent becomes null. */
const addressKey = (address: RtpAddress | undefined) => [address?.ip, address?.port, address?.rtcpPort]
const srtpKey = (srtp: SrtpParameters | undefined) => [srtp?.cryptoSuite, srtp?.keyBase64]

export const openRoomMedia = Effect.fnUntraced(function* (
  roomId: string,
  { webRtcServer, ...worker }: EngineWorker,
  options: MediaEngineOptions
): Effect.fn.Return<RoomMedia, Rejection | EngineTimeout, Scope.Scope> {
  let closed = false
  const door: Door = {
    roomId,
    listenIp: options.listenIp,
    announcedIp: options.announcedIp,
    allowPlainOnNetwork: options.allowPlainOnNetwork,
    portRange: options.portRange,
    requestTimeout: Duration.fromInputUnsafe(options.requestTimeout),
    diedWith: worker.diedWith,
    workerGone: () => worker.worker.died,
    closed: () => closed
  }

  const router = yield* requestScoped(door, "openRoom", () =>
    worker.worker.createRouter({ mediaCodecs: routerCodecs })
  )
  const direct = yield* request(door, "openRoom", () => router.createDirectTransport()).pipe(
    withDeadline(door, "openRoom")
  )

  const outgoing = new Map<string, { readonly answer: RtpConsumer; readonly transport: PlainTransport }>()
  const consumersById = new OnceById<RtpConsumer, Rejection | PlainOnNetworkRefused | UnknownProducer>()
  const producers = yield* makeProducers(
    door,
    router,
    direct,
    Duration.fromInputUnsafe(options.watcherTimeout)
  )
  const webRtc = yield* makeWebRtc(door, router, webRtcServer, producers)
  // Before all others: what is asked from here on is refused.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
    })
  )

  const produce = Effect.fnUntraced(function* (o: RtpProducerOptions) {
    const operation = "addRtpProducer"
    yield* checkProducerOptions(operation, o)
    const transport = yield* openPlainTransport(door, router, operation, {
      rtcpMux: o.rtcpMux ?? true,
      remote: o.remote,
      srtp: o.srtp
    })
    const producer = yield* request(door, operation, async (): Promise<Producer> => {
      const producer = await transport.produce({ kind: o.kind, rtpParameters: producerRtpParameters(o) })
      await producer.enableTraceEvent(["sr"])
      return producer
    }).pipe(Effect.onError(() => Effect.sync(() => transport.close())))

    const { kind, peerId, producerId, source, ssrc } = o
    const info: ProducerInfo = {
      producerId,
      kind,
      ssrc,
      ...codecParameters(producer.rtpParameters),
      layers: layersOf(producer.rtpParameters),
      ...(peerId === undefined ? {} : { peerId }),
      ...(source === undefined ? {} : { source })
    }
    yield* producers.add(new LiveProducer(info, producer, { close: () => transport.close() }))
    return { producerId, ...localSide(transport) }
  })

  const consume = Effect.fnUntraced(function* (o: RtpConsumerOptions) {
    const operation = "addRtpConsumer"
    const rtcpMux = o.rtcpMux ?? true
    yield* checkAddress(operation, o, rtcpMux)
    const from = producers.media(o.producerId)
    if (from === undefined) return yield* producers.unknown(o.producerId)
    const { ip, port, rtcpPort } = o
    const remote = { ip, port, ...(rtcpPort === undefined ? {} : { rtcpPort }) }
    const transport = yield* openPlainTransport(door, router, operation, { rtcpMux, remote, srtp: o.srtp })
    const consumer = yield* request(door, operation, async () => {
      const consumer = await transport.consume({
        producerId: from.producer.id,
        rtpCapabilities: plainReceiver(router.rtpCapabilities),
        enableRtx: false,
        paused: true
      })
      await consumer.resume()
      return consumer
    }).pipe(
      Effect.onError(() => Effect.sync(() => transport.close())),
      Effect.catchTag("MediaRejected", (error) =>
        Effect.fail(from.producer.closed ? producers.unknown(o.producerId) : error)
      )
    )
    const { ip: sourceIp, port: sourcePort, rtcpPort: sourceRtcpPort, srtp } = localSide(transport)
    const answer: RtpConsumer = {
      consumerId: o.consumerId,
      producerId: o.producerId,
      kind: from.info.kind,
      ...codecParameters(consumer.rtpParameters),
      ssrc: consumer.rtpParameters.encodings?.[0]?.ssrc ?? 0,
      sourceIp,
      sourcePort,
      ...(sourceRtcpPort === undefined ? {} : { sourceRtcpPort }),
      ...(srtp === undefined ? {} : { srtp })
    }
    outgoing.set(o.consumerId, { answer, transport })
    consumer.on("producerclose", () => dropConsumer(o.consumerId))
    if (consumer.closed) {
      dropConsumer(o.consumerId)
      return yield* producers.unknown(o.producerId)
    }
    return answer
  })

  const dropConsumer = (consumerId: string): boolean => {
    const consumer = outgoing.get(consumerId)
    consumersById.delete(consumerId)
    outgoing.delete(consumerId)
    consumer?.transport.close()
    return consumer !== undefined
  }

  return {
    roomId,
    workerPid: worker.pid,
    rtpCapabilities: capabilitiesOf(router.rtpCapabilities),
    webRtc,
    ended: worker.died,

    addRtpProducer: (o) =>
      alive(door).pipe(
        Effect.andThen(
          producers.make(
            o.producerId,
            [
              "rtp",
              o.kind,
              o.codec,
              o.payloadType,
              o.ssrc,
              o.rtcpMux ?? true,
              ...addressKey(o.remote),
              ...srtpKey(o.srtp),
              formatKey(o.parameters),
              o.peerId,
              o.source
            ],
            produce(o)
          )
        ),
        withDeadline(door, "addRtpProducer")
      ),

    addRtpConsumer: (o) =>
      alive(door).pipe(
        Effect.andThen(
          consumersById.make(
            o.consumerId,
            JSON.stringify([o.producerId, o.rtcpMux ?? true, ...addressKey(o), ...srtpKey(o.srtp)]),
            () => new MediaConflict({ roomId, entity: "consumer", id: o.consumerId }),
            consume(o)
          )
        ),
        withDeadline(door, "addRtpConsumer")
      ),

    closeProducer: Effect.fnUntraced(function* (producerId) {
      yield* alive(door)
      yield* producers.settled(producerId).pipe(withDeadline(door, "closeProducer"))
      if (producers.find(producerId) === undefined) return yield* producers.unknown(producerId)
      for (const { answer } of outgoing.values()) {
        if (answer.producerId === producerId) dropConsumer(answer.consumerId)
      }
      yield* producers.end(producerId).pipe(withDeadline(door, "closeProducer"))
    }),

    closeConsumer: Effect.fnUntraced(function* (consumerId) {
      yield* alive(door)
      yield* consumersById.settled(consumerId).pipe(withDeadline(door, "closeConsumer"))
      if (!dropConsumer(consumerId)) return yield* new UnknownConsumer({ roomId, consumerId })
    }),

    capture: producers.capture,
    captureData: producers.captureData,
    requestKeyFrame: producers.requestKeyFrame,
    watchProducers: producers.watchProducers,
    producers: producers.producers,
    dataProducers: producers.dataProducers,
    consumers: Effect.sync(() => [...outgoing.values()].map(({ answer }) => answer))
  }
})
