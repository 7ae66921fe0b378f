/**
 * Whose turn it is to be computed in this process. Owns the line of those that wait and the few that run: one per two cores, because calls
 * go first; a node's own recordings and those it adopts stand in one line, the oldest recording first.
 *
 * A turn ends with its computation, whatever ended it; whoever is interrupted leaves the line. What a computation does is the caller's.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { availableParallelism } from "node:os"
import type { ComputeProgress } from "./Compute.ts"

export interface ComputeJob {
  readonly recordingId: string
  /** When the recording began, in ms since 1970: the least goes first. */
  readonly startedAt: number
}

/** How far the way to a receipt is. */
export interface QueueProgress {
  /** `queued`, then the steps of a computation. */
  readonly step: string
  /** Of the whole computation, 0 to 1. It begins again when the computation does. */
  readonly fraction: number
  /** While queued: 1 is next. */
  readonly position?: number
}

export type ComputeOutcomeName = "computed" | "failed" | "interrupted"

export interface ComputeQueueStats {
  readonly waiting: number
  readonly running: number
  /** Milliseconds for which the one that has waited the longest waits; 0 when none does. */
  readonly oldestWaitMs: number
  /** Computations that ended, and how long they ran together. One that is tried again counts each time. */
  readonly ended: Readonly<Record<ComputeOutcomeName, { readonly count: number; readonly ms: number }>>
}

export interface ComputeQueue {
  /** Waits for its turn, then runs `computation`, which says through `tell` how far it is. Fails as that does. */
  readonly inTurn: <A, E, R>(
    job: ComputeJob,
    computation: (tell: (progress: ComputeProgress) => void) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** Undefined for what is not in the line. */
  readonly progressOf: (recordingId: string) => QueueProgress | undefined
  /** All that run and wait, in their order. */
  readonly line: () => ReadonlyArray<ComputeJob & QueueProgress>
  readonly stats: () => ComputeQueueStats
}

/** One per two cores, and one on a single core. */
export const defaultAtOnce = Math.max(1, Math.floor(availableParallelism() / 2))

/** Where each step lies in the whole, roughly. A file that is not encoded again goes from `mux` to `verify`, which does not say how far it is. */
const spans: Readonly<Record<string, readonly [from: number, to: number]>> = {
  index: [0, 0.2],
  mux: [0.2, 0.5],
  encode: [0.5, 0.95],
  verify: [0.5, 0.95],
  store: [0.95, 1]
}

interface Place extends ComputeJob {
  readonly turn: Deferred.Deferred<void>
  readonly queuedAtMs: number
  /** Once it runs. */
  startedMs: number | undefined
  progress: QueueProgress
}

export const makeComputeQueue = Effect.fnUntraced(function* (atOnce: number = defaultAtOnce) {
  const clock = yield* Clock.Clock
  const nowMs = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  /** In the order of their turns. */
  const waiting: Array<Place> = []
  const running = new Set<Place>()
  const ended = {
    computed: { count: 0, ms: 0 },
    failed: { count: 0, ms: 0 },
    interrupted: { count: 0, ms: 0 }
  }

  const admit = () => {
    while (running.size < atOnce) {
      const next = waiting.shift()
      if (next === undefined) return
      next.startedMs = nowMs()
      next.progress = { step: "index", fraction: 0 }
      running.add(next)
      Deferred.doneUnsafe(next.turn, Effect.void)
    }
  }
  const join = (job: ComputeJob): Place => {
    const place: Place = {
      ...job,
      turn: Deferred.makeUnsafe(),
      queuedAtMs: nowMs(),
      startedMs: undefined,
      progress: { step: "queued", fraction: 0 }
    }
    // Behind those that are as old: they came before.
    const at = waiting.findIndex(({ startedAt }) => startedAt > job.startedAt)
    waiting.splice(at === -1 ? waiting.length : at, 0, place)
    admit()
    return place
  }
  const leave = (place: Place, exit: Exit.Exit<unknown, unknown>) => {
    const at = waiting.indexOf(place)
    if (at !== -1) waiting.splice(at, 1)
    running.delete(place)
    if (place.startedMs !== undefined) {
      const outcome =
        ended[Exit.isSuccess(exit) ? "computed" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"]
      outcome.count += 1
      outcome.ms += nowMs() - place.startedMs
    }
    admit()
  }
  const told = (place: Place) => (progress: ComputeProgress) => {
    const { bytesRead, journalBytes, step } = progress
    const before = place.progress.fraction
    const [from, to] = spans[step] ?? [before, before]
    const part = step === "verify" ? 0 : Math.min(1, bytesRead / Math.max(1, journalBytes))
    const now = Math.round((from + part * (to - from)) * 1000) / 1000
    // A second attempt begins with the index again; otherwise nothing goes back.
    place.progress = { step, fraction: step === "index" ? now : Math.max(before, now) }
  }
  const progressIn = (place: Place): QueueProgress => {
    const at = waiting.indexOf(place)
    return at === -1 ? place.progress : { ...place.progress, position: at + 1 }
  }
  const all = () => [...running, ...waiting]

  const queue: ComputeQueue = {
    inTurn: (job, computation) =>
      Effect.acquireUseRelease(
        Effect.sync(() => join(job)),
        (place) => Effect.flatMap(Deferred.await(place.turn), () => computation(told(place))),
        (place, exit) => Effect.sync(() => leave(place, exit))
      ),
    progressOf: (recordingId) => {
      const place = all().find((each) => each.recordingId === recordingId)
      return place && progressIn(place)
    },
    line: () =>
      all().map((place) => ({
        recordingId: place.recordingId,
        startedAt: place.startedAt,
        ...progressIn(place)
      })),
    stats: () => ({
      waiting: waiting.length,
      running: running.size,
      oldestWaitMs: Math.max(0, ...waiting.map(({ queuedAtMs }) => nowMs() - queuedAtMs)),
      ended
    })
  }
  return queue
})
