/**
 * What a node counts of its recordings, for whoever looks at its metrics: how many are in which state, what their journals hold and have
 * lost, what waits to be computed, what was refused, and how much room the disk has left. Read when somebody looks.
 */
import { observableCounter, observableGauge } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { mediaInstruments } from "./MediaMetrics.ts"
import type { RecordingState } from "./protocol/Recording.ts"
import type { ComputeQueue, DiskRoom, JournalThread, JournalWriter } from "./recording/index.ts"

export interface RecordingTally {
  /** A recording of this node has come to a state; `journal` says how its journal is, from now on. */
  readonly entered: (
    recordingId: string,
    state: RecordingState,
    journal: () => JournalWriter.JournalWriterStats
  ) => void
  /** It lives no more. */
  readonly gone: (recordingId: string) => void
  /** One was asked for and could not begin. `error` is a tag of the protocol. */
  readonly refused: (error: string) => void
}

interface Counted {
  readonly state: RecordingState
  readonly journal: () => JournalWriter.JournalWriterStats
}

/** What a recording is refused with; any other is `other`. */
const refusals = [
  "StorageUnavailable",
  "NodeDraining",
  "MediaUnavailable",
  "NotFound",
  "Conflict",
  "MailboxFull",
  "other"
] as const

const nothing = { packets: 0, bytes: 0, gaps: 0, lostPackets: 0 }
const amounts = ["packets", "bytes", "gaps", "lostPackets"] as const

/** Until the scope closes. */
export const makeRecordingTally = Effect.fnUntraced(function* (
  computing: ComputeQueue,
  disk: Pick<DiskRoom, "reading">,
  journals: Pick<JournalThread.JournalThread, "queuedBytes">
) {
  const live = new Map<string, Counted>()
  const before = { ...nothing }
  const ended = { computed: 0, failed: 0 }

  for (const state of ["Capturing", "Sealing", "Computed", "Failed"] as const) {
    const read = () => [...live.values()].filter((each) => each.state === state).length
    yield* observableGauge(mediaInstruments.recordings, { state }, read)
  }
  for (const outcome of ["computed", "failed"] as const) {
    yield* observableCounter(mediaInstruments.recordingsEnded, { outcome }, () => ended[outcome])
  }
  const sum = (amount: (typeof amounts)[number]) => () =>
    [...live.values()].reduce((all, { journal }) => all + journal()[amount], before[amount])
  yield* observableCounter(mediaInstruments.recordedPackets, {}, sum("packets"))
  yield* observableCounter(mediaInstruments.recordedBytes, {}, sum("bytes"))
  yield* observableCounter(mediaInstruments.recordingGaps, {}, sum("gaps"))
  yield* observableCounter(mediaInstruments.recordingLostPackets, {}, sum("lostPackets"))

  yield* observableGauge(mediaInstruments.computing, { state: "running" }, () => computing.stats().running)
  yield* observableGauge(mediaInstruments.computing, { state: "waiting" }, () => computing.stats().waiting)
  yield* observableGauge(mediaInstruments.computeWait, {}, () => computing.stats().oldestWaitMs / 1000)
  for (const outcome of ["computed", "failed", "interrupted"] as const) {
    const read = () => computing.stats().ended[outcome]
    yield* observableCounter(mediaInstruments.computations, { outcome }, () => read().count)
    yield* observableCounter(mediaInstruments.computationSeconds, { outcome }, () => read().ms / 1000)
  }

  yield* observableGauge(mediaInstruments.diskFree, {}, () => disk.reading().freeBytes)
  yield* observableGauge(mediaInstruments.diskSize, {}, () => disk.reading().sizeBytes)
  yield* observableGauge(mediaInstruments.diskWanted, {}, () => disk.reading().wantedBytes)
  yield* observableGauge(mediaInstruments.diskStalled, {}, () => disk.reading().stalledMs / 1000)
  yield* observableGauge(mediaInstruments.journalQueue, {}, journals.queuedBytes)

  const refused = new Map<string, number>(refusals.map((error) => [error, 0]))
  for (const error of refusals) {
    yield* observableCounter(mediaInstruments.recordingsRefused, { error }, () => refused.get(error) ?? 0)
  }

  const tally: RecordingTally = {
    entered: (recordingId, state, journal) => {
      live.set(recordingId, { state, journal })
      if (state === "Computed") ended.computed += 1
      if (state === "Failed") ended.failed += 1
    },
    gone: (recordingId) => {
      const { journal } = live.get(recordingId) ?? { journal: () => nothing }
      live.delete(recordingId)
      const last = journal()
      for (const amount of amounts) before[amount] += last[amount]
    },
    refused: (error) => {
      const known = refused.has(error) ? error : "other"
      refused.set(known, (refused.get(known) ?? 0) + 1)
    }
  }
  return tally
})
