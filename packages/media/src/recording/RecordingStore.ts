/**
 * Where results and receipts go: a folder here, an object store later. Nothing is visible under its final name before it is
 * complete and durable, and a receipt never before its media.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import type * as Scope from "effect/Scope"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { lockFolder } from "./FolderLock.ts"
import { list, makeFolder, publishFile, remove, storageError, syncFolder } from "./internal/disk.ts"
import { StoredId } from "./internal/storedSchema.ts"
import type { Receipt } from "./Receipt.ts"
import { readReceipt, writeReceipt } from "./Receipt.ts"

export class RecordingStore extends Context.Service<
  RecordingStore,
  {
    /** What `ebb-compute --store` is given to reach the same store from another process. */
    readonly location: string
    /**
     * Waits until nobody else names or publishes anything of this recording, and keeps it so until the scope closes: its parts may be
     * computed at the same moment, by several processes.
     */
    readonly exclusive: (recordingId: string) => Effect.Effect<void, RecordingStorageError, Scope.Scope>
    /**
     * A local path to write a part's file to before it is published. `part` tells it from the recording's other parts. What a
     * killed process left there is removed.
     */
    readonly stage: (recordingId: string, part: string) => Effect.Effect<string, RecordingStorageError>
    /**
     * Gives a staged file, complete and no longer written to, its final name. Replaces a file of that name: the caller chose it under
     * `exclusive`, and a file without a receipt is what a killed process left.
     */
    readonly publish: (
      recordingId: string,
      part: string,
      name: string
    ) => Effect.Effect<void, RecordingStorageError>
    readonly putReceipt: (
      recordingId: string,
      name: string,
      receipt: Receipt
    ) => Effect.Effect<void, RecordingStorageError>
    /** The ids of all recordings of which something is there, sorted. */
    readonly recordings: Effect.Effect<ReadonlyArray<string>, RecordingStorageError>
    /** The receipts of all parts of a recording, by file name. None for an unknown recording. */
    readonly receipts: (
      recordingId: string
    ) => Effect.Effect<
      ReadonlyMap<string, Receipt>,
      RecordingStorageError | RecordingFileInvalid | UnsupportedFormat
    >
  }
>()("@ebb/media/RecordingStore") {
  /** `<folder>/<recordingId>/{recording.webm, receipt.json}`; usually `<dataDir>/results`. */
  static readonly folder = (folder: string): Layer.Layer<RecordingStore> =>
    Layer.succeed(RecordingStore, folderStore(folder))
}

const folderStore = (folder: string): RecordingStore["Service"] => {
  const at = (recordingId: string, name: string) => path.join(folder, recordingId, name)
  const staged = (recordingId: string, part: string) => at(recordingId, `.${part}.staged`)
  const recordingFolder = Effect.fnUntraced(function* (recordingId: string) {
    const own = path.join(folder, recordingId)
    yield* makeFolder(own)
    yield* syncFolder(folder)
    return own
  })
  return {
    location: folder,
    exclusive: Effect.fnUntraced(function* (recordingId) {
      const own = yield* recordingFolder(recordingId)
      const holder = { pid: process.pid }
      // Held means here that somebody removed the folder meanwhile.
      yield* lockFolder(own, { name: ".lock", holder, waitSeconds: Infinity }).pipe(
        Effect.catchTag("FolderHeld", ({ message }) => Effect.fail(storageError("lock", own, message)))
      )
    }),
    stage: Effect.fnUntraced(function* (recordingId, part) {
      yield* recordingFolder(recordingId)
      yield* remove(staged(recordingId, part))
      return staged(recordingId, part)
    }),
    publish: (recordingId, part, name) => publishFile(staged(recordingId, part), at(recordingId, name)),
    putReceipt: Effect.fnUntraced(function* (recordingId, name, receipt) {
      yield* recordingFolder(recordingId)
      yield* writeReceipt(at(recordingId, name), receipt)
    }),
    recordings: Effect.map(list(folder), (names) => names.filter((name) => Schema.is(StoredId)(name))),
    receipts: Effect.fnUntraced(function* (recordingId) {
      const names = yield* list(path.join(folder, recordingId))
      const found = new Map<string, Receipt>()
      for (const name of names.filter((each) => /^receipt.*\.json$/.test(each))) {
        const receipt = yield* readReceipt(at(recordingId, name))
        if (receipt !== undefined) found.set(name, receipt)
      }
      return found
    })
  }
}
