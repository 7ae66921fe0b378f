/**
 * Whether there is room on disk for one more recording: it is refused before those that run could break. Counts what each that runs has, and
 * at its measured rate will still want, once for its journal and once for its result, half an hour ahead; a floor is left to the rest of the
 * machine. It refuses nothing but new ones: who runs is never stopped.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { DiskNearlyFull, DiskStalled } from "../MediaError.ts"
import type { JournalThread } from "./JournalThread.ts"

export interface DiskRoomOptions {
  readonly dataDir: string
  /** Where results are made; it may be on another disk. */
  readonly resultsDir: string
  /** Bytes that are always left. 0 counts nothing and refuses nothing. Default 1 GiB, or a twentieth of a disk below 20 GiB. */
  readonly minFreeBytes?: number
  readonly thread: Pick<JournalThread, "stalledMs">
}

export interface DiskReading {
  /** Left for this process on the disk that is the tightest, and its size; NaN while the disk does not answer. */
  readonly freeBytes: number
  readonly sizeBytes: number
  /** What the recordings that run, and one more, will want of it within half an hour, and the floor: with less free, one more is refused. */
  readonly wantedBytes: number
  /** For how long the disk has held up the write to a journal that is under way. */
  readonly stalledMs: number
}

type State = "Capturing" | "Sealing" | "Computed" | "Failed" | "Interrupted"

export interface DiskRoom {
  /** As it was at most 5 s ago. */
  readonly reading: () => DiskReading
  /** Counts a recording from now on, or refuses it. */
  readonly admit: (recordingId: string) => Effect.Effect<void, DiskNearlyFull | DiskStalled>
  readonly entered: (recordingId: string, state: State, journal: () => { readonly bytes: number }) => void
  readonly gone: (recordingId: string) => void
}

/** How far ahead it is counted, in milliseconds. */
export const aheadMs = 1_800_000
/** Bytes a second of one that has not been measured for long enough: 1 Mbit/s. */
export const assumedRate = 125_000
const measuredAfterMs = 10_000
const lookMs = 5000
/** A write that takes longer is a disk that stands. */
const stalledAfterMs = 5000

interface Counted {
  readonly sinceMs: number
  readonly state: State
  readonly bytes: () => number
}

const fresh = (sinceMs: number): Counted => ({ sinceMs, state: "Capturing", bytes: () => 0 })

/** What one recording will still write: to its journal, and to its result. */
export const stillWanted = ({ bytes, sinceMs, state }: Counted, nowMs: number) => {
  const age = nowMs - sinceMs
  const rate =
    age < measuredAfterMs ? Math.max(assumedRate, bytes() / (age / 1000 || 1)) : bytes() / (age / 1000)
  const journal = state === "Capturing" ? (rate * aheadMs) / 1000 : 0
  return { journal, result: state === "Capturing" || state === "Sealing" ? bytes() + journal : 0 }
}

interface Place {
  readonly path: string
  readonly device: number
  readonly freeBytes: number
  readonly sizeBytes: number
}

export const makeDiskRoom = Effect.fnUntraced(function* (
  options: DiskRoomOptions
): Effect.fn.Return<DiskRoom, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const nowMs = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  const live = new Map<string, Counted>()
  const isOff = options.minFreeBytes === 0
  let places: ReadonlyArray<Place> = []

  const look = Effect.all([placeOf(options.dataDir), placeOf(options.resultsDir)], { concurrency: 2 }).pipe(
    // A mount whose server is gone never answers.
    Effect.timeout(stalledAfterMs),
    Effect.match({
      onSuccess: (found) => {
        places = found
      },
      onFailure: () => {
        places = []
      }
    })
  )

  const readingOf = (place: Place, isJournals: boolean, isResults: boolean): DiskReading => {
    const now = nowMs()
    const { minFreeBytes = Math.min(2 ** 30, place.sizeBytes / 20) } = options
    const counted = isOff ? [] : [...live.values(), fresh(now)]
    const wantedBytes = counted.reduce((sum, each) => {
      const { journal, result } = stillWanted(each, now)
      return sum + (isJournals ? journal : 0) + (isResults ? result : 0)
    }, minFreeBytes)
    const { freeBytes, sizeBytes } = place
    return {
      freeBytes,
      sizeBytes,
      wantedBytes: Math.ceil(wantedBytes),
      stalledMs: options.thread.stalledMs()
    }
  }
  const reading = (): DiskReading => {
    const [journals, results] = places
    if (journals === undefined || results === undefined) {
      const { NaN: unknown } = Number
      return {
        freeBytes: unknown,
        sizeBytes: unknown,
        wantedBytes: unknown,
        stalledMs: options.thread.stalledMs()
      }
    }
    if (journals.device === results.device) return readingOf(journals, true, true)
    const [one, other] = [readingOf(journals, true, false), readingOf(results, false, true)]
    return one.freeBytes - one.wantedBytes <= other.freeBytes - other.wantedBytes ? one : other
  }

  yield* look.pipe(Effect.repeat(Schedule.spaced(lookMs)), Effect.forkScoped)
  return {
    reading,
    admit: Effect.fnUntraced(function* (recordingId) {
      if (isOff) return
      const { dataDir } = options
      // Before anything asks the disk: what waits for it takes a thread of those that Node has for files.
      const stalledMs = options.thread.stalledMs()
      if (stalledMs > stalledAfterMs) return yield* new DiskStalled({ path: dataDir, stalledMs })
      yield* look
      if (places.length === 0) return yield* new DiskStalled({ path: dataDir, stalledMs: stalledAfterMs })
      const { freeBytes, wantedBytes } = reading()
      if (freeBytes < wantedBytes) return yield* new DiskNearlyFull({ path: dataDir, freeBytes, wantedBytes })
      live.set(recordingId, fresh(nowMs()))
    }),
    entered: (recordingId, state, journal) => {
      const { sinceMs = nowMs() } = live.get(recordingId) ?? {}
      live.set(recordingId, { sinceMs, state, bytes: () => journal().bytes })
    },
    gone: (recordingId) => void live.delete(recordingId)
  }
})

/** The disk of a folder, or of the one above that is there. */
const placeOf = (folder: string): Effect.Effect<Place, unknown> =>
  Effect.tryPromise(async () => {
    let at = path.resolve(folder)
    for (;;) {
      const found = await fsp.stat(at).catch(() => undefined)
      if (found === undefined && at !== path.dirname(at)) {
        at = path.dirname(at)
        continue
      }
      const { bavail, blocks, bsize } = await fsp.statfs(at)
      return { path: at, device: found?.dev ?? 0, freeBytes: bavail * bsize, sizeBytes: blocks * bsize }
    }
  })
