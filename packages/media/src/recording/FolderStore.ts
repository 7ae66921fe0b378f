/**
 * The store that is a folder: `<folder>/<recordingId>/{recording.webm, receipt.json}`, usually `<dataDir>/results`. A file gets its final name by a
 * rename, after it was synced. The lock that keeps two parts from taking one name is the kernel's: local file systems only.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { lockFolder } from "./FolderLock.ts"
import { list, makeFolder, publishFile, remove, storageError, syncFolder } from "./internal/disk.ts"
import { StoredId } from "./internal/storedSchema.ts"
import type { Receipt } from "./Receipt.ts"
import { readReceipt, writeReceipt } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

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
  return {
    location: folder,
    locate: at,
    check: Effect.void,
    exclusive: Effect.fnUntraced(function* (recordingId) {
      const own = yield* recordingFolder(recordingId)
      const holder = { pid: process.pid }
      // Held means here that somebody removed the folder meanwhile.
      yield* lockFolder(own, { name: ".lock", holder, waitSeconds: Infinity }).pipe(
        Effect.catchTag("FolderHeld", ({ message }) => Effect.fail(storageError("lock", own, message)))
      )
    }),
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
    receipts
  }
}
