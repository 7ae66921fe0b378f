/**
 * Removes parts: their journals, manifests and copies of receipts. Whoever calls it has a reason that is durable elsewhere: a receipt and its
 * keep time, or a deletion.
 */
import * as Effect from "effect/Effect"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { RecordingStorageError } from "../MediaError.ts"
import { lockFolder } from "./FolderLock.ts"
import type { IncarnationFolder } from "./IncarnationFolder.ts"
import { isPart, listIncarnations, partsOf, tryAdopt } from "./IncarnationFolder.ts"
import { attempt, list, remove, sizeIfThere } from "./internal/disk.ts"
import { computeLock, stagedName } from "./Parts.ts"
import { receiptName } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

const doomedPrefix = ".removed-"

/**
 * The caller holds the lock of its incarnation's folder. `FolderHeld`: somebody computes it at this moment. With a store: of a deletion, what had been
 * sent there of its result goes, too; after this nobody knows of it.
 */
export const removePart = Effect.fnUntraced(function* (part: string, store?: RecordingStore["Service"]) {
  yield* lockFolder(part, { name: computeLock, holder: { pid: process.pid } })
  if (store !== undefined) yield* store.giveUpUploads(path.join(part, stagedName))
  // A removal cut short must not look like a part that lost its manifest.
  const doomed = path.join(path.dirname(part), `${doomedPrefix}${path.basename(part)}`)
  yield* attempt("rename", part, () => fsp.rename(part, doomed))
  yield* remove(doomed)
}, Effect.scoped)

/** What removals that were cut short have left. The caller holds the lock of the folder. */
export const finishRemovals = Effect.fnUntraced(function* (folder: IncarnationFolder) {
  for (const name of yield* list(folder.path)) {
    if (name.startsWith(doomedPrefix)) yield* remove(path.join(folder.path, name))
  }
})

export interface RemovedParts {
  readonly removed: ReadonlyArray<string>
  /** Those of living processes, or that are computed at this moment: they are as they were. */
  readonly held: ReadonlyArray<string>
}

export interface RemovePartsOptions {
  /** The caller's own folder, whose lock it holds. */
  readonly own?: IncarnationFolder
  /** Only those with a receipt. Default: all. */
  readonly computedOnly?: boolean
}

/** Removes the parts of a deleted recording in a data folder. */
export const removePartsOf: (
  dataDir: string,
  recordingId: string,
  store: RecordingStore["Service"],
  options?: RemovePartsOptions
) => Effect.Effect<RemovedParts, RecordingStorageError> = Effect.fnUntraced(function* (
  dataDir,
  recordingId,
  store,
  { computedOnly = false, own } = {}
) {
  const removed: Array<string> = []
  const held: Array<string> = []
  for (const folder of yield* listIncarnations(dataDir)) {
    const part = path.join(folder, recordingId)
    if (!(yield* partsOf(folder)).includes(part) || !(yield* isPart(part))) continue
    if (computedOnly && (yield* sizeIfThere(path.join(part, receiptName))) === undefined) continue
    const locked = folder === own?.path ? Effect.void : Effect.asVoid(tryAdopt(folder))
    yield* Effect.andThen(locked, removePart(part, store)).pipe(
      Effect.scoped,
      Effect.andThen(Effect.sync(() => removed.push(part))),
      Effect.catchTag("FolderHeld", () => Effect.sync(() => held.push(part)))
    )
  }
  return { removed, held }
})
