/**
 * Where results and receipts go: a folder here, an object store later. Nothing is visible under its final name before it is
 * complete and durable, and a receipt never before its media.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as path from "node:path"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { list, makeFolder, publishFile, remove, syncFolder } from "./internal/disk.ts"
import type { Receipt } from "./Receipt.ts"
import { readReceipt, writeReceipt } from "./Receipt.ts"

export class RecordingStore extends Context.Service<
  RecordingStore,
  {
    /** What `ebb-compute --store` is given to reach the same store from another process. */
    readonly location: string
    /** A local path to write a file to before it is published as `name`. What a killed process left there is removed. */
    readonly stage: (recordingId: string, name: string) => Effect.Effect<string, RecordingStorageError>
    /** Gives a staged file, complete and no longer written to, its final name. Replaces a file of that name. */
    readonly publish: (recordingId: string, name: string) => Effect.Effect<void, RecordingStorageError>
    readonly putReceipt: (
      recordingId: string,
      name: string,
      receipt: Receipt
    ) => Effect.Effect<void, RecordingStorageError>
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
  const staged = (recordingId: string, name: string) => at(recordingId, `.${name}.staged`)
  return {
    location: folder,
    stage: Effect.fnUntraced(function* (recordingId, name) {
      yield* makeFolder(path.join(folder, recordingId))
      yield* syncFolder(folder)
      yield* remove(staged(recordingId, name))
      return staged(recordingId, name)
    }),
    publish: (recordingId, name) => publishFile(staged(recordingId, name), at(recordingId, name)),
    putReceipt: Effect.fnUntraced(function* (recordingId, name, receipt) {
      yield* makeFolder(path.join(folder, recordingId))
      yield* syncFolder(folder)
      yield* writeReceipt(at(recordingId, name), receipt)
    }),
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
