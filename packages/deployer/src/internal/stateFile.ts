/**
 * The door to files that must survive a crash: small, private (0600, in folders of 0700), JSON.
 *
 * A file is whole or absent: it is written beside, synced, then put under its name, and the folder is synced too. So a
 * reader in another process never sees half a file, and what was returned from here is still there after power loss.
 */
import { randomBytes } from "node:crypto"
import { link, mkdir, open, readFile, rename, rm } from "node:fs/promises"
import path from "node:path"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { StateUnreadable } from "../DeployError.ts"

/** Node's error code, such as `ENOENT`. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined

const fileEffect = <A>(file: string, run: () => Promise<A>): Effect.Effect<A, StateUnreadable> =>
  Effect.tryPromise({
    try: run,
    catch: (error) =>
      new StateUnreadable({ path: file, problem: error instanceof Error ? error.message : String(error) })
  })

/** Creates the folder and those above it, closed to other users. */
export const ensureFolder = (folder: string): Effect.Effect<void, StateUnreadable> =>
  fileEffect(folder, () => mkdir(folder, { recursive: true, mode: 0o700 })).pipe(Effect.asVoid)

/** Puts `text` under `file`, in place of what was there. */
export const replaceFile = (file: string, text: string): Effect.Effect<void, StateUnreadable> =>
  fileEffect(file, async () => {
    await withSyncedCopy(file, text, (copy) => rename(copy, file))
    await syncFolder(path.dirname(file))
  })

/**
 * Puts `text` under `file` unless something is there; true for exactly one of any number of callers in any number of
 * processes. It rests on link(2), which is atomic and never replaces.
 */
export const createFileOnce = (file: string, text: string): Effect.Effect<boolean, StateUnreadable> =>
  fileEffect(file, async () => {
    const created = await withSyncedCopy(file, text, (copy) =>
      link(copy, file).then(
        () => true,
        (error: unknown) => {
          if (errorCode(error) === "EEXIST") return false
          throw error
        }
      )
    )
    // The loser syncs too: it may act on the winner's file before the winner has come this far.
    await syncFolder(path.dirname(file))
    return created
  })

/** The decoded content; none when there is no such file. */
export const readJsonFile = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return (file: string): Effect.Effect<Option.Option<S["Type"]>, StateUnreadable> =>
    fileEffect(file, () =>
      readFile(file, "utf8").catch((error: unknown) => {
        if (errorCode(error) === "ENOENT") return undefined
        throw error
      })
    ).pipe(
      Effect.flatMap((text) => (text === undefined ? Effect.succeedNone : Effect.asSome(decode(text)))),
      Effect.catchTag("SchemaError", (error) =>
        Effect.fail(
          new StateUnreadable({ path: file, problem: `not what Ebb writes there: ${error.message}` })
        )
      )
    )
}

const withSyncedCopy = async <A>(file: string, text: string, use: (copy: string) => Promise<A>) => {
  const copy = `${file}.${randomBytes(6).toString("hex")}.tmp`
  try {
    const handle = await open(copy, "wx", 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    return await use(copy)
  } finally {
    await rm(copy, { force: true })
  }
}

const syncFolder = async (folder: string) => {
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
