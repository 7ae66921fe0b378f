/**
 * From a part's journal to a receipt. To come next; the signatures are what callers may build on.
 */
import * as Effect from "effect/Effect"
import type {
  FfmpegMissing,
  JournalMissing,
  ManifestMissing,
  RecordingFileInvalid,
  RecordingStorageError,
  UnsupportedFormat,
  VerificationFailed
} from "../MediaError.ts"
import { ComputeFailed } from "../MediaError.ts"
import type { Receipt } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

export type ComputeError =
  | RecordingStorageError
  | UnsupportedFormat
  | RecordingFileInvalid
  | ManifestMissing
  | JournalMissing
  | FfmpegMissing
  | VerificationFailed
  | ComputeFailed

export interface ComputeOptions {
  /** Goes into the receipt: a node id, or a program's name. */
  readonly computedBy: string
}

/** Computes a part in this process. Idempotent: a receipt for the same part is returned as it is. */
export const compute = (
  partFolder: string,
  _options: ComputeOptions
): Effect.Effect<Receipt, ComputeError, RecordingStore> =>
  new ComputeFailed({ folder: partFolder, detail: "not built yet" })
