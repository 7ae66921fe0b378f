/**
 * Finishes what dead processes left in a data folder: for every incarnation folder whose lock can be had, every part without a receipt
 * is computed. A node runs it at its start, and `ebb recordings recover DIR` without a node. Nothing is removed; killed at any moment,
 * the next run goes on.
 */
import * as Effect from "effect/Effect"
import * as path from "node:path"
import type { RecordingStorageError } from "../MediaError.ts"
import type { ComputeError } from "./Compute.ts"
import { computeInChild } from "./ComputeProcess.ts"
import { listIncarnations, partsOf, tryAdopt } from "./IncarnationFolder.ts"
import { readReceipt, receiptName } from "./Receipt.ts"
import type { Receipt } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

/** What became of one part. `folder` is the part's. */
export type PartOutcome = { readonly folder: string } & (
  | { readonly _tag: "Recovered"; readonly receipt: Receipt }
  /** Its receipt was there. */
  | { readonly _tag: "AlreadyDone"; readonly receipt: Receipt }
  /** Its process lives, or somebody else recovers it at this moment. */
  | { readonly _tag: "Held"; readonly holder: string }
  /** Its process died before the first byte of the journal: there is nothing. */
  | { readonly _tag: "NothingCaptured" }
  /** `goOn` said no before it was begun: the next run takes it. */
  | { readonly _tag: "Left" }
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
    const done = yield* readReceipt(path.join(folder, receiptName))
    if (done !== undefined) return { _tag: "AlreadyDone", folder, receipt: done }
    if (options.goOn?.() === false) return { _tag: "Left", folder }
    const receipt = yield* computeInChild(folder, { computedBy: options.computedBy })
    return { _tag: "Recovered", folder, receipt }
  }).pipe(
    Effect.catch((error) =>
      Effect.succeed<PartOutcome>(
        error._tag === "ManifestMissing" && error.journalBytes === 0
          ? { _tag: "NothingCaptured", folder }
          : { _tag: "Failed", folder, error }
      )
    )
  )
