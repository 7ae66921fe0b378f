/**
 * The store that is a folder: `<folder>/<recordingId>/{recording.webm, receipt.json}`, usually `<dataDir>/results`. A file gets its final name by a
 * rename, after it was synced. The lock that keeps two parts from taking one name is the kernel's: local file systems only.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { lockFolder } from "./FolderLock.ts"
import { decodeDeletion, deletionName, deletionOf, encodeDeletion } from "./Deletion.ts"
import {
  list,
  makeFolder,
  publishFile,
  readIfThere,
  remove,
  replaceFile,
  storageError,
  syncFolder
} from "./internal/disk.ts"
import { StoredId } from "./internal/storedSchema.ts"
import type { Receipt } from "./Receipt.ts"
import { readableReceipts, readReceipt, writeReceipt } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

const lockName = ".lock"
/** What is there of a recording that is removed. */
const kept: ReadonlySet<string> = new Set([deletionName, lockName])

export const folderStore = (folder: string): RecordingStore["Service"] => {
  const at = (recordingId: string, name: string) => path.join(folder, recordingId, name)
  const staged = (recordingId: string, part: string, name: string) =>
    at(recordingId, `.${part}.${name}.staged`)
  const recordingFolder = Effect.fnUntraced(function* (recordingId: string) {
    const own = path.join(folder, recordingId)
    yield* makeFolder(own)
    yield* syncFolder(folder)
    return own
  })
  const receipts = Effect.fnUntraced(function* (recordingId: string) {
    const names = yield* list(path.join(folder, recordingId))
    const found = new Map<string, Receipt>()
    for (const name of names.filter((each) => /^receipt.*\.json$/.test(each))) {
      const receipt = yield* readReceipt(at(recordingId, name))
      if (receipt !== undefined) found.set(name, receipt)
    }
    return found
  })
  const exclusive = Effect.fnUntraced(function* (recordingId: string) {
    const own = yield* recordingFolder(recordingId)
    const holder = { pid: process.pid }
    // Held means here that somebody removed the folder meanwhile.
    yield* lockFolder(own, { name: lockName, holder, waitSeconds: Infinity }).pipe(
      Effect.catchTag("FolderHeld", ({ message }) => Effect.fail(storageError("lock", own, message)))
    )
  })
  const deletion = Effect.fnUntraced(function* (recordingId: string) {
    const file = at(recordingId, deletionName)
    const bytes = yield* readIfThere(file)
    return bytes === undefined ? undefined : yield* decodeDeletion(file, bytes.toString("utf8"))
  })
  return {
    location: folder,
    locate: at,
    check: Effect.void,
    exclusive,
    suffix: (recordingId, part) =>
      Effect.map(receipts(recordingId), (there) => (there.size > 0 ? `-${part}` : "")),
    stage: Effect.fnUntraced(function* (recordingId, part, name) {
      yield* recordingFolder(recordingId)
      const file = staged(recordingId, part, name)
      yield* remove(file)
      return file
    }),
    publish: (recordingId, part, name, finalName) =>
      publishFile(staged(recordingId, part, name), at(recordingId, finalName)),
    putReceipt: Effect.fnUntraced(function* (recordingId, name, receipt) {
      yield* recordingFolder(recordingId)
      yield* writeReceipt(at(recordingId, name), receipt)
    }),
    recordings: Effect.map(list(folder), (names) => names.filter((name) => Schema.is(StoredId)(name))),
    receipts,
    deletion,
    remove: Effect.fnUntraced(function* (word) {
      const { recordingId } = word
      yield* exclusive(recordingId)
      let noted = yield* deletion(recordingId)
      if (noted === undefined) {
        noted = deletionOf(word, yield* readableReceipts(receipts(recordingId)))
        yield* replaceFile(at(recordingId, deletionName), encodeDeletion(noted))
      }
      for (const name of yield* list(path.join(folder, recordingId))) {
        if (!kept.has(name)) yield* remove(at(recordingId, name))
      }
      yield* syncFolder(path.join(folder, recordingId))
      return noted
    }, Effect.scoped),
    isRemoved: (recordingId) =>
      Effect.map(
        list(path.join(folder, recordingId)),
        (names) => names.includes(deletionName) && names.every((name) => kept.has(name))
      ),
    giveUpUploads: () => Effect.void
  }
}
