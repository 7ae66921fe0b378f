/**
 * Removes journals that are no longer needed: only of parts with a receipt, and only a keep time after it. Until then everything can
 * be computed again. The results in the store are not touched.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import type { RecordingStorageError } from "../MediaError.ts"
import type { IncarnationFolder } from "./IncarnationFolder.ts"
import { listIncarnations, tryAdopt } from "./IncarnationFolder.ts"
import { list, remove } from "./internal/disk.ts"
import { readReceipt, receiptName } from "./Receipt.ts"
import { finishRemovals, removePart } from "./RemovePart.ts"

export interface RetentionOptions {
  /** Milliseconds from the receipt to the removal. Default 24 hours. A part without a receipt is never removed. */
  readonly keepMs?: number
  /** The caller's own folder, whose lock it holds: it is cleaned as well. Other living processes' are left alone. */
  readonly own?: IncarnationFolder
}

const defaultKeepMs = 24 * 3_600_000

/** The part folders that were removed. */
export const removeExpired: (
  dataDir: string,
  options?: RetentionOptions
) => Effect.Effect<ReadonlyArray<string>, RecordingStorageError> = Effect.fnUntraced(function* (
  dataDir,
  options = {}
) {
  const olderThan = (yield* Clock.currentTimeMillis) - (options.keepMs ?? defaultKeepMs)
  const removed: Array<string> = []
  for (const folder of yield* listIncarnations(dataDir)) {
    if (folder === options.own?.path) removed.push(...(yield* clean(options.own, olderThan)))
    else {
      const adopted = tryAdopt(folder).pipe(
        Effect.flatMap((remains) => Effect.tap(clean(remains, olderThan), removeIfEmpty(remains))),
        Effect.catchTag("FolderHeld", () => Effect.succeed([])),
        Effect.scoped
      )
      removed.push(...(yield* adopted))
    }
  }
  return removed
})

/** How often `keepRemovingExpired` looks, in milliseconds. */
const lookEveryMs = 3_600_000

/** `removeExpired` at once, then every hour, until it is interrupted. What fails is logged, and tried again at the next hour. */
export const keepRemovingExpired = (dataDir: string, options?: RetentionOptions): Effect.Effect<never> =>
  removeExpired(dataDir, options).pipe(
    Effect.tap((removed) =>
      removed.length === 0
        ? Effect.void
        : Effect.logInfo(`removed ${removed.length} journals of computed recordings, past their keep time`)
    ),
    Effect.catch((error) => Effect.logWarning(`journals past their keep time cannot be removed now`, error)),
    Effect.andThen(Effect.sleep(lookEveryMs)),
    Effect.forever
  )

const clean = Effect.fnUntraced(function* (folder: IncarnationFolder, olderThan: number) {
  const removed: Array<string> = []
  for (const part of yield* folder.parts) {
    const receipt = yield* readReceipt(path.join(part, receiptName)).pipe(
      // Not readable is not a proof: it stays.
      Effect.catchTag(["RecordingFileInvalid", "UnsupportedFormat"], () => Effect.succeed(undefined))
    )
    if (receipt === undefined || receipt.computedAt > olderThan) continue
    // Somebody computes it again at this moment: the next time.
    yield* removePart(part).pipe(
      Effect.andThen(Effect.sync(() => removed.push(part))),
      Effect.catchTag("FolderHeld", () => Effect.void)
    )
  }
  yield* finishRemovals(folder)
  return removed
})

/** Under its lock, of a dead process: nothing but the lock file is left. */
const removeIfEmpty = Effect.fnUntraced(function* (folder: IncarnationFolder) {
  const names = yield* list(folder.path)
  if (names.every((name) => name === "lock")) yield* remove(folder.path)
})
