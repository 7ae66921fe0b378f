/**
 * Finishes what dead processes left in a data folder: for every incarnation folder whose lock can be had, every part without a receipt
 * is computed. A node runs it at its start, and `ebb recordings recover DIR` without a node. What never can be computed a person gives
 * up. Nothing is removed but what somebody has deleted; killed at any moment, the next run goes on.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import type { RecordingStorageError } from "../MediaError.ts"
import type { ComputeError } from "./Compute.ts"
import { computeLock } from "./Parts.ts"
import { computeInChild } from "./ComputeProcess.ts"
import type { ComputeQueue } from "./ComputeQueue.ts"
import { lockFolder } from "./FolderLock.ts"
import type { GivenUp } from "./GivenUp.ts"
import { givenUpFormat, readGivenUp, writeGivenUp } from "./GivenUp.ts"
import { isPart, listForeign, listIncarnations, partsOf, tryAdopt } from "./IncarnationFolder.ts"
import type { Manifest } from "./Manifest.ts"
import { readManifest, setManifestState } from "./Manifest.ts"
import type { DeletionWord } from "./Deletion.ts"
import { readReceipt, receiptName } from "./Receipt.ts"
import type { Receipt } from "./Receipt.ts"
import { RecordingStore } from "./RecordingStore.ts"
import { removePart } from "./RemovePart.ts"

/** Of a deletion, who asked for it. */
export type DeletedBy = Pick<DeletionWord, "by" | "at" | "reason" | "policy">

/** What became of one part. `folder` is the part's. */
export type PartOutcome = { readonly folder: string } & (
  | { readonly _tag: "Recovered"; readonly receipt: Receipt }
  /** Its receipt was there. */
  | { readonly _tag: "AlreadyDone"; readonly receipt: Receipt }
  /** Its process lives, or somebody else recovers it at this moment. */
  | { readonly _tag: "Held"; readonly holder: string }
  /** A person gave it up. `manifest`: unless it has none that can be read. */
  | { readonly _tag: "GivenUp"; readonly givenUp: GivenUp; readonly manifest: Manifest | undefined }
  /** Its process died before the first byte of the journal: there is nothing. */
  | { readonly _tag: "NothingCaptured" }
  /** Nothing of Ebb's is in it, or it is a whole folder among the incarnations: nothing was touched. */
  | { readonly _tag: "Foreign" }
  /** `goOn` said no before it was begun: the next run takes it. */
  | { readonly _tag: "Left" }
  /** It was deleted before: now its journal is, too. */
  | { readonly _tag: "Deleted"; readonly word: DeletedBy }
  /** All that was there is still there. */
  | { readonly _tag: "Failed"; readonly error: ComputeError }
)

export interface RecoverOptions {
  /** Goes into the receipts: a node id, or a program's name. */
  readonly computedBy: string
  /** Told of each part as soon as it is known. */
  readonly onOutcome?: (outcome: PartOutcome) => Effect.Effect<void>
  /** Asked before each part that has to be computed. Default: always true. */
  readonly goOn?: () => boolean
  /** Computes what was given up, too. Default: false. */
  readonly givenUpToo?: boolean
  /** Around each computation: a node has them wait for their turn. Default: it begins at once. */
  readonly inTurn?: ComputeQueue["inTurn"]
  /** Whether somebody has deleted a recording, beyond what the store knows. Default: nobody. */
  readonly deletedBy?: (recordingId: string) => Effect.Effect<DeletedBy | undefined>
}

/** Parts are computed one after the other: it is done beside calls. Fails only when the data folder cannot be listed. */
export const recover: (
  dataDir: string,
  options: RecoverOptions
) => Effect.Effect<ReadonlyArray<PartOutcome>, RecordingStorageError, RecordingStore> = Effect.fnUntraced(
  function* (dataDir, options) {
    const outcomes: Array<PartOutcome> = []
    const report = (outcome: PartOutcome) => {
      outcomes.push(outcome)
      return options.onOutcome?.(outcome) ?? Effect.void
    }
    for (const folder of yield* listForeign(dataDir)) yield* report({ _tag: "Foreign", folder })
    for (const folder of yield* listIncarnations(dataDir)) {
      yield* Effect.gen(function* () {
        const adopted = yield* tryAdopt(folder)
        for (const part of yield* adopted.parts) {
          yield* report(yield* recoverPart(part, options))
        }
      }).pipe(
        Effect.scoped,
        Effect.catchTag("FolderHeld", ({ holder }) =>
          Effect.flatMap(partsOf(folder), (parts) =>
            Effect.forEach(parts, (part) => report({ _tag: "Held", folder: part, holder }), {
              discard: true
            })
          )
        ),
        Effect.catchTag("RecordingStorageError", (error) => report({ _tag: "Failed", folder, error }))
      )
    }
    return outcomes
  }
)

/** The caller holds the lock of the incarnation's folder. */
const recoverPart = (
  folder: string,
  options: RecoverOptions
): Effect.Effect<PartOutcome, never, RecordingStore> =>
  Effect.gen(function* (): Effect.fn.Return<PartOutcome, ComputeError, RecordingStore> {
    const word = yield* deletedBy(path.basename(folder), options)
    const done = yield* readReceipt(path.join(folder, receiptName))
    const isMeant = word?.policy !== true || done !== undefined
    if (word !== undefined && isMeant && (yield* isPart(folder))) {
      return yield* removePart(folder, yield* RecordingStore).pipe(
        Effect.map((): PartOutcome => ({ _tag: "Deleted", folder, word })),
        Effect.catchTag("FolderHeld", ({ holder }) =>
          Effect.succeed<PartOutcome>({ _tag: "Held", folder, holder })
        )
      )
    }
    if (done !== undefined) return { _tag: "AlreadyDone", folder, receipt: done }
    const givenUp = options.givenUpToo === true ? undefined : yield* readGivenUp(folder)
    if (givenUp !== undefined) return yield* givenUpOutcome(folder, givenUp)
    if (!(yield* isPart(folder))) return { _tag: "Foreign", folder }
    if (options.goOn?.() === false) return { _tag: "Left", folder }
    const { startedAt = 0 } = (yield* Effect.orElseSucceed(readManifest(folder), () => undefined)) ?? {}
    const inTurn: ComputeQueue["inTurn"] = options.inTurn ?? ((_, computation) => computation(() => {}))
    const receipt = yield* inTurn({ recordingId: path.basename(folder), startedAt }, (onProgress) =>
      computeInChild(folder, { computedBy: options.computedBy, onProgress })
    )
    return { _tag: "Recovered", folder, receipt }
  }).pipe(Effect.catch((error) => Effect.succeed(failedOutcome(folder, error))))

/** What cannot be read now is no deletion: should it be one, a computation is refused, and the next run comes by again. */
const deletedBy = Effect.fnUntraced(function* (recordingId: string, options: RecoverOptions) {
  const store = yield* RecordingStore
  const noted = yield* Effect.orElseSucceed(store.deletion(recordingId), () => undefined)
  return noted ?? (yield* options.deletedBy?.(recordingId) ?? Effect.undefined)
})

const failedOutcome = (folder: string, error: ComputeError): PartOutcome =>
  error._tag === "ManifestMissing" && error.journalBytes === 0
    ? { _tag: "NothingCaptured", folder }
    : { _tag: "Failed", folder, error }

const givenUpOutcome = (folder: string, givenUp: GivenUp): Effect.Effect<PartOutcome> =>
  Effect.orElseSucceed(readManifest(folder), () => undefined).pipe(
    Effect.map((manifest) => ({ _tag: "GivenUp", folder, givenUp, manifest }))
  )

/**
 * Gives up every part of a recording in a data folder that has no receipt; one outcome for each part. The first word counts: who gave a part up
 * before, and why, stays. Done also beside the process that captured it, once that has sealed it: should its computation succeed all the
 * same, the receipt counts. One that is captured or computed at this moment is `Held`.
 */
export const giveUp = Effect.fnUntraced(function* (
  dataDir: string,
  recordingId: string,
  by: Pick<GivenUp, "by" | "reason">
): Effect.fn.Return<ReadonlyArray<PartOutcome>, RecordingStorageError, RecordingStore> {
  const at = yield* Clock.currentTimeMillis
  const outcomes: Array<PartOutcome> = []
  for (const incarnation of yield* listIncarnations(dataDir)) {
    const folder = path.join(incarnation, recordingId)
    if (!(yield* partsOf(incarnation)).includes(folder)) continue
    outcomes.push(yield* giveUpPart(folder, { format: givenUpFormat, at, ...by }))
  }
  return outcomes
})

const giveUpPart = (folder: string, givenUp: GivenUp): Effect.Effect<PartOutcome, never, RecordingStore> =>
  Effect.gen(function* () {
    if (!(yield* isPart(folder))) return { _tag: "Foreign", folder } as const
    const { state } = (yield* Effect.orElseSucceed(readManifest(folder), () => undefined)) ?? {}
    const isSealed = state === "Sealing" || state === "Failed"
    // Without the lock only its owner knows whether it still captures.
    const owned = tryAdopt(path.dirname(folder))
    yield* isSealed ? Effect.catchTag(owned, "FolderHeld", () => Effect.void) : owned
    yield* lockFolder(folder, { name: computeLock, holder: { pid: process.pid } })
    const done = yield* receiptOf(folder)
    if (done !== undefined) return { _tag: "AlreadyDone", folder, receipt: done } as const
    const before = yield* readGivenUp(folder)
    if (before === undefined) yield* writeGivenUp(folder, givenUp)
    // For people who look; what counts is the file. A manifest that cannot be read is left as it is.
    yield* Effect.catchTag(
      setManifestState(folder, "Failed"),
      ["RecordingFileInvalid", "UnsupportedFormat"],
      () => Effect.void
    )
    return yield* givenUpOutcome(folder, before ?? givenUp)
  }).pipe(
    Effect.scoped,
    Effect.catchTag("FolderHeld", ({ holder }) =>
      Effect.succeed<PartOutcome>({ _tag: "Held", folder, holder })
    ),
    Effect.catch((error) => Effect.succeed(failedOutcome(folder, error)))
  )

/** Its own copy, or the store's: a computation may have been killed between the two, and a part past its keep time is gone. */
const receiptOf = Effect.fnUntraced(function* (folder: string) {
  const own = yield* readReceipt(path.join(folder, receiptName))
  if (own !== undefined) return own
  const store = yield* RecordingStore
  const incarnation = path.basename(path.dirname(folder))
  const receipts = yield* store.receipts(path.basename(folder))
  return [...receipts.values()].find(({ parts }) => parts.some((part) => part.incarnation === incarnation))
})

/**
 * Of parts that could not be finished, by folder, with why, those of which that still holds: a person may have computed one by hand
 * since, or given it up.
 */
export const stillUnfinished = Effect.fnUntraced(function* (unfinished: ReadonlyMap<string, string>) {
  const left: Array<{ readonly recordingId: string; readonly problem: string }> = []
  for (const [folder, problem] of unfinished) {
    const isSettled = yield* Effect.all([receiptOf(folder), readGivenUp(folder)]).pipe(
      Effect.map((either) => either.some((each) => each !== undefined)),
      Effect.orElseSucceed(() => false)
    )
    if (!isSettled) left.push({ recordingId: path.basename(folder), problem })
  }
  return left
})
