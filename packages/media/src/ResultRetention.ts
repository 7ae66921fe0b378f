/**
 * Removes results that are older than this node's policy says, as a person would delete them: noted in the store and the index, by whom and why.
 * Only what the index calls computed, so nothing without a receipt; what is not in the index yet waits until it is.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { RecordingInfo } from "./protocol/Recording.ts"
import type { IncarnationFolder } from "./recording/index.ts"
import { RecordingStore, removePartsOf } from "./recording/index.ts"
import { RecordingIndex } from "./RecordingIndex.ts"

export interface ResultRetentionOptions {
  readonly nodeId: string
  /** Milliseconds from a result's receipt to its removal. */
  readonly keepMs: number
  readonly dataDir: string
  /** The caller's own folder of journals. */
  readonly own: IncarnationFolder.IncarnationFolder
}

const hourMs = 3_600_000

/** By its recording: what could not be removed yet. The index may call it deleted already. */
type Left = Map<string, RecordingInfo>

/** The ids of the recordings that were removed. What cannot be is logged and `left`, to be tried again, and the others go on. */
const removeOldResults = Effect.fnUntraced(function* (options: ResultRetentionOptions, left: Left) {
  const { dataDir, keepMs, nodeId, own } = options
  const index = yield* RecordingIndex
  const store = yield* RecordingStore
  const at = yield* Clock.currentTimeMillis
  const isOld = (computedAt: number | undefined) => computedAt !== undefined && computedAt <= at - keepMs
  const here = new Set(yield* store.recordings)
  const old = (yield* index.list).filter(
    ({ computedAt, recordingId, state }) => state === "Computed" && isOld(computedAt) && here.has(recordingId)
  )
  const removeOne = Effect.fnUntraced(function* (known: RecordingInfo) {
    const { nodeId: capturedBy, recordingId, roomId, startedAt } = known
    // Another node, with a store of its own, may have an older part.
    const receipts = [...(yield* store.receipts(recordingId)).values()]
    if (receipts.length === 0 && !left.has(recordingId)) return false
    if (!receipts.every(({ computedAt }) => isOld(computedAt))) return false
    const word = {
      by: `the policy of node ${nodeId}`,
      reason: `kept for ${keepMs / hourMs} hours`,
      at,
      policy: true
    }
    // Before the index says it: then nobody else looks for it.
    left.set(recordingId, known)
    const { deleted = word } = yield* index.markDeleted(known, word)
    yield* store.remove({ recordingId, roomId, nodeId: capturedBy, startedAt, ...deleted })
    yield* removePartsOf(dataDir, recordingId, store, { own, computedOnly: true })
    left.delete(recordingId)
    return true
  })
  const removed: Array<string> = []
  for (const known of new Map([...old.map((each) => [each.recordingId, each] as const), ...left]).values()) {
    const { recordingId } = known
    const isRemoved = yield* Effect.catch(removeOne(known), (error) =>
      Effect.as(Effect.logWarning(`recording ${recordingId} cannot be removed now`, error), false)
    )
    if (isRemoved) removed.push(recordingId)
  }
  return removed
})

/** `removeOldResults` at once, then every hour, until it is interrupted. What fails is logged, and tried again at the next hour. */
export const keepRemovingOldResults = (options: ResultRetentionOptions) =>
  Effect.suspend(() => keepRemoving(options, new Map()))

const keepRemoving = (options: ResultRetentionOptions, left: Left) =>
  removeOldResults(options, left).pipe(
    Effect.tap((removed) =>
      removed.length === 0
        ? Effect.void
        : Effect.logInfo(`deleted ${removed.length} recordings, past their keep time`)
    ),
    Effect.catch((error) => Effect.logWarning("results past their keep time cannot be removed now", error)),
    Effect.andThen(Effect.sleep(hourMs)),
    Effect.forever
  )
