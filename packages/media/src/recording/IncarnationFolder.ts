/**
 * One process incarnation's folder of recordings, and who may touch it: only the holder of its lock. A living process holds
 * the lock of its own; whoever gets the lock of another folder knows that its process is dead and may finish what it left. So a
 * new node beside a living one takes nothing.
 *
 *     <dataDir>/incarnations/<incarnation>/lock
 *     <dataDir>/incarnations/<incarnation>/<recordingId>/{manifest.json, journal.ebbj, receipt.json}
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { FolderHeld } from "../MediaError.ts"
import { RecordingStorageError } from "../MediaError.ts"
import { lockFolder } from "./FolderLock.ts"
import { attempt, isAbsent, list, makeFolder, readIfThere, syncFolder } from "./internal/disk.ts"
import { journalName } from "./JournalFormat.ts"
import { manifestName } from "./Manifest.ts"
import { receiptName } from "./Receipt.ts"

const lockName = "lock"

const now = Effect.map(DateTime.now, DateTime.formatIso)

export interface IncarnationFolder {
  readonly path: string
  readonly incarnation: string
  /** Where the part of this recording is, or is to be; the folder need not exist. */
  readonly partFolder: (recordingId: string) => string
  /** The folders of all parts, sorted. */
  readonly parts: Effect.Effect<ReadonlyArray<string>, RecordingStorageError>
}

const incarnationsFolder = (dataDir: string) => path.join(dataDir, "incarnations")

const folderAt = (folder: string): IncarnationFolder => ({
  path: folder,
  incarnation: path.basename(folder),
  partFolder: (recordingId) => path.join(folder, recordingId),
  parts: partsOf(folder)
})

const foldersOf = (folder: string): Effect.Effect<ReadonlyArray<string>, RecordingStorageError> =>
  attempt("list", folder, () => fsp.readdir(folder, { withFileTypes: true })).pipe(
    Effect.map((entries) =>
      entries
        .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
        .map((entry) => path.join(folder, entry.name))
        .toSorted()
    ),
    Effect.catchIf(isAbsent, () => Effect.succeed([]))
  )

/** The part folders under an incarnation folder; reading them needs no lock, touching them does. */
export const partsOf = foldersOf

/** All incarnation folders under a data folder, sorted. What else is there is left alone: see `listForeign`. */
export const listIncarnations = (dataDir: string) =>
  Effect.flatMap(foldersOf(incarnationsFolder(dataDir)), Effect.filter(isIncarnation))

/** The folders among the incarnations that no process of Ebb has made, sorted, without empty ones: they may be about to be one. */
export const listForeign = (dataDir: string) =>
  Effect.flatMap(
    foldersOf(incarnationsFolder(dataDir)),
    Effect.filter((folder) =>
      Effect.flatMap(isIncarnation(folder), (ours) =>
        ours ? Effect.succeed(false) : Effect.map(list(folder), (names) => names.length > 0)
      )
    )
  )

/**
 * It has its lock, or, copied from elsewhere without it, a part. Told without touching it: to lock a folder is to write into it. Of one that
 * cannot be read somebody has to hear.
 */
const isIncarnation = (folder: string): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const lock = yield* readIfThere(path.join(folder, lockName))
    // Empty, or a line of JSON: what a lock's holder writes.
    if (lock !== undefined && lock.length < 4096 && /^(\{.*\}\n)?$/.test(lock.toString("utf8"))) return true
    for (const part of yield* partsOf(folder)) {
      if ((yield* list(part)).some((name) => ofParts.has(name))) return true
    }
    return false
  }).pipe(Effect.orElseSucceed(() => true))

/** Whether a folder is a part's. One without anything is, too: its process died when it had just made it. */
export const isPart = (folder: string) =>
  Effect.map(list(folder), (names) => names.length === 0 || names.some((name) => ofParts.has(name)))

const ofParts: ReadonlySet<string> = new Set([journalName, manifestName, receiptName])

/** How long a disk may take to make a folder, in milliseconds. A mount whose server is gone never answers. */
const answerMs = 15_000

/** Creates and locks this process's own folder, until the scope closes. */
export const acquire = (
  dataDir: string,
  identity: { readonly incarnation: string; readonly nodeId: string }
): Effect.Effect<IncarnationFolder, FolderHeld | RecordingStorageError, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = path.join(incarnationsFolder(dataDir), identity.incarnation)
    yield* Effect.timeoutOrElse(makeFolder(folder), {
      duration: answerMs,
      orElse: () =>
        Effect.fail(
          new RecordingStorageError({
            operation: "create",
            path: folder,
            code: "ETIMEDOUT",
            detail: `no answer in ${answerMs / 1000} s; is it on a mount that is gone?`
          })
        )
    })
    // Somebody who looks for remains may hold a new folder for the moment it takes to see that it is empty: hence the wait.
    yield* lockFolder(folder, {
      name: lockName,
      holder: { nodeId: identity.nodeId, pid: process.pid, started: yield* now },
      waitSeconds: 10
    })
    yield* syncFolder(path.dirname(folder))
    return folderAt(folder)
  }).pipe(Effect.retry({ times: 3, while: (error) => error._tag === "FolderHeld" }))

/** Locks the folder of a dead process until the scope closes, or fails at once with `FolderHeld`: its process lives. */
export const tryAdopt = (
  folder: string
): Effect.Effect<IncarnationFolder, FolderHeld | RecordingStorageError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* lockFolder(folder, {
      name: lockName,
      holder: { adoptedBy: process.pid, started: yield* now }
    })
    return folderAt(folder)
  })
