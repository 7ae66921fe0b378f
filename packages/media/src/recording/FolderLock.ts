/**
 * A kernel lock on a folder, for the life of a scope: flock(2) on a descriptor of this process. It is refused to others also while
 * the holder is stopped, and free the moment the holder is dead, however it died.
 *
 * Node has no flock call, so flock(1) takes the lock on a descriptor it inherits: the lock belongs to the open file, which this
 * process keeps open. Local file systems only; on shared storage nothing here is promised.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { FolderHeld, RecordingStorageError } from "../MediaError.ts"
import { attempt, storageError } from "./internal/disk.ts"

export interface FolderLockOptions {
  /** Name of the lock file in the folder. */
  readonly name: string
  /** What the lock file shall say of its holder, for people. */
  readonly holder: Readonly<Record<string, string | number>>
  /** Seconds to wait for another holder to let go, then `FolderHeld`. Default 0: at once. `Infinity`: until interrupted. */
  readonly waitSeconds?: number
}

/** The folder must exist. The lock file is never removed while it is held: a removed one would lock nobody out. */
export const lockFolder = (
  folder: string,
  options: FolderLockOptions
): Effect.Effect<void, FolderHeld | RecordingStorageError, Scope.Scope> => {
  const file = path.join(folder, options.name)
  const once = Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      attempt("open", file, () => fsp.open(file, "a+")),
      (open) => Effect.promise(() => open.close())
    )
    if (!(yield* flock(file, handle.fd, options.waitSeconds ?? 0))) {
      const holder = yield* attempt("read", file, () => fsp.readFile(file, "utf8"))
      return yield* new FolderHeld({ folder, holder: holder.trim() })
    }
    // The former holder may have removed the folder between our open and our lock: then this locks a file without a name.
    const same = yield* attempt("stat", file, async () => {
      const [held, named] = await Promise.all([handle.stat(), fsp.stat(file).catch(() => undefined)])
      return named !== undefined && named.ino === held.ino && named.dev === held.dev
    })
    if (!same) return yield* new FolderHeld({ folder, holder: "a process that removed it" })
    yield* attempt("write", file, async () => {
      await handle.truncate(0)
      await handle.appendFile(`${JSON.stringify(options.holder)}\n`)
    })
  })
  return once
}

const conflict = 75

/** True: locked. False: somebody else has it. */
const flock = (file: string, fd: number, waitSeconds: number) =>
  Effect.callback<boolean, RecordingStorageError>((resume) => {
    const limit = waitSeconds === 0 ? ["-n"] : Number.isFinite(waitSeconds) ? ["-w", String(waitSeconds)] : []
    const args = [...limit, "-E", String(conflict), "3"]
    // In a session of its own: a Ctrl-C for the terminal's group shall not look like a failed lock.
    const child = spawn("flock", args, { stdio: ["ignore", "ignore", "ignore", fd], detached: true })
    child.once("error", (cause) => resume(Effect.fail(storageError("lock", file, cause))))
    child.once("exit", (code, signal) => {
      if (code === 0) return resume(Effect.succeed(true))
      if (code === conflict) return resume(Effect.succeed(false))
      return resume(Effect.fail(storageError("lock", file, `flock ended with ${signal ?? code}`)))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
