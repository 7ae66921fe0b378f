/**
 * What `ebb-compute` says on standard output, a line of JSON each: that it lives, progress, and last either the receipt or why there is none.
 * Both ends are of one version: a node starts the program that it was installed with.
 */
import * as Schema from "effect/Schema"
import {
  FfmpegMissing,
  FfmpegStalled,
  JournalMissing,
  ManifestMissing,
  RecordingDeleted,
  RecordingFileInvalid,
  RecordingStorageError,
  StoreRefused,
  StoreUnreachable,
  UnsupportedFormat,
  VerificationFailed
} from "../MediaError.ts"
import { Receipt } from "./Receipt.ts"

export const ComputeRefusal = Schema.Union([
  FfmpegMissing,
  FfmpegStalled,
  JournalMissing,
  ManifestMissing,
  RecordingDeleted,
  RecordingFileInvalid,
  RecordingStorageError,
  StoreRefused,
  StoreUnreachable,
  UnsupportedFormat,
  VerificationFailed
])
export type ComputeRefusal = typeof ComputeRefusal.Type

export const ComputeLine = Schema.Union([
  Schema.TaggedStruct("Progress", {
    step: Schema.Literals(["index", "mux", "verify", "encode", "store"]),
    bytesRead: Schema.Finite,
    journalBytes: Schema.Finite
  }),
  /** From a timer, whatever it does meanwhile: a process that is silent hangs. */
  Schema.TaggedStruct("Alive", {}),
  Schema.TaggedStruct("Computed", { receipt: Receipt }),
  Schema.TaggedStruct("Refused", { error: ComputeRefusal })
])
export type ComputeLine = typeof ComputeLine.Type

const Line = Schema.fromJsonString(ComputeLine)
export const encodeLine = Schema.encodeSync(Line)
/** Fails for what is no such line: a warning that some library printed. */
export const decodeLine = Schema.decodeUnknownExit(Line)
