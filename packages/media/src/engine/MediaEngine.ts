/**
 * The mediasoup workers of a process, and rooms put on the least loaded of them. No signal to the process or to its group
 * ends a room (see mediasoupWorker). A worker that dies ends its rooms with `WorkerDied` and is replaced, with backoff.
 * It leaves admission to its callers: it opens a room whenever a worker is there.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerUnavailable } from "../MediaError.ts"
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

export interface WorkerReport {
  /** Absent while the worker is being replaced. */
  readonly pid?: number
  readonly rooms: number
}

export class MediaEngine extends Context.Service<
  MediaEngine,
  {
    /** Closing the scope closes the room's router and everything in it, after its captures got their last packets. */
    readonly openRoom: (roomId: string) => Effect.Effect<RoomMedia, WorkerUnavailable, Scope.Scope>
    readonly workers: Effect.Effect<ReadonlyArray<WorkerReport>>
  }
>()("@ebb/media/MediaEngine") {}
