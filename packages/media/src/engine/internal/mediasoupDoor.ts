/**
 * The door to mediasoup's promises: each request of a room gets a deadline, and each rejection a type. mediasoup tells its
 * rejections apart by message only; those known are named here, any other is `MediaRejected` with mediasoup's own words.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { errors } from "mediasoup"
import {
  EngineTimeout,
  MediaRejected,
  PortsExhausted,
  RoomMediaClosed,
  type WorkerDied
} from "../../MediaError.ts"

export interface Door {
  readonly roomId: string
  readonly listenIp: string
  readonly announcedIp: string | undefined
  readonly allowPlainOnNetwork: boolean
  readonly portRange: { readonly min: number; readonly max: number }
  readonly requestTimeout: Duration.Duration
  readonly diedWith: () => WorkerDied | undefined
  /** True a little before `diedWith` knows why: mediasoup closes what a dead worker carried before it tells of the death. */
  readonly workerGone: () => boolean
  readonly closed: () => boolean
}

export type Rejection = WorkerDied | RoomMediaClosed | MediaRejected | PortsExhausted

const rejection = (door: Door, operation: string, cause: unknown): Rejection => {
  const died = door.diedWith()
  if (died !== undefined) return died
  if (door.closed() || cause instanceof errors.WorkerClosedError)
    return new RoomMediaClosed({ roomId: door.roomId })
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (reason.includes("no more available ports")) {
    return new PortsExhausted({ ip: door.listenIp, ...door.portRange })
  }
  return new MediaRejected({ operation, reason })
}

/** A request that may take as long as it takes: for what goes on when its caller has given up. */
export const request = <A>(
  door: Door,
  operation: string,
  send: () => Promise<A>
): Effect.Effect<A, Rejection> =>
  Effect.tryPromise({ try: send, catch: (cause) => rejection(door, operation, cause) })

/**
 * Asks for something that closes with the scope. The scope has it from the moment it is asked for: a caller that gives up, or is
 * interrupted, leaves nothing open when the answer comes late.
 */
export const requestScoped = <A extends { close(): void }>(
  door: Door,
  operation: string,
  send: () => Promise<A>
) =>
  Effect.acquireRelease(
    Effect.sync(() => ({ promise: send() })),
    ({ promise }) =>
      Effect.sync(
        () =>
          void promise.then(
            (it) => it.close(),
            () => undefined
          )
      )
  ).pipe(
    Effect.flatMap(({ promise }) => request(door, operation, () => promise)),
    withDeadline(door, operation)
  )

/** Fails when the room's media is gone. */
export const alive = (door: Door): Effect.Effect<void, WorkerDied | RoomMediaClosed> =>
  Effect.suspend((): Effect.Effect<void, WorkerDied | RoomMediaClosed> => {
    const died = door.diedWith()
    if (died !== undefined) return Effect.fail(died)
    return door.closed() ? Effect.fail(new RoomMediaClosed({ roomId: door.roomId })) : Effect.void
  })

/** Gives up waiting. Nothing is undone: what was asked for may still happen. */
export const withDeadline =
  (door: Door, operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | EngineTimeout, R> =>
    Effect.timeoutOrElse(self, {
      duration: door.requestTimeout,
      orElse: () =>
        Effect.fail(
          new EngineTimeout({
            roomId: door.roomId,
            operation,
            afterMs: Duration.toMillis(door.requestTimeout)
          })
        )
    })

/** As it is sent: mediasoup says undefined where it means that there is none. */
export const plain = <A>(data: A): A => JSON.parse(JSON.stringify(data)) as A
