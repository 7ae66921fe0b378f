/** Makes a room's media on a worker: the one owner of its router, its producers, its consumers and its captures. */
import type { PlainTransport, Producer } from "mediasoup/types"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  MediaConflict,
  UnknownConsumer,
  UnknownProducer,
  type EngineTimeout,
  type PlainOnNetworkRefused
} from "../../MediaError.ts"
import type { MediaEngineOptions } from "../MediaEngine.ts"
import type { MediasoupWorker } from "../mediasoupWorker.ts"
import type {
  ProducerInfo,
  ProducerReport,
  RoomMedia,
  RtpAddress,
  RtpConsumer,
  RtpConsumerOptions,
  RtpProducer,
  RtpProducerOptions,
  SrtpParameters
} from "../RoomMedia.ts"
import { openCapture, type Capture } from "./capture.ts"
import { LiveProducer } from "./liveProducer.ts"
import { alive, request, requestScoped, withDeadline, type Door, type Rejection } from "./mediasoupDoor.ts"
import { OnceById } from "./onceById.ts"
import { localSide, openPlainTransport } from "./plainTransport.ts"
import { ProducerWatchers } from "./producerWatchers.ts"
import {
  checkAddress,
  checkProducerOptions,
  codecParameters,
  formatKey,
  layersOf,
  plainReceiver,
  producerRtpParameters,
  routerCodecs
} from "./rtpCodecs.ts"

/** For comparing options: what is absent becomes null. */
const addressKey = (address: RtpAddress | undefined) => [address?.ip, address?.port, address?.rtcpPort]
const srtpKey = (srtp: SrtpParameters | undefined) => [srtp?.cryptoSuite, srtp?.keyBase64]

export const openRoomMedia = Effect.fnUntraced(function* (
  roomId: string,
  worker: MediasoupWorker,
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

  const live = new Map<string, LiveProducer>()
  const outgoing = new Map<string, { readonly answer: RtpConsumer; readonly transport: PlainTransport }>()
  const captures = new Set<Capture>()
  const producersById = new OnceById<RtpProducer, Rejection | PlainOnNetworkRefused>()
  const consumersById = new OnceById<RtpConsumer, Rejection | PlainOnNetworkRefused | UnknownProducer>()
  const watchers = new ProducerWatchers(Duration.fromInputUnsafe(options.watcherTimeout))

  // Runs before the router's: captures end with all their packets while their consumers still stand.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      closed = true
      return Effect.forEach([...captures], (capture) => capture.stop("producer"), {
        concurrency: "unbounded"
      })
    })
  )

  const unknownProducer = (producerId: string) => new UnknownProducer({ roomId, producerId })

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
    yield* Effect.suspend(() => {
      live.set(producerId, new LiveProducer(info, transport, producer))
      return watchers.opened(info)
    })
    return { producerId, ...localSide(transport) }
  })

  const consume = Effect.fnUntraced(function* (o: RtpConsumerOptions) {
    const operation = "addRtpConsumer"
    const rtcpMux = o.rtcpMux ?? true
    yield* checkAddress(operation, o, rtcpMux)
    const from = live.get(o.producerId)
    if (from === undefined) return yield* unknownProducer(o.producerId)
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
        Effect.fail(from.producer.closed ? unknownProducer(o.producerId) : error)
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
      return yield* unknownProducer(o.producerId)
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

  const reportOf = (producer: LiveProducer) =>
    request(door, "producers", () => producer.producer.getStats()).pipe(
      Effect.map((stats): ProducerReport | undefined =>
        producer.report(stats.reduce((packets, stream) => packets + stream.packetCount, 0))
      ),
      // It closed while it was asked.
      Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.undefined),
      withDeadline(door, "producers")
    )

  return {
    roomId,
    workerPid: worker.pid,
    rtpCapabilities: router.rtpCapabilities,
    ended: worker.died,

    addRtpProducer: (o) =>
      alive(door).pipe(
        Effect.andThen(
          producersById.make(
            o.producerId,
            JSON.stringify([
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
            ]),
            () => new MediaConflict({ roomId, entity: "producer", id: o.producerId }),
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
      yield* producersById.settled(producerId).pipe(withDeadline(door, "closeProducer"))
      const producer = live.get(producerId)
      if (producer === undefined) return yield* unknownProducer(producerId)
      live.delete(producerId)
      producersById.delete(producerId)
      for (const { answer } of outgoing.values()) {
        if (answer.producerId === producerId) dropConsumer(answer.consumerId)
      }
      const itsCaptures = [...captures].filter((capture) => capture.live === producer)
      producer.transport.close()
      yield* Effect.forEach(itsCaptures, (capture) => capture.ended, { discard: true }).pipe(
        withDeadline(door, "closeProducer")
      )
      yield* watchers.closed(producer.info)
    }),

    closeConsumer: Effect.fnUntraced(function* (consumerId) {
      yield* alive(door)
      yield* consumersById.settled(consumerId).pipe(withDeadline(door, "closeConsumer"))
      if (!dropConsumer(consumerId)) return yield* new UnknownConsumer({ roomId, consumerId })
    }),

    capture: Effect.fnUntraced(function* (producerId, sink) {
      yield* alive(door)
      const producer = live.get(producerId)
      if (producer === undefined) return yield* unknownProducer(producerId)
      return yield* openCapture(door, router, direct, producer, captures, sink)
    }),

    captureData: (producerId) => Effect.andThen(alive(door), unknownProducer(producerId)),

    requestKeyFrame: Effect.fnUntraced(function* (producerId) {
      yield* alive(door)
      const producer = live.get(producerId)
      if (producer === undefined) return yield* unknownProducer(producerId)
      // Any capture of it asks for the same. Nobody needs one where nothing is captured.
      const capture = [...captures].find((each) => each.live === producer)
      if (capture === undefined || producer.info.kind === "audio") return
      yield* capture.requestKeyFrame.pipe(
        // It ended meanwhile.
        Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.void),
        withDeadline(door, "requestKeyFrame")
      )
    }),

    watchProducers: (watcher) => watchers.watch(watcher, () => [...live.values()].map(({ info }) => info)),

    producers: alive(door).pipe(
      Effect.andThen(
        Effect.suspend(() => Effect.forEach([...live.values()], reportOf, { concurrency: "unbounded" }))
      ),
      Effect.map((reports) => reports.filter((report) => report !== undefined))
    ),
    consumers: Effect.sync(() => [...outgoing.values()].map(({ answer }) => answer))
  }
})
