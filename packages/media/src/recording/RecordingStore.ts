/**
 * Where results and receipts go: a folder, or a bucket of an object store. Nothing is visible under its final name before it is complete and
 * durable, and a receipt never before its media.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type {
  RecordingFileInvalid,
  RecordingStorageError,
  StoreUnreachable,
  UnsupportedFormat
} from "../MediaError.ts"
import type { Deletion, DeletionWord } from "./Deletion.ts"
import { StoreRefused } from "../MediaError.ts"
import { folderStore } from "./FolderStore.ts"
import type { Receipt } from "./Receipt.ts"
import { isS3Location, parseS3Location } from "./s3/S3Location.ts"
import type { S3StoreOptions } from "./s3/S3Store.ts"

export type StoreError = RecordingStorageError | StoreRefused | StoreUnreachable
/** What listing receipts may fail with. */
export type ReceiptsError = StoreError | RecordingFileInvalid | UnsupportedFormat

const notABucket = (location: string) =>
  new StoreRefused({
    location,
    problem: "badLocation",
    detail: "that names no bucket",
    advice:
      "name it as s3://bucket/prefix, with a bucket's name of 3 to 63 small letters, digits, dots and dashes"
  })

export class RecordingStore extends Context.Service<
  RecordingStore,
  {
    /** What `ebb-compute --store` is given to reach the same store from another process. */
    readonly location: string
    /** Where a file of a recording is, for people and programs: a path or an `s3:` URL. It need not be there. */
    readonly locate: (recordingId: string, name: string) => string
    /** Whether it can be reached, and takes us: a misconfigured store is to be known before the first result. */
    readonly check: Effect.Effect<void, StoreError>
    /**
     * Waits until nobody else names or publishes anything of this recording, and keeps it so until the scope closes: its parts may be
     * computed at the same moment, by several processes.
     */
    readonly exclusive: (recordingId: string) => Effect.Effect<void, StoreError, Scope.Scope>
    /**
     * What the final names of a part's files end with, before their extension: nothing, or `-<part>` where another part may have the
     * plain names. Asked under `exclusive`.
     */
    readonly suffix: (recordingId: string, part: string) => Effect.Effect<string, ReceiptsError>
    /**
     * A local path to write a part's file to before it is published. `part` tells it from the recording's other parts, `name` from the
     * part's other files. What a killed process left there is removed.
     */
    readonly stage: (recordingId: string, part: string, name: string) => Effect.Effect<string, StoreError>
    /**
     * Gives a staged file, complete and no longer written to, its final name. Replaces a file of that name: the caller chose it under
     * `exclusive`, and a file without a receipt is what a killed process left.
     */
    readonly publish: (
      recordingId: string,
      part: string,
      name: string,
      finalName: string
    ) => Effect.Effect<void, StoreError>
    readonly putReceipt: (
      recordingId: string,
      name: string,
      receipt: Receipt
    ) => Effect.Effect<void, StoreError>
    /** The ids of all recordings of which something is there, sorted. */
    readonly recordings: Effect.Effect<ReadonlyArray<string>, StoreError>
    /** The receipts of all parts of a recording, by file name. None for an unknown recording. */
    readonly receipts: (recordingId: string) => Effect.Effect<ReadonlyMap<string, Receipt>, ReceiptsError>
    /** Who deleted it, and why. Undefined: nobody did. */
    readonly deletion: (recordingId: string) => Effect.Effect<Deletion | undefined, ReceiptsError>
    /**
     * Removes all that there is of a recording, known here or not, when who did it is noted durably; what was noted before stays. Done again,
     * it removes what has come since, or what a killed one left.
     */
    readonly remove: (word: DeletionWord) => Effect.Effect<Deletion, ReceiptsError>
    /** By one look, and no lock: that it is deleted is noted, and there is nothing else of it under a final name. */
    readonly isRemoved: (recordingId: string) => Effect.Effect<boolean, StoreError>
    /** Takes back what has been sent of files that are staged in a folder and have no final name yet. What cannot be taken back is logged. */
    readonly giveUpUploads: (folder: string) => Effect.Effect<void, RecordingStorageError>
  }
>()("@ebb/media/RecordingStore") {
  /** `<folder>/<recordingId>/{recording.webm, receipt.json}`; usually `<dataDir>/results`. */
  static readonly folder = (folder: string): Layer.Layer<RecordingStore> =>
    Layer.succeed(RecordingStore, folderStore(folder))

  /**
   * A folder, or `s3://bucket/prefix`. What only the latter needs is not loaded for the former. Of an S3 store endpoint, region and
   * credentials are the environment's, as the AWS SDK finds them.
   */
  static readonly at = (
    location: string,
    options: S3StoreOptions
  ): Layer.Layer<RecordingStore, StoreRefused> => {
    if (!isS3Location(location)) return RecordingStore.folder(location)
    const bucket = parseS3Location(location)
    return bucket === undefined
      ? Layer.effect(RecordingStore, Effect.fail(notABucket(location)))
      : Layer.effect(
          RecordingStore,
          Effect.flatMap(
            Effect.promise(() => import("./s3/S3Store.ts")),
            ({ s3Store }) => s3Store(bucket, options)
          )
        )
  }
}
