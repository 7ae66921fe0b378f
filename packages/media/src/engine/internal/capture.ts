/**
 * One capture: a pipe consumer on the room's direct transport, which hands each packet of each layer to the node with its
 * RTP timestamp as it was sent. It ends once, whoever ends it first, and its sink's `closed` comes after its last packet.
 */
import type { DirectTransport, Router } from "mediasoup/types"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { UnknownProducer } from "../../MediaError.ts"
import type { CaptureEnd, CaptureInfo, CaptureSink } from "../RoomMedia.ts"
import type { LiveProducer } from "./liveProducer.ts"
import { request, requestScoped, withDeadline, type Door, type Rejection } from "./mediasoupDoor.ts"
import { codecParameters } from "./rtpCodecs.ts"

export interface Capture {
  readonly live: LiveProducer
  readonly requestKeyFrame: Effect.Effect<void, Rejection>
  /** Takes the packets that the worker has sent off, then ends. */
  readonly stop: (end: CaptureEnd) => Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** mediasoup emits a packet in a turn of its own after it was read (setImmediate), a response at once: one turn later, all packets before the response are out. */
const packetsBeforeResponse = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

export const openCapture = Effect.fnUntraced(function* <E, R>(
  door: Door,
  router: Router,
  direct: DirectTransport,
  live: LiveProducer,
  captures: Set<Capture>,
  source: CaptureSink | ((info: CaptureInfo) => Effect.Effect<CaptureSink, E, R>)
) {
  const operation = "capture"
  const consumer = yield* requestScoped(door, operation, () =>
    direct.consume({
      producerId: live.producer.id,
      rtpCapabilities: router.rtpCapabilities,
      pipe: true,
      enableRtx: false,
      paused: true
    })
  ).pipe(
    // The producer went while we asked.
    Effect.catchTag(["MediaRejected", "PortsExhausted"], () =>
      Effect.fail(new UnknownProducer({ roomId: door.roomId, producerId: live.info.producerId }))
    )
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

  const ended = Deferred.makeUnsafe<void>()
  let stopping = false
  const reports = {
    ssrcs,
    take: (report: Parameters<CaptureSink["senderReport"]>[0]) => sink.senderReport(report)
  }
  const end = (why: CaptureEnd): void => {
    if (!captures.delete(capture)) return
    live.removeTaker(reports)
    sink.closed(why)
    // Last: those who wait go on within this call.
    Deferred.doneUnsafe(ended, Effect.void)
  }
  const capture: Capture = {
    live,
    ended: Deferred.await(ended),
    requestKeyFrame: Effect.suspend(() =>
      consumer.closed ? Effect.void : request(door, operation, () => consumer.requestKeyFrame())
    ),
    stop: (why) =>
      Effect.suspend(() => {
        if (stopping || consumer.closed) return Deferred.await(ended)
        stopping = true
        return request(door, operation, () => consumer.pause()).pipe(
          withDeadline(door, operation),
          Effect.ignore,
          Effect.andThen(packetsBeforeResponse),
          Effect.andThen(Effect.sync(() => end(why)))
        )
      })
  }

  yield* Effect.acquireRelease(
    Effect.sync(() => {
      captures.add(capture)
      consumer.on("rtp", (packet) => {
        if (captures.has(capture)) sink.rtp(packet)
      })
      consumer.on("producerclose", () => end("producer"))
      consumer.on("transportclose", () => end(door.workerGone() ? "worker" : "producer"))
      // It may have ended while the sink was made, when nobody listened.
      if (consumer.closed) end(door.workerGone() ? "worker" : "producer")
      else live.addTaker(reports)
    }),
    () => capture.stop("capture")
  )
  if (!consumer.closed) {
    yield* request(door, operation, () => consumer.resume()).pipe(
      // The producer went meanwhile: the sink is about to hear of it.
      Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.void),
      withDeadline(door, operation)
    )
  }
  return info
})
