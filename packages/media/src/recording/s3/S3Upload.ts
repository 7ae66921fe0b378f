/**
 * Brings one complete file to an S3-compatible store, however often the process that does it is killed: what of a large file has arrived is
 * noted beside it, so that the next one sends what is missing. Nothing is visible under its key before all of it is there.
 *
 * Owns the proof that what is there is what was sent: the server's own SHA-256 where it has one, and where it has none the whole file, read back.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { RecordingStorageError } from "../../MediaError.ts"
import { attempt, list, readIfThere, remove, replaceFile } from "../internal/disk.ts"
import type { BegunUpload, DoorError, S3Door } from "./S3Door.ts"
import { isUploadGone } from "./S3Door.ts"

/** Bytes. Each part but the last must have 5 MiB, and there may be 10,000 of them. */
const leastPart = 8 * 2 ** 20
const mostParts = 9000

/** How often a file is sent anew when what arrived is not what was sent, or the server has forgotten what it had of it. */
const sendAgain = 3

export interface UploadOptions {
  readonly type: string
  /** Milliseconds for which a request is tried again while the store is away or busy. */
  readonly patienceMs: number
  /** Reads everything back, also where the server has a checksum of its own. */
  readonly alwaysReadBack: boolean
}

const UploadState = Schema.fromJsonString(
  Schema.Struct({
    key: Schema.String,
    uploadId: Schema.String,
    sha256: Schema.String,
    partBytes: Schema.Finite,
    /** Those that have arrived. */
    parts: Schema.Array(Schema.Struct({ number: Schema.Int, etag: Schema.String, sha256: Schema.String }))
  })
)
type UploadState = typeof UploadState.Type
const decodeState = Schema.decodeUnknownOption(UploadState)
const encodeState = Schema.encodeSync(UploadState)

/** What is to be sent. Parts are numbered from 1; checksums are in hexadecimal for us, and in base64 for the server. */
interface Content {
  readonly bytes: number
  readonly sha256: string
  readonly partBytes: number
  readonly parts: ReadonlyArray<{ readonly number: number; readonly sha256: string }>
  readonly readPart: (number: number) => Effect.Effect<Uint8Array, RecordingStorageError>
}

/** Again after 1, 2, 4, ... 30 seconds. */
const patiently = (patienceMs: number) => {
  const paced = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])
  const schedule = Schedule.upTo(Schedule.jittered(paced), { duration: patienceMs })
  return <A>(effect: Effect.Effect<A, DoorError>) =>
    Effect.retry(effect, { schedule, while: (error) => error._tag === "StoreUnreachable" })
}

/** Uploads a file, and proves it. What it noted beside the file is gone then; the file stays. */
export const uploadFile = Effect.fnUntraced(function* (
  door: S3Door,
  file: string,
  key: string,
  options: UploadOptions
): Effect.fn.Return<void, DoorError> {
  const noteFile = noteOf(file)
  const content = yield* fileContent(file)
  const again = patiently(options.patienceMs)
  yield* proven(door, key, content, options, () =>
    content.parts.length > 1
      ? sendParts(door, key, content, noteFile, options)
      : Effect.flatMap(content.readPart(1), (body) =>
          again(door.put(key, body, { sha256: base64(content.sha256), type: options.type }))
        )
  )
  yield* remove(noteFile)
})

/** Uploads what fits into one request, and proves it. */
export const uploadBytes = (
  door: S3Door,
  body: Uint8Array,
  key: string,
  options: UploadOptions
): Effect.Effect<void, DoorError> => {
  const sha256 = createHash("sha256").update(body).digest("hex")
  const content: Content = {
    bytes: body.length,
    sha256,
    partBytes: body.length,
    parts: [{ number: 1, sha256 }],
    readPart: () => Effect.succeed(body)
  }
  const again = patiently(options.patienceMs)
  return proven(door, key, content, options, () =>
    again(door.put(key, body, { sha256: base64(sha256), type: options.type }))
  )
}

/** Beside a staged file: what of it has arrived. */
export const noteOf = (file: string) => `${file}.upload`

/** Sends unless it is there already: a process may have been killed when all had arrived. */
const proven = Effect.fnUntraced(function* (
  door: S3Door,
  key: string,
  content: Content,
  options: UploadOptions,
  send: () => Effect.Effect<void, DoorError>
): Effect.fn.Return<void, DoorError> {
  const again = patiently(options.patienceMs)
  for (let sent = 0; ; sent++) {
    const found = yield* again(whatIsThere(door, key, content, options.alwaysReadBack))
    if (found === "same") return
    if (sent === sendAgain) {
      return yield* new RecordingStorageError({
        operation: "store",
        path: door.url(key),
        code: "ChecksumMismatch",
        detail: `sent ${sent} times, and each time what is there was ${found}: not the SHA-256 ${content.sha256}`
      })
    }
    yield* send()
  }
})

type There = "same" | "absent" | "something else"

const whatIsThere = Effect.fnUntraced(function* (
  door: S3Door,
  key: string,
  content: Content,
  alwaysReadBack: boolean
): Effect.fn.Return<There, DoorError> {
  const there = yield* door.head(key)
  if (there === undefined) return "absent"
  if (there.bytes !== content.bytes) return "something else"
  // One of parts has the SHA-256 of its parts' SHA-256. What is there may have come in other parts: then it is read.
  const same = content.parts.length > 1 ? ofParts(content) : base64(content.sha256)
  if (!alwaysReadBack && there.checksum === same) return "same"
  const found = yield* door.read(key, async (chunks) => {
    const hash = createHash("sha256")
    for await (const chunk of chunks) hash.update(chunk)
    return hash.digest("hex")
  })
  return found === undefined ? "absent" : found === content.sha256 ? "same" : "something else"
})

const sendParts = Effect.fnUntraced(function* (
  door: S3Door,
  key: string,
  content: Content,
  noteFile: string,
  { alwaysReadBack, patienceMs, type }: UploadOptions
): Effect.fn.Return<void, DoorError> {
  const again = patiently(patienceMs)
  const note = (state: UploadState) => replaceFile(noteFile, encodeState(state))
  const begin = Effect.gen(function* () {
    const uploadId = yield* again(door.beginUpload(key, type))
    const { partBytes, sha256 } = content
    const begun: UploadState = { key, uploadId, sha256, partBytes, parts: [] }
    yield* note(begun)
    return begun
  })
  const noted = yield* readNote(noteFile)
  const fits = noted?.key === key && noted.sha256 === content.sha256 && noted.partBytes === content.partBytes
  // Whatever else had begun there would be kept, and paid for, for ever.
  if (noted !== undefined && !fits) yield* Effect.ignore(door.abortUpload(noted.key, noted.uploadId))
  let state = fits ? noted : yield* begin

  yield* Effect.gen(function* () {
    const arrived = new Set(state.parts.map(({ number }) => number))
    for (const { number, sha256 } of content.parts) {
      if (arrived.has(number)) continue
      const body = yield* content.readPart(number)
      const part = { number, body, sha256: base64(sha256) }
      const { etag } = yield* again(door.uploadPart(key, state.uploadId, part))
      state = { ...state, parts: [...state.parts, { number, etag, sha256: part.sha256 }] }
      yield* note(state)
    }
    const inOrder = state.parts.toSorted((a, b) => a.number - b.number)
    // Where the answer alone was lost, not every server lets it be finished again.
    const isFinished = Effect.map(whatIsThere(door, key, content, alwaysReadBack), (it) => it === "same")
    yield* door.completeUpload(key, state.uploadId, inOrder).pipe(
      Effect.catchTag("StoreUnreachable", (error) =>
        Effect.flatMap(isFinished, (is) => (is ? Effect.void : Effect.fail(error)))
      ),
      again
    )
  }).pipe(
    // It is there already, and the answer was lost; or it expired, and is begun anew. A look at what is there tells.
    Effect.catchIf(isUploadGone, () => Effect.void)
  )
  // Done with, whatever is there now: the same upload must not be tried again.
  yield* remove(noteFile)
})

/** Undefined: nothing has begun. One that cannot be read, of a write cut short by hand, is as good as none. */
const readNote = (noteFile: string) =>
  Effect.map(readIfThere(noteFile), (bytes) => {
    const state = bytes === undefined ? undefined : decodeState(bytes.toString("utf8"))
    return state?._tag === "Some" ? state.value : undefined
  })

/** Those that the notes in a folder of staged files name. */
export const notedUploads = Effect.fnUntraced(function* (folder: string) {
  const names = (yield* list(folder)).filter((name) => name === noteOf(path.parse(name).name))
  const notes = yield* Effect.forEach(names, (name) => readNote(path.join(folder, name)))
  return notes.filter((note) => note !== undefined)
})

/** What has arrived of it is forgotten by the server. Never fails: what cannot be given up is kept and paid for, and said. */
export const giveUpUpload = (door: S3Door, { key, uploadId }: BegunUpload): Effect.Effect<void> =>
  door.abortUpload(key, uploadId).pipe(
    Effect.catchIf(isUploadGone, () => Effect.void),
    Effect.catch((error) =>
      Effect.logWarning(`what was begun to be uploaded of ${door.url(key)} stays in the bucket`, error)
    )
  )

/** Reads the file once. */
const fileContent = Effect.fnUntraced(function* (
  file: string
): Effect.fn.Return<Content, RecordingStorageError> {
  const { size: bytes } = yield* attempt("stat", file, () => fsp.stat(file))
  const partBytes = Math.max(leastPart, Math.ceil(bytes / mostParts))
  const readPart = (number: number) =>
    attempt("read", file, async () => {
      const handle = await fsp.open(file, "r")
      try {
        const from = (number - 1) * partBytes
        const part = Buffer.alloc(Math.min(partBytes, bytes - from))
        const { bytesRead } = await handle.read(part, 0, part.length, from)
        return part.subarray(0, bytesRead)
      } finally {
        await handle.close()
      }
    })
  const whole = createHash("sha256")
  const parts: Array<{ readonly number: number; readonly sha256: string }> = []
  for (let number = 1; number === 1 || (number - 1) * partBytes < bytes; number++) {
    const part = yield* readPart(number)
    whole.update(part)
    parts.push({ number, sha256: createHash("sha256").update(part).digest("hex") })
  }
  return { bytes, sha256: whole.digest("hex"), partBytes, parts, readPart }
})

const base64 = (hex: string): string => Buffer.from(hex, "hex").toString("base64")

const ofParts = ({ parts }: Content): string => {
  const hash = createHash("sha256")
  for (const { sha256 } of parts) hash.update(Buffer.from(sha256, "hex"))
  return `${hash.digest("base64")}-${parts.length}`
}
