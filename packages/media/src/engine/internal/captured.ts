/**
 * A capture under way, of packets or of messages: it begins paused, ends once, whoever ends it first, and its sink hears of
 * the end after the last that the worker has taken.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { CaptureEnd } from "../RoomMedia.ts"
import { request, withDeadline, type Door, type Rejection } from "./mediasoupDoor.ts"

export interface Capture {
  readonly producerId: string
  readonly requestKeyFrame: Effect.Effect<void, Rejection>
  /** Takes the packets that the worker has sent off, then ends. */
  readonly stop: (end: CaptureEnd) => Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** A consumer of mediasoup's, of either sort. */
interface Flow {
  readonly closed: boolean
  readonly pause: () => Promise<void>
  readonly resume: () => Promise<void>
}

export interface Capturing {
  readonly producerId: string
  readonly flow: Flow
  readonly requestKeyFrame: () => Promise<void>
  /** Listens for what comes and for the end of the flow. What comes when `isOver` is nobody's. */
  readonly listen: (isOver: () => boolean, gone: () => void) => void
  /** Run in the turn in which the capture is over. */
  readonly over: (end: CaptureEnd) => void
}

/** mediasoup emits a packet in a turn of its own after it was read (setImmediate), a response at once: one turn later, all packets before the response are out. */
const packetsBeforeResponse = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Lets it flow, until the scope closes. */
export const holdCapture = Effect.fnUntraced(function* (
  door: Door,
  captures: Set<Capture>,
  { flow, listen, over, producerId, requestKeyFrame }: Capturing
) {
  const operation = "capture"
  const ended = Deferred.makeUnsafe<void>()
  let stopping = false
  const end = (why: CaptureEnd): void => {
    if (!captures.delete(capture)) return
    over(why)
    // Last: those who wait go on within this call.
    Deferred.doneUnsafe(ended, Effect.void)
  }
  const gone = () => end(door.workerGone() ? "worker" : "producer")
  const capture: Capture = {
    producerId,
    requestKeyFrame: Effect.suspend(() =>
      flow.closed ? Effect.void : request(door, operation, requestKeyFrame)
    ),
    ended: Deferred.await(ended),
    stop: (why) =>
      Effect.suspend(() => {
        if (stopping || flow.closed) return Deferred.await(ended)
        stopping = true
        return request(door, operation, () => flow.pause()).pipe(
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
      listen(() => !captures.has(capture), gone)
      // It may have ended while the sink was made, when nobody listened.
      if (flow.closed) gone()
    }),
    () => capture.stop("capture")
  )
  if (flow.closed) return
  yield* request(door, operation, () => flow.resume()).pipe(
    // The producer went meanwhile: the sink is about to hear of it.
    Effect.catchTag(["MediaRejected", "PortsExhausted"], () => Effect.void),
    withDeadline(door, operation)
  )
})
