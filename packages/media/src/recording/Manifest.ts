/**
 * `manifest.json`: which recording, of which room, this folder is a part of, and which process captured it.
 *
 * It is durable, with its folder, before the first byte of the journal. A recording is one logical thing; each process
 * that captured some of it has one part, named by (recording id, incarnation). `state` is for people and tools that look;
 * what is true is the journal's seal and the receipt.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { RecordingFileInvalid } from "../MediaError.ts"
import { readIfThere, replaceFile } from "./internal/disk.ts"
import { decodeJsonFile, openLiterals, StoredId } from "./internal/storedSchema.ts"

export const manifestFormat = 1

/**
 * - `Capturing`  packets are being written, or were when the process died
 * - `Sealing`    the journal is sealed and waits for its receipt
 * - `Computed`   the receipt is there
 * - `Failed`     given up by a person: `given-up.json` says by whom and why
 */
export const RecordingState = openLiterals(["Capturing", "Sealing", "Computed", "Failed"])
export type RecordingState = typeof RecordingState.Type

/**
 * What the recording was asked to become, as `recording.start` had it. Durable before the first packet, so that whoever computes the part
 * knows.
 *
 * - `file`    every track a stream of one file, nothing encoded again. The default
 * - `tracks`  a file for each track, nothing encoded again
 * - `grid`    one file to be played: the cameras side by side, the sound mixed
 */
export const RecordingOptions = Schema.Struct({
  result: Schema.optionalKey(openLiterals(["file", "tracks", "grid"])),
  /** Only tracks of these were captured. Default: all. */
  kinds: Schema.optionalKey(Schema.Array(openLiterals(["audio", "video"]))),
  /** Whether data channels were captured. Default: no. */
  data: Schema.optionalKey(Schema.Boolean)
})
export interface RecordingOptions extends Schema.Schema.Type<typeof RecordingOptions> {}

export const Manifest = Schema.Struct({
  format: Schema.Finite,
  recordingId: StoredId,
  roomId: StoredId,
  nodeId: StoredId,
  incarnation: StoredId,
  /** Counts the parts of one recording from 0. */
  part: Schema.Int,
  /** Wall clock, milliseconds since 1970. */
  startedAt: Schema.Finite,
  state: RecordingState,
  options: Schema.optionalKey(RecordingOptions)
})
export interface Manifest extends Schema.Schema.Type<typeof Manifest> {}

export const manifestName = "manifest.json"
export const manifestPath = (folder: string) => path.join(folder, manifestName)

export const decodeManifest = decodeJsonFile(Manifest, manifestFormat)

export const writeManifest = (folder: string, manifest: Manifest) =>
  replaceFile(manifestPath(folder), `${JSON.stringify(manifest, null, 2)}\n`)

/** The manifest of a part, or undefined when the folder has none. */
export const readManifest = Effect.fnUntraced(function* (folder: string) {
  const bytes = yield* readIfThere(manifestPath(folder))
  return bytes === undefined ? undefined : yield* decodeManifest(manifestPath(folder), bytes.toString("utf8"))
})

/** Changes the state and nothing else: fields that a newer version wrote stay as they are. */
export const setManifestState = Effect.fnUntraced(function* (folder: string, state: RecordingState) {
  const file = manifestPath(folder)
  const bytes = yield* readIfThere(file)
  if (bytes === undefined) return
  yield* decodeManifest(file, bytes.toString("utf8"))
  const stored = yield* Effect.try({
    try: (): Record<string, unknown> => JSON.parse(bytes.toString("utf8")),
    catch: (cause) => new RecordingFileInvalid({ path: file, detail: String(cause) })
  })
  yield* replaceFile(file, `${JSON.stringify({ ...stored, state }, null, 2)}\n`)
})
