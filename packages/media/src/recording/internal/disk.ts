/**
 * The door to the file system: node:fs calls as Effects whose failures say operation, path and system code.
 *
 * `replaceFile` is what every small durable file goes through: after it, and after a power cut at any moment of it, the
 * path holds either the old bytes or the new ones.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { RecordingStorageError } from "../../MediaError.ts"

export const storageError = (operation: string, file: string, cause: unknown): RecordingStorageError =>
  new RecordingStorageError({
    operation,
    path: file,
    code: codeOf(cause) ?? "Unknown",
    detail: cause instanceof Error ? cause.message : String(cause)
  })

const codeOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined

export const attempt = <A>(
  operation: string,
  file: string,
  run: () => Promise<A>
): Effect.Effect<A, RecordingStorageError> =>
  Effect.tryPromise({ try: run, catch: (cause) => storageError(operation, file, cause) })

export const isAbsent = (error: RecordingStorageError): boolean => error.code === "ENOENT"

/** With what is missing above it. It may be there. */
export const makeFolder = (folder: string) => attempt("create", folder, () => makeFolders(folder))

/** Not node's `recursive`: where a folder is there and nothing can be made in it (`/proc`), that one tries for ever. */
const makeFolders = async (folder: string): Promise<void> => {
  const make = () =>
    fsp.mkdir(folder).catch(async (cause: unknown) => {
      const there = await fsp.stat(folder).catch(() => undefined)
      if (there?.isDirectory() !== true) throw cause
    })
  const parent = path.dirname(folder)
  await make().catch(async (cause: unknown) => {
    if (codeOf(cause) !== "ENOENT" || parent === folder) throw cause
    await makeFolders(parent)
    await make()
  })
}

/** The entries of a folder, sorted; none when it is not there. */
export const list = (folder: string): Effect.Effect<ReadonlyArray<string>, RecordingStorageError> =>
  attempt("list", folder, () => fsp.readdir(folder)).pipe(
    Effect.map((names) => names.toSorted()),
    Effect.catchIf(isAbsent, () => Effect.succeed([]))
  )

/** The content of a file, or undefined when it is not there. */
export const readIfThere = (file: string): Effect.Effect<Buffer | undefined, RecordingStorageError> =>
  attempt<Buffer | undefined>("read", file, () => fsp.readFile(file)).pipe(
    Effect.catchIf(isAbsent, () => Effect.succeed(undefined))
  )

/** The size of a file, or undefined when it is not there. */
export const sizeIfThere = (file: string): Effect.Effect<number | undefined, RecordingStorageError> =>
  attempt<number | undefined>("stat", file, async () => (await fsp.stat(file)).size).pipe(
    Effect.catchIf(isAbsent, () => Effect.succeed(undefined))
  )

export const remove = (target: string) =>
  attempt("remove", target, () => fsp.rm(target, { recursive: true, force: true }))

const sync = async (target: string): Promise<void> => {
  const handle = await fsp.open(target, fs.constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the names in a folder durable: a file that is synced in a folder that is not may be gone after a power cut. */
export const syncFolder = (folder: string) => attempt("sync", folder, () => sync(folder))

/** Moves a complete file to its final name in the same folder, durably: file, rename, folder. */
export const publishFile = (from: string, to: string) =>
  attempt("publish", to, async () => {
    await sync(from)
    await fsp.rename(from, to)
    await sync(path.dirname(to))
  })

export const replaceFile = Effect.fnUntraced(function* (file: string, content: string | Uint8Array) {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`)
  yield* attempt("write", temporary, () => fsp.writeFile(temporary, content))
  yield* publishFile(temporary, file)
})
