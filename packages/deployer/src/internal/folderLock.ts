/**
 * A kernel lock on a file for as long as this process lives or the scope is open, whichever ends first.
 *
 * flock(2) on a descriptor of ours, taken by flock(1) on its inherited copy: Node has no call for it. It is refused to
 * others also while the holder is stopped, and free the moment the holder is killed. Children do not inherit it.
 */
import { spawn } from "node:child_process"
import type { FileHandle } from "node:fs/promises"
import { open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { PlatformUnsupported, StateUnreadable } from "../DeployError.ts"
import type { ProcessId } from "./procfs.ts"
import { isAlive, startTimeOf } from "./procfs.ts"

/** Busy: `holder` is unknown in the instant between its taking the lock and its writing its name into the file. */
export interface LockBusy {
  readonly holder: Option.Option<number>
}

/** Takes the lock, or says at once who has it. The file stays: removing it would let two processes lock two files. */
export const acquireLock = Effect.fnUntraced(function* (file: string) {
  const handle = yield* Effect.acquireRelease(
    atFile(file, () => open(file, "a+", 0o600)),
    (open) => Effect.promise(() => open.close().catch(() => {}))
  )
  const locked = yield* flock(file, handle)
  if (!locked) return Result.fail<LockBusy>({ holder: yield* readHolder(file, handle) })
  const self: ProcessId = { pid: process.pid, startTime: startTimeOf(process.pid) ?? 0 }
  yield* atFile(file, async () => {
    await handle.truncate(0)
    await handle.write(JSON.stringify(self))
  })
  return Result.succeed<void>(undefined)
})

const flock = (file: string, handle: FileHandle) =>
  Effect.callback<boolean, StateUnreadable | PlatformUnsupported>((resume) => {
    const child = spawn("flock", ["--nonblock", "--conflict-exit-code", "75", "3"], {
      stdio: ["ignore", "ignore", "ignore", handle.fd]
    })
    child.once("error", () => resume(Effect.fail(new PlatformUnsupported({ missing: "the program flock" }))))
    child.once("exit", (code) =>
      resume(
        code === 0 || code === 75
          ? Effect.succeed(code === 0)
          : Effect.fail(
              new StateUnreadable({ path: file, problem: `cannot be locked (flock ended with ${code})` })
            )
      )
    )
  })

const decodeHolder = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ pid: Schema.Int, startTime: Schema.Int }))
)

const readHolder = (file: string, handle: FileHandle) =>
  atFile(file, () => handle.read(Buffer.alloc(256), 0, 256, 0)).pipe(
    Effect.map(({ bytesRead, buffer }) =>
      decodeHolder(buffer.toString("utf8", 0, bytesRead)).pipe(
        // The name of the holder before, when the one of now has not written its own yet.
        Option.filter(isAlive),
        Option.map(({ pid }) => pid)
      )
    )
  )

const atFile = <A>(file: string, run: () => Promise<A>) =>
  Effect.tryPromise({
    try: run,
    catch: (error) => new StateUnreadable({ path: file, problem: String(error) })
  })
