/**
 * What is sent into a room, whichever way it came: the one owner of its producers, of the captures of them, and of who is told.
 * An id is of one producer, be it RTP, WebRTC or data.
 */
import type { DirectTransport, Router } from "mediasoup/types"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { MediaConflict, UnknownProducer } from "../../MediaError.ts"
import type { DataProducerReport, ProducerReport, RoomMedia } from "../RoomMedia.ts"
import { openCapture, openDataCapture } from "./capture.ts"
import type { Capture } from "./captured.ts"
import { LiveProducer, type LiveData } from "./liveProducer.ts"
import { alive, request, withDeadline, type Door } from "./mediasoupDoor.ts"
import { OnceById } from "./onceById.ts"
import { ProducerWatchers } from "./producerWatchers.ts"

type Live = LiveProducer | LiveData

export interface Producers extends Pick<
  RoomMedia,
  "capture" | "captureData" | "requestKeyFrame" | "watchProducers" | "producers" | "dataProducers"
> {
  /** Makes a producer of that id once. `options` stand for all that makes two askings the same, the way in among it. */
  readonly make: <A, E>(
    producerId: string,
    options: ReadonlyArray<unknown>,
    making: Effect.Effect<A, E>
  ) => Effect.Effect<A, E | MediaConflict>
  /** Returns when whoever watches has taken notice. */
  readonly add: (live: Live) => Effect.Effect<void>
  readonly find: (producerId: string) => Live | undefined
  /** The same for those that are not data. */
  readonly media: (producerId: string) => LiveProducer | undefined
  readonly of: (transportId: string) => ReadonlyArray<string>
  /** Waits while it is being made. */
  readonly settled: (producerId: string) => Effect.Effect<void>
  /** Gives its captures their last packets. Nothing for one that is not there. */
  readonly end: (producerId: string) => Effect.Effect<void>
  readonly unknown: (producerId: string) => UnknownProducer
}

export const makeProducers = Effect.fnUntraced(function* (
  door: Door,
  router: Router,
  direct: DirectTransport,
  watcherTimeout: Duration.Duration
): Effect.fn.Return<Producers, never, Scope.Scope> {
  const { roomId } = door
  const live = new Map<string, Live>()
  const captures = new Set<Capture>()
  const site = { door, router, direct, captures }
  const byId = new OnceById<unknown, unknown>()
  const watchers = new ProducerWatchers(watcherTimeout)
  const unknown = (producerId: string) => new UnknownProducer({ roomId, producerId })

  // Runs before the router's: captures end with all their packets while their consumers still stand.
  yield* Effect.addFinalizer(() =>
    Effect.forEach([...captures], (capture) => capture.stop("producer"), { concurrency: "unbounded" })
  )

  const media = (producerId: string) => {
    const found = live.get(producerId)
    return found instanceof LiveProducer ? found : undefined
  }

  /** `undefined` for one that closed while it was asked. */
  const statsOf = <S>(send: () => Promise<S>) =>
    request(door, "producers", send).pipe(
      Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.undefined),
      withDeadline(door, "producers")
    )
  const reportOf = (producer: LiveProducer) =>
    Effect.map(
      statsOf(() => producer.producer.getStats()),
      (stats): ProducerReport | undefined =>
        stats && producer.report(stats.reduce((packets, stream) => packets + stream.packetCount, 0))
    )
  const dataReportOf = ({ info, producer }: LiveData) =>
    Effect.map(
      statsOf(() => producer.getStats()),
      (stats): DataProducerReport | undefined =>
        stats && {
          ...info,
          messagesReceived: stats.reduce((sum, each) => sum + each.messagesReceived, 0),
          bytesReceived: stats.reduce((sum, each) => sum + each.bytesReceived, 0)
        }
    )
  const reports = <L extends Live, A, E>(
    isOne: (live: Live) => live is L,
    report: (live: L) => Effect.Effect<A | undefined, E>
  ) =>
    alive(door).pipe(
      Effect.andThen(
        Effect.suspend(() =>
          Effect.forEach([...live.values()].filter(isOne), report, { concurrency: "unbounded" })
        )
      ),
      Effect.map((all) => all.filter((each) => each !== undefined))
    )

  return {
    unknown,
    media,
    find: (producerId) => live.get(producerId),
    of: (transportId) =>
      [...live.values()].flatMap((each) => (each.transportId === transportId ? [each.info.producerId] : [])),

    make: <A, E>(
      producerId: string,
      options: ReadonlyArray<unknown>,
      making: Effect.Effect<A, E>
    ): Effect.Effect<A, E | MediaConflict> =>
      // The same options were answered by the same making: it is an A that is there, or an E that failed.
      byId.make(
        producerId,
        JSON.stringify(options),
        () => new MediaConflict({ roomId, entity: "producer", id: producerId }),
        making
      ) as Effect.Effect<A, E | MediaConflict>,

    add: (producer) =>
      Effect.suspend(() => {
        live.set(producer.info.producerId, producer)
        return watchers.opened(producer.info)
      }),

    settled: (producerId) => byId.settled(producerId),

    end: Effect.fnUntraced(function* (producerId) {
      const producer = live.get(producerId)
      if (producer === undefined) return
      live.delete(producerId)
      byId.delete(producerId)
      const its = [...captures].filter((capture) => capture.producerId === producerId)
      producer.close()
      yield* Effect.forEach(its, (capture) => capture.ended, { discard: true })
      yield* watchers.closed(producer.info)
    }),

    capture: Effect.fnUntraced(function* (producerId, sink) {
      yield* alive(door)
      const producer = media(producerId)
      if (producer === undefined) return yield* unknown(producerId)
      return yield* openCapture(site, producer, sink)
    }),

    captureData: Effect.fnUntraced(function* (producerId, sink) {
      yield* alive(door)
      const producer = live.get(producerId)
      if (producer === undefined || producer instanceof LiveProducer) return yield* unknown(producerId)
      return yield* openDataCapture(site, producer, sink)
    }),

    requestKeyFrame: Effect.fnUntraced(function* (producerId) {
      yield* alive(door)
      const producer = live.get(producerId)
      if (producer === undefined) return yield* unknown(producerId)
      // Any capture of it asks for the same. Nobody needs one where nothing is captured.
      const capture = [...captures].find((each) => each.producerId === producerId)
      if (capture === undefined || producer.info.kind !== "video") return
      yield* capture.requestKeyFrame.pipe(
        // It ended meanwhile.
        Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.void),
        withDeadline(door, "requestKeyFrame")
      )
    }),

    watchProducers: (watcher) => watchers.watch(watcher, () => [...live.values()].map(({ info }) => info)),

    producers: reports((each) => each instanceof LiveProducer, reportOf),
    dataProducers: reports((each): each is LiveData => !(each instanceof LiveProducer), dataReportOf)
  }
})
