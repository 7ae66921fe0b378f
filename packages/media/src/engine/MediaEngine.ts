/**
 * The mediasoup workers of a process, and rooms put on the least loaded of them. No signal to the process or to its group
 * ends a room (see mediasoupWorker). A worker that dies ends its rooms with `WorkerDied` and is replaced, with backoff.
 * It leaves admission to its callers: it opens a room whenever a worker is there.
 */
import { availableParallelism } from "node:os"
import type { WebRtcServer } from "mediasoup/types"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { observableCounter, observableGauge } from "@ebb/actors"
import { WorkerUnavailable } from "../MediaError.ts"
import { mediaInstruments } from "../MediaMetrics.ts"
import { openRoomMedia } from "./internal/openRoomMedia.ts"
import { openWebRtcServer } from "./internal/webRtcServer.ts"
import { tapWorkerLog } from "./internal/workerLog.ts"
import { startMediasoupWorker, type MediasoupWorker } from "./mediasoupWorker.ts"
import type { RoomMedia } from "./RoomMedia.ts"

export interface MediaEngineOptions {
  /** Worker processes. Default: one per core. */
  readonly workers: number
  /** The address that RTP ports are opened on. Default 127.0.0.1. */
  readonly listenIp: string
  /** The address that is given out instead of `listenIp`, where a NAT lies between. Default: `listenIp`. */
  readonly announcedIp?: string
  /** UDP ports, both ends included; the first free one is taken, whoever holds the others. Default 40000 to 49999. */
  readonly portRange: { readonly min: number; readonly max: number }
  /** Where browsers come in, each worker by ports of its own. Default: nowhere; a room's `webRtc.open` is refused. */
  readonly webRtc?: WebRtcListen
  /** RTP without SRTP on an address that is not loopback. Default false: refused, typed. */
  readonly allowPlainOnNetwork: boolean
  /** The worker program. Default: the environment's EBB_WORKER_BIN, or else mediasoup's own. */
  readonly workerBin?: string
  /** How long a worker may take to start. Default 10 s. When it fires the start fails; rooms elsewhere go on. */
  readonly startTimeout: Duration.Input
  /** How long to wait for a worker's answer. Default 5 s. When it fires nothing is undone: `EngineTimeout`. */
  readonly requestTimeout: Duration.Input
  /** How long a watcher may hold up a new producer's address. Default 2 s. When it fires the watcher is not interrupted. */
  readonly watcherTimeout: Duration.Input
  /** Pause before a dead worker is replaced: doubled with each death that follows within a minute. Default 100 ms to 5 s. */
  readonly restart: { readonly min: Duration.Input; readonly max: Duration.Input }
  /** mediasoup's warnings and errors to the Effect logger. mediasoup has one log hook per process: a host that uses it itself says false. */
  readonly log: boolean
}

export interface WebRtcListen {
  /** Addresses of this host, or 0.0.0.0 with the address that is given out for it, as behind a NAT. */
  readonly listen: ReadonlyArray<{ readonly ip: string; readonly announced?: string }>
  /** Both ends included. Default: that of RTP. One port for each address, protocol and worker. */
  readonly portRange?: { readonly min: number; readonly max: number }
  /** Also by TCP, for clients whose network lets no UDP out. Default true. */
  readonly tcp?: boolean
}

export interface WorkerReport {
  /** Absent while the worker is being replaced. */
  readonly pid?: number
  readonly rooms: number
}

const defaults: MediaEngineOptions = {
  workers: availableParallelism(),
  listenIp: "127.0.0.1",
  portRange: { min: 40_000, max: 49_999 },
  allowPlainOnNetwork: false,
  startTimeout: Duration.seconds(10),
  requestTimeout: Duration.seconds(5),
  watcherTimeout: Duration.seconds(2),
  restart: { min: Duration.millis(100), max: Duration.seconds(5) },
  log: true
}

/** A worker that lived longer than this did not die of its start: the pause begins anew. */
const healthyAfter = Duration.minutes(1)

/** A worker with its way in for browsers, if there is one: `WebRtcServer` and worker live and die together. */
export interface EngineWorker extends MediasoupWorker {
  readonly webRtcServer: WebRtcServer | undefined
}

/** A place for a worker: the one in it now, and the rooms put here. */
interface Slot {
  worker: EngineWorker | undefined
  rooms: number
}

export class MediaEngine extends Context.Service<
  MediaEngine,
  {
    /** Closing the scope closes the room's router and everything in it, after its captures got their last packets. */
    readonly openRoom: (roomId: string) => Effect.Effect<RoomMedia, WorkerUnavailable, Scope.Scope>
    readonly workers: Effect.Effect<ReadonlyArray<WorkerReport>>
  }
>()("@ebb/media/MediaEngine") {
  /** All workers are up when it is built. Closing its scope ends them, and waits until their processes are gone. */
  static readonly make = Effect.fnUntraced(function* (options?: Partial<MediaEngineOptions>) {
    const settings: MediaEngineOptions = { ...defaults, ...options }
    const slots = Array.from({ length: settings.workers }, (): Slot => ({ worker: undefined, rooms: 0 }))
    let deaths = 0
    const scope = yield* Effect.scope
    const logScope = yield* Scope.fork(scope)
    if (settings.log) {
      const owns = (pid: number) => slots.some((slot) => slot.worker?.pid === pid)
      yield* tapWorkerLog(owns).pipe(Scope.provide(logScope))
    }

    yield* Effect.forEach(
      slots,
      Effect.fnUntraced(function* (slot) {
        const workerScope = yield* Scope.fork(scope)
        slot.worker = yield* startWorker(settings).pipe(Scope.provide(workerScope))
        yield* Effect.forkScoped(keepAlive(slot, slot.worker, workerScope, settings, () => deaths++))
      }),
      { concurrency: "unbounded", discard: true }
    )

    yield* observableCounter(mediaInstruments.workerDeaths, {}, () => deaths)
    for (const state of ["up", "down"] as const) {
      const read = () => slots.filter((slot) => isLive(slot) === (state === "up")).length
      yield* observableGauge(mediaInstruments.workers, { state }, read)
    }

    // Before the workers go: a worker that is told to close complains of its channel.
    yield* Effect.addFinalizer(() => Scope.close(logScope, Exit.void))

    const openRoom = Effect.fnUntraced(function* (roomId: string) {
      const slot = leastLoaded(slots)
      if (slot === undefined) {
        return yield* new WorkerUnavailable({ reason: "every worker is down and being replaced" })
      }
      // Counted in the turn of the choice, so that rooms opened together spread.
      yield* Effect.acquireRelease(
        Effect.sync(() => (slot.rooms += 1)),
        () => Effect.sync(() => (slot.rooms -= 1))
      )
      return yield* openRoomMedia(roomId, slot.worker, settings).pipe(
        Effect.mapError((error) => new WorkerUnavailable({ reason: error.message }))
      )
    })

    return MediaEngine.of({
      openRoom,
      workers: Effect.sync(() =>
        slots.map(({ rooms, worker }) => (worker === undefined ? { rooms } : { pid: worker.pid, rooms }))
      )
    })
  })

  static layer(options?: Partial<MediaEngineOptions>) {
    return Layer.effect(MediaEngine, MediaEngine.make(options))
  }
}

interface LiveSlot extends Slot {
  worker: EngineWorker
}

const startWorker = Effect.fnUntraced(function* (settings: MediaEngineOptions) {
  const worker = yield* startMediasoupWorker(settings)
  const webRtcServer = yield* openWebRtcServer(worker.worker, settings)
  return { ...worker, webRtcServer } satisfies EngineWorker
})

const isLive = (slot: Slot): slot is LiveSlot =>
  slot.worker !== undefined && slot.worker.diedWith() === undefined

const leastLoaded = (slots: ReadonlyArray<Slot>): LiveSlot | undefined =>
  slots
    .filter(isLive)
    .reduce<LiveSlot | undefined>(
      (least, slot) => (least === undefined || slot.rooms < least.rooms ? slot : least),
      undefined
    )

/** Puts a new worker in the place of each that dies. Never ends by itself. */
const keepAlive = Effect.fnUntraced(function* (
  slot: Slot,
  first: EngineWorker,
  firstScope: Scope.Closeable,
  settings: MediaEngineOptions,
  onDeath: () => void
) {
  const parent = yield* Effect.scope
  const shortest = Duration.fromInputUnsafe(settings.restart.min)
  const longest = Duration.fromInputUnsafe(settings.restart.max)
  let worker: EngineWorker | undefined = first
  let scope = firstScope
  let pause = shortest
  while (true) {
    const startedAt: bigint = yield* Clock.monotonicTimeNanos
    if (worker !== undefined) {
      const death = yield* worker.died
      slot.worker = undefined
      onDeath()
      yield* Effect.logError(`${death.message}; it is being replaced`)
      const lived = Duration.nanos((yield* Clock.monotonicTimeNanos) - startedAt)
      if (Duration.isGreaterThan(lived, healthyAfter)) pause = shortest
    }
    yield* Scope.close(scope, Exit.void)
    yield* Effect.sleep(pause)
    pause = Duration.min(Duration.times(pause, 2), longest)

    scope = yield* Scope.fork(parent)
    worker = yield* startWorker(settings).pipe(
      Scope.provide(scope),
      Effect.catch((error) =>
        Effect.logError("a mediasoup worker cannot be replaced", error).pipe(Effect.as(undefined))
      )
    )
    slot.worker = worker
  }
})
