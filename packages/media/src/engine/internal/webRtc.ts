/** The owner of a room's WebRTC transports. What comes over them is in the producers' hands. */
import type { RtpParameters, WebRtcServer, Router, WebRtcTransport } from "mediasoup/types"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { ForeignPeer, MediaConflict, MediaRejected, UnknownTransport, WebRtcOff } from "../../MediaError.ts"
import type * as Answer from "../../protocol/WebRtc.ts"
import type { DataProducerInfo, ProducerInfo } from "../RoomMedia.ts"
import type { ProduceDataOptions, ProduceOptions, TransportOptions, WebRtc } from "../WebRtc.ts"
import { LiveProducer } from "./liveProducer.ts"
import { alive, plain, request, withDeadline, type Door, type Rejection } from "./mediasoupDoor.ts"
import { OnceById } from "./onceById.ts"
import type { Producers } from "./producers.ts"
import { checkFingerprints, checkRtpParameters, codecParameters, layersOf } from "./rtpCodecs.ts"

/** Of one peer, and on one transport: a page has two and a few. What is more is a page that has gone wrong, or ill-meant. */
const mostTransports = 16
const mostProducers = 64

interface LiveTransport {
  readonly peerId: string
  readonly transport: WebRtcTransport
  /** What it was connected with, once it is. */
  readonly connected: OnceById<void, Rejection>
}

interface Limit {
  readonly most: number
  readonly reason: string
  /** The ids of those that an owner has. */
  readonly there: (owner: string) => ReadonlyArray<string>
  /** What is being made counts, too: many may be asked for at once. */
  readonly begun: Set<{ readonly id: string; readonly owner: string }>
}

const limited =
  ({ begun, most, reason, there }: Limit, operation: string, id: string, owner: string) =>
  <A, E>(making: Effect.Effect<A, E>): Effect.Effect<A, E | MediaRejected> =>
    Effect.suspend((): Effect.Effect<A, E | MediaRejected> => {
      const soon = [...begun].flatMap((each) => (each.owner === owner ? [each.id] : []))
      if (new Set([...there(owner), ...soon]).size >= most) {
        return Effect.fail(new MediaRejected({ operation, reason }))
      }
      const own = { id, owner }
      begun.add(own)
      return Effect.ensuring(
        making,
        Effect.sync(() => begun.delete(own))
      )
    })

const labels = ({ peerId, source }: { readonly peerId: string; readonly source?: string }) => ({
  peerId,
  ...(source === undefined ? {} : { source })
})

export const makeWebRtc = Effect.fnUntraced(function* (
  door: Door,
  router: Router,
  server: WebRtcServer | undefined,
  producers: Producers
): Effect.fn.Return<WebRtc, never, Scope.Scope> {
  const { roomId } = door
  const live = new Map<string, LiveTransport>()
  const byId = new OnceById<Answer.WebRtcTransport, Rejection | WebRtcOff>()
  const ofPeer: Limit = {
    most: mostTransports,
    reason: `the peer has ${mostTransports} transports: close one`,
    there: (peerId) => [...live].flatMap(([id, each]) => (each.peerId === peerId ? [id] : [])),
    begun: new Set()
  }
  const ofTransport: Limit = {
    most: mostProducers,
    reason: `the transport has ${mostProducers} producers: close one`,
    there: producers.of,
    begun: new Set()
  }
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const conflict = (id: string) => new MediaConflict({ roomId, entity: "transport", id })

  /** The transport, if it is that peer's. */
  const owned = Effect.fnUntraced(function* (transportId: string, peerId: string) {
    yield* alive(door)
    yield* byId.settled(transportId).pipe(withDeadline(door, "settled"))
    const found = live.get(transportId)
    if (found === undefined) return yield* new UnknownTransport({ roomId, transportId })
    if (found.peerId !== peerId)
      return yield* new ForeignPeer({ entity: "transport", id: transportId, peerId })
    return found
  })

  /** The producer, if it is that peer's. */
  const ownProducer = Effect.fnUntraced(function* (producerId: string, peerId: string) {
    yield* alive(door)
    yield* producers.settled(producerId).pipe(withDeadline(door, "settled"))
    const found = producers.find(producerId)
    if (found === undefined) return yield* producers.unknown(producerId)
    if (found.info.peerId !== peerId) {
      return yield* new ForeignPeer({ entity: "producer", id: producerId, peerId })
    }
    return found
  })

  const end = Effect.fnUntraced(function* (transportId: string) {
    const found = live.get(transportId)
    if (found === undefined) return
    live.delete(transportId)
    byId.delete(transportId)
    yield* Effect.forEach(producers.of(transportId), producers.end, {
      concurrency: "unbounded",
      discard: true
    })
    found.transport.close()
  })

  /** At the limit the oldest gives way that has lost its page: one that died says nothing. */
  const giveWay = (peerId: string) =>
    Effect.suspend(() => {
      const its = ofPeer.there(peerId)
      const lost = its.find((id) => live.get(id)?.transport.iceState === "disconnected")
      return lost === undefined || its.length < mostTransports ? Effect.void : end(lost)
    })

  const open = ({ data = true, peerId, transportId }: TransportOptions) =>
    Effect.gen(function* () {
      if (server === undefined) return yield* new WebRtcOff({ roomId })
      const transport = yield* request(door, "openTransport", () =>
        router.createWebRtcTransport({ webRtcServer: server, preferUdp: true, enableSctp: data })
      )
      live.set(transportId, { peerId, transport, connected: new OnceById() })
      // The browser said goodbye, or the handshake failed: this transport comes to nothing more.
      transport.on("dtlsstatechange", (state) => {
        if (state === "closed" || state === "failed") run(end(transportId))
      })
      return answerOf(transportId, transport)
    }).pipe(limited(ofPeer, "openTransport", transportId, peerId), (making) =>
      Effect.andThen(giveWay(peerId), making)
    )

  /** A producer whose transport went while it was made is none, even if another transport has its id by now. */
  const madeOn = Effect.fnUntraced(function* (
    transportId: string,
    on: LiveTransport,
    producer: Parameters<Producers["add"]>[0]
  ) {
    yield* producers.add(producer)
    if (live.get(transportId) === on) return
    yield* producers.end(producer.info.producerId)
    return yield* new UnknownTransport({ roomId, transportId })
  })

  const produce = (o: ProduceOptions, on: LiveTransport) =>
    Effect.gen(function* () {
      const { kind, producerId, transportId } = o
      const producer = yield* request(door, "produce", async () => {
        const producer = await on.transport.produce({
          kind,
          // mediasoup checks what it is given, and works on a copy.
          rtpParameters: o.rtpParameters as RtpParameters,
          paused: o.muted ?? false
        })
        // One that cannot be traced closes with its transport only: it is not left behind.
        await producer.enableTraceEvent(["sr"]).catch((error: unknown) => {
          producer.close()
          throw error
        })
        return producer
      })
      const layers = layersOf(producer.rtpParameters)
      const info: ProducerInfo = {
        producerId,
        kind,
        ssrc: layers[0]?.ssrc ?? 0,
        ...codecParameters(producer.rtpParameters),
        layers,
        ...labels(o)
      }
      const close = () => producer.close()
      yield* madeOn(transportId, on, new LiveProducer(info, producer, { transportId, close }))
      return { producerId }
    }).pipe(limited(ofTransport, "produce", o.producerId, o.transportId))

  const produceData = (o: ProduceDataOptions, on: LiveTransport) =>
    Effect.gen(function* () {
      const { label = "", producerId, protocol = "", sctpStreamParameters, transportId } = o
      const producer = yield* request(door, "produceData", () =>
        on.transport.produceData({ sctpStreamParameters: { ...sctpStreamParameters }, label, protocol })
      )
      const info: DataProducerInfo = { producerId, kind: "data", label, protocol, ...labels(o) }
      yield* madeOn(transportId, on, { info, producer, transportId, close: () => producer.close() })
      return { producerId }
    }).pipe(limited(ofTransport, "produceData", o.producerId, o.transportId))

  return {
    open: (o) =>
      Effect.gen(function* () {
        yield* alive(door)
        yield* byId.settled(o.transportId)
        const there = live.get(o.transportId)
        if (there !== undefined && there.peerId !== o.peerId) {
          return yield* new ForeignPeer({ entity: "transport", id: o.transportId, peerId: o.peerId })
        }
        const options = JSON.stringify([o.peerId, o.data ?? true])
        return yield* byId.make(o.transportId, options, () => conflict(o.transportId), open(o))
      }).pipe(withDeadline(door, "openTransport")),

    connect: Effect.fnUntraced(function* ({ dtlsParameters, peerId, transportId }) {
      const { connected, transport } = yield* owned(transportId, peerId)
      const { role } = dtlsParameters
      const fingerprints = yield* checkFingerprints("connectTransport", dtlsParameters.fingerprints)
      yield* connected
        .make(
          transportId,
          JSON.stringify([role, fingerprints]),
          () => conflict(transportId),
          request(door, "connectTransport", () =>
            transport.connect({
              dtlsParameters: { ...(role === undefined ? {} : { role }), fingerprints }
            })
          )
        )
        .pipe(withDeadline(door, "connectTransport"))
    }),

    produce: Effect.fnUntraced(function* (o) {
      const { kind, muted, producerId, rtpParameters, source, transportId } = o
      const transport = yield* owned(transportId, o.peerId)
      yield* checkRtpParameters("produce", kind, rtpParameters)
      const options = ["webrtc", transportId, kind, rtpParameters, source, muted ?? false]
      return yield* producers
        .make(producerId, options, produce(o, transport))
        .pipe(withDeadline(door, "produce"))
    }),

    produceData: Effect.fnUntraced(function* (o) {
      const { label, producerId, protocol, sctpStreamParameters: stream, source, transportId } = o
      const transport = yield* owned(transportId, o.peerId)
      const { maxPacketLifeTime, maxRetransmits, ordered, streamId } = stream
      const options = [streamId, ordered, maxPacketLifeTime, maxRetransmits, label, protocol, source]
      return yield* producers
        .make(producerId, ["data", transportId, ...options], produceData(o, transport))
        .pipe(withDeadline(door, "produceData"))
    }),

    restartIce: Effect.fnUntraced(function* ({ peerId, transportId }) {
      const { transport } = yield* owned(transportId, peerId)
      return yield* request(door, "restartIce", async () => plain(await transport.restartIce())).pipe(
        withDeadline(door, "restartIce")
      )
    }),

    close: Effect.fnUntraced(function* ({ peerId, transportId }) {
      yield* owned(transportId, peerId)
      // In a fiber of the room's: who gives up waiting does not leave half of it.
      yield* Fiber.join(run(end(transportId))).pipe(withDeadline(door, "closeTransport"))
    }),

    closeProducer: Effect.fnUntraced(function* ({ peerId, producerId }) {
      yield* ownProducer(producerId, peerId)
      yield* producers.end(producerId).pipe(withDeadline(door, "closeProducer"))
    }),

    mute: Effect.fnUntraced(function* ({ muted, peerId, producerId }) {
      const { producer } = yield* ownProducer(producerId, peerId)
      yield* request(door, "mute", () => (muted ? producer.pause() : producer.resume())).pipe(
        withDeadline(door, "mute")
      )
    }),

    transports: Effect.sync(() =>
      [...live].map(([transportId, { peerId, transport }]) => ({
        transportId,
        peerId,
        ice: transport.iceState,
        dtls: transport.dtlsState
      }))
    )
  }
})

const answerOf = (transportId: string, transport: WebRtcTransport): Answer.WebRtcTransport => {
  const { dtlsParameters, iceCandidates, iceParameters, sctpParameters } = transport
  return plain({
    transportId,
    iceParameters,
    iceCandidates,
    dtlsParameters,
    ...(sctpParameters === undefined ? {} : { sctpParameters })
  })
}
