/**
 * One entry of the directory, as it is stored: a MessagePack map under `<kind>.<id>` in the bucket `directory`. Readers keep what
 * they do not know.
 */
import * as Schema from "effect/Schema"
import { Id } from "./Address.ts"
import { openRecord, recordCodec } from "./internal/record.ts"

export const DirectoryEntry = openRecord({
  v: Schema.Int,
  kind: Id,
  id: Id,
  /** The owner: its node, and the incarnation of its process. */
  node: Id,
  inc: Id,
  /** Wall-clock milliseconds of the claim; for people. */
  at: Schema.Finite
})
export type DirectoryEntry = typeof DirectoryEntry.Type

export const { encode: encodeDirectoryEntry, decode: decodeDirectoryEntry } = recordCodec(DirectoryEntry)
