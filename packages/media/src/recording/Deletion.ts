/**
 * `deleted.json`: that a recording was deleted, by whom, when, why, and what of it there was. It is durable before the first byte goes, and stays for
 * ever: the audit of deleting, and why no part of the recording that turns up later comes back.
 */
import * as Schema from "effect/Schema"
import { decodeJsonFile, StoredId } from "./internal/storedSchema.ts"
import type { Receipt } from "./Receipt.ts"

export const deletionFormat = 1
export const deletionName = "deleted.json"

/** Who deletes what. The first word counts: whoever deletes it again changes nothing of it. */
export const DeletionWord = Schema.Struct({
  recordingId: StoredId,
  roomId: StoredId,
  /** The node that had captured it. */
  nodeId: StoredId,
  startedAt: Schema.Finite,
  /** Who, in a person's or a program's words. */
  by: Schema.String,
  /** Wall clock, milliseconds since 1970. */
  at: Schema.Finite,
  reason: Schema.String,
  /** A keep time has passed, and nobody has asked for it: a part without a receipt is not meant. */
  policy: Schema.optionalKey(Schema.Boolean)
})
export interface DeletionWord extends Schema.Schema.Type<typeof DeletionWord> {}

export const Deletion = Schema.Struct({
  format: Schema.Finite,
  ...DeletionWord.fields,
  /** The results that were there, of all its parts. */
  files: Schema.Array(
    Schema.Struct({ name: Schema.String, bytes: Schema.Finite, sha256: Schema.optionalKey(Schema.String) })
  )
})
export interface Deletion extends Schema.Schema.Type<typeof Deletion> {}

export const decodeDeletion = decodeJsonFile(Deletion, deletionFormat)
export const encodeDeletion = (deletion: Deletion): string => `${JSON.stringify(deletion, null, 2)}\n`

export const deletionOf = (
  { at, by, nodeId, policy, reason, recordingId, roomId, startedAt }: DeletionWord,
  receipts: Iterable<Receipt>
): Deletion => ({
  format: deletionFormat,
  recordingId,
  roomId,
  nodeId,
  startedAt,
  by,
  at,
  reason,
  ...(policy === undefined ? {} : { policy }),
  files: [...receipts].flatMap(({ bytes, file: name, files, sha256 }) => {
    if (files !== undefined) return files.map((file) => ({ ...file }))
    if (name === undefined) return []
    return [{ name, bytes, ...(sha256 === undefined ? {} : { sha256 }) }]
  })
})
