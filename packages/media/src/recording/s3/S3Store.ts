/**
 * The store that is a bucket of an S3-compatible server: `<prefix><recordingId>/{recording-<part>.webm, receipt-<part>.json}`. Each part's files
 * have names of its own, so that processes on many hosts never want the same one: nobody locks anything.
 *
 * A file is staged in a folder of this machine, uploaded (S3Upload), proven, and only then removed here.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { decodeDeletion, deletionName, deletionOf, encodeDeletion } from "../Deletion.ts"
import type { Receipt } from "../Receipt.ts"
import { decodeReceipt, encodeReceipt, readableReceipts } from "../Receipt.ts"
import type { RecordingStore } from "../RecordingStore.ts"
import { makeFolder, remove } from "../internal/disk.ts"
import { StoredId } from "../internal/storedSchema.ts"
import { openS3Door } from "./S3Door.ts"
import type { S3Location } from "./S3Location.ts"
import type { UploadOptions } from "./S3Upload.ts"
import { giveUpUpload, notedUploads, uploadBytes, uploadFile } from "./S3Upload.ts"

export interface S3StoreOptions {
  /** Where files are staged: what stays there when the process is killed, the next one goes on with, if it has the same folder. */
  readonly staging: string
  /** Milliseconds for which an upload waits for a store that is away or busy. Default 15 minutes. */
  readonly patienceMs?: number
  /** Milliseconds for which a connection may be silent before the store is taken for away. Default 60,000. */
  readonly silenceMs?: number
}

const defaultPatienceMs = 15 * 60_000
const defaultSilenceMs = 60_000

const types: Readonly<Record<string, string>> = {
  ".json": "application/json",
  ".mkv": "video/x-matroska",
  ".mp4": "video/mp4",
  ".vtt": "text/vtt",
  ".webm": "video/webm"
}

export const s3Store = Effect.fnUntraced(function* (location: S3Location, options: S3StoreOptions) {
  const door = yield* openS3Door(location, options.silenceMs ?? defaultSilenceMs)
  const { staging } = options
  const folderOf = (recordingId: string) => `${location.prefix}${recordingId}/`
  const keyOf = (recordingId: string, name: string) => `${folderOf(recordingId)}${name}`
  const staged = (recordingId: string, part: string, name: string) =>
    path.join(staging, `${recordingId}.${part}.${name}.staged`)
  const upload = (name: string): UploadOptions => ({
    type: types[path.extname(name)] ?? "application/octet-stream",
    patienceMs: options.patienceMs ?? defaultPatienceMs,
    alwaysReadBack: process.env["EBB_S3_READ_BACK"] === "1"
  })

  const readText = (key: string) =>
    door.read(key, async (chunks) => {
      const all: Array<Uint8Array> = []
      for await (const chunk of chunks) all.push(chunk)
      return Buffer.concat(all).toString("utf8")
    })
  const writeText = (recordingId: string, name: string, text: string) =>
    uploadBytes(door, Buffer.from(text), keyOf(recordingId, name), upload(name))
  const receipts = Effect.fnUntraced(function* (recordingId: string) {
    const { keys } = yield* door.list(`${folderOf(recordingId)}receipt`)
    const found = new Map<string, Receipt>()
    for (const key of keys.filter((each) => each.endsWith(".json"))) {
      const text = yield* readText(key)
      if (text === undefined) continue
      const name = key.slice(folderOf(recordingId).length)
      found.set(name, yield* decodeReceipt(door.url(key), text))
    }
    return found
  })
  const deletion = Effect.fnUntraced(function* (recordingId: string) {
    const key = keyOf(recordingId, deletionName)
    const text = yield* readText(key)
    return text === undefined ? undefined : yield* decodeDeletion(door.url(key), text)
  })

  const store: RecordingStore["Service"] = {
    location: `s3://${location.bucket}${location.prefix === "" ? "" : `/${location.prefix.slice(0, -1)}`}`,
    locate: (recordingId, name) => door.url(keyOf(recordingId, name)),
    check: door.checkBucket,
    exclusive: () => Effect.void,
    suffix: (_, part) => Effect.succeed(`-${part}`),
    stage: Effect.fnUntraced(function* (recordingId, part, name) {
      yield* makeFolder(staging)
      const file = staged(recordingId, part, name)
      // Not the note of what has arrived: the same file is likely to be made again.
      yield* remove(file)
      return file
    }),
    publish: Effect.fnUntraced(function* (recordingId, part, name, finalName) {
      const file = staged(recordingId, part, name)
      yield* uploadFile(door, file, keyOf(recordingId, finalName), upload(finalName))
      yield* remove(file)
    }),
    putReceipt: (recordingId, name, receipt) => writeText(recordingId, name, encodeReceipt(receipt)),
    recordings: Effect.map(door.list(location.prefix), ({ prefixes }) =>
      prefixes
        .map((prefix) => prefix.slice(location.prefix.length, -1))
        .filter((name) => Schema.is(StoredId)(name))
        .toSorted()
    ),
    receipts,
    deletion,
    remove: Effect.fnUntraced(function* (word) {
      const { recordingId } = word
      let noted = yield* deletion(recordingId)
      if (noted === undefined) {
        noted = deletionOf(word, yield* readableReceipts(receipts(recordingId)))
        yield* writeText(recordingId, deletionName, encodeDeletion(noted))
      }
      // Before the list of what is there: what is finished meanwhile is in that. A server that does not tell leaves them to the parts' notes.
      const begun = yield* Effect.orElseSucceed(door.listUploads(folderOf(recordingId)), () => [])
      yield* Effect.forEach(begun, (upload) => giveUpUpload(door, upload), { discard: true })
      const { keys } = yield* door.list(folderOf(recordingId))
      for (const key of keys) {
        if (key !== keyOf(recordingId, deletionName)) yield* door.remove(key)
      }
      return noted
    }),
    isRemoved: (recordingId) =>
      Effect.map(
        door.list(folderOf(recordingId)),
        ({ keys }) => keys.length === 1 && keys[0] === keyOf(recordingId, deletionName)
      ),
    giveUpUploads: Effect.fnUntraced(function* (folder) {
      const noted = yield* notedUploads(folder)
      yield* Effect.forEach(noted, (upload) => giveUpUpload(door, upload), { discard: true })
    })
  }
  return store
})
