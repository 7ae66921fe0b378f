/**
 * A process that outlives whoever started it, known by a folder: launch it, observe it, follow it to its end, signal it.
 *
 * Files in the folder: `wrapper.sh`, `lock` (held while the wrapper lives), `pid.json`, `exit.json`, `log`. One folder
 * runs at most one process, once: launching again is harmless at any moment, and never restarts what has ended.
 * Leaves to its callers what the process is, and when it may be signalled.
 * Whoever opens such a folder first makes sure that the machine has a boot id (`procfs`).
 */
import { spawn } from "node:child_process"
import { open } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { SignalRefused, StateUnreadable } from "../DeployError.ts"
import type { InstanceEnd } from "../Orchestrator.ts"
import { InstanceState } from "../Orchestrator.ts"
import { bootId, isAlive } from "./procfs.ts"
import { createFileOnce, ensureFolder, errorCode, readJsonFile } from "./stateFile.ts"
import { wrapperScript } from "./wrapperScript.ts"

export interface Launch {
  readonly folder: string
  /** The program and its arguments. Shown by `ps` to every user. */
  readonly command: ReadonlyArray<string>
  readonly cwd: string
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string | undefined>>
}

const ProcessId = Schema.Struct({ pid: Schema.Int, startTime: Schema.Int })
const readPid = readJsonFile(
  Schema.Struct({ ...ProcessId.fields, bootId: Schema.String, wrapper: ProcessId })
)
const readExit = readJsonFile(Schema.Struct({ code: Schema.Int }))

const pidFile = (folder: string) => path.join(folder, "pid.json")
const exitFile = (folder: string) => path.join(folder, "exit.json")
export const logFile = (folder: string) => path.join(folder, "log")

/** What is read of a log's end. */
const tailBytes = 8192

/** The last lines that a process has said, for people; none where there is no log. */
export const lastLines = (log: string, count: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.tryPromise(async () => {
    const handle = await open(log, "r")
    try {
      const { size } = await handle.stat()
      const start = Math.max(0, size - tailBytes)
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(tailBytes), 0, tailBytes, start)
      return buffer.toString("utf8", 0, bytesRead)
    } finally {
      await handle.close()
    }
  }).pipe(
    Effect.map((text) =>
      text
        .split("\n")
        .filter((line) => line.trim() !== "")
        .slice(-count)
    ),
    Effect.orElseSucceed(() => [])
  )

/** Starts the wrapper in a session of its own. The process itself comes a moment later: `awaitStarted`. */
export const launch = Effect.fnUntraced(function* (options: Launch) {
  const wrapper = path.join(options.folder, "wrapper.sh")
  yield* ensureFolder(options.folder)
  yield* createFileOnce(wrapper, wrapperScript)
  yield* Effect.tryPromise({
    try: async () => {
      const log = await open(logFile(options.folder), "a", 0o600)
      try {
        await new Promise<void>((resolve, reject) => {
          const child = spawn("/bin/sh", [wrapper, "run", options.folder, ...options.command], {
            cwd: options.cwd,
            env: options.env,
            detached: true,
            stdio: ["ignore", log.fd, log.fd]
          })
          child.once("error", reject)
          child.once("spawn", () => {
            child.unref()
            resolve()
          })
        })
      } finally {
        await log.close()
      }
    },
    catch: (error) =>
      new StateUnreadable({
        path: options.folder,
        // spawn reports a missing working directory as a missing program.
        problem: `no process could be started in ${options.cwd}: ${errorCode(error) ?? String(error)}`
      })
  })
})

/** The state now. A look costs some tens of microseconds and starts nothing. */
export const observe = Effect.fnUntraced(function* (
  folder: string
): Effect.fn.Return<InstanceState, StateUnreadable> {
  const before = yield* readExit(exitFile(folder))
  if (Option.isSome(before)) return exited(before.value.code)
  const found = yield* readPid(pidFile(folder))
  if (Option.isNone(found)) return InstanceState.Starting()
  const { pid, startTime, wrapper } = found.value
  if (found.value.bootId !== (yield* Effect.orDie(bootId)))
    return InstanceState.Vanished({ cause: "machine-restarted" })
  if (isAlive({ pid, startTime })) return InstanceState.Running({ pid, startTime })
  if (isAlive(wrapper)) return InstanceState.Exiting({ pid, startTime })
  // Only now that the wrapper is gone is a missing exit.json final: it may have written it since the first look.
  const after = yield* readExit(exitFile(folder))
  return Option.match(after, {
    onNone: () => InstanceState.Vanished({ cause: "wrapper-lost" }),
    onSome: ({ code }) => exited(code)
  })
})

const exited = (code: number): InstanceState => {
  const signal = signalNames.get(code - 128)
  return InstanceState.Exited(signal === undefined ? { code } : { code, signal })
}

const signalNames = new Map(
  Object.entries(os.constants.signals).map(([name, number]) => [number, name as NodeJS.Signals])
)

export const isEnd = (state: InstanceState): state is InstanceEnd =>
  state._tag === "Exited" || state._tag === "Vanished"

/** Returns once a process is known, in whatever state. Waits for ever when nobody launches: give it a time limit. */
export const awaitStarted = (folder: string) =>
  awaitState(
    folder,
    (state): state is Exclude<InstanceState, { _tag: "Starting" }> => state._tag !== "Starting",
    5
  )

/** Returns the end, now or when it comes. */
export const awaitEnd = (folder: string) => awaitState(folder, isEnd, 50)

// Looks again and again: a pidfd or an inotify would need native code, and neither tells of a wrapper killed.
const awaitState = Effect.fnUntraced(function* <S extends InstanceState>(
  folder: string,
  reached: (state: InstanceState) => state is S,
  intervalMillis: number
): Effect.fn.Return<S, StateUnreadable> {
  while (true) {
    const state = yield* observe(folder)
    if (reached(state)) return state
    yield* Effect.sleep(intervalMillis)
  }
})

/**
 * Signals that process and no other; false when it is gone.
 *
 * The look and the kill are one turn of the event loop. Between them the pid could only be reused if the process ended
 * and the kernel, which gives pids out in turn, came round all of them within those microseconds.
 */
export const signalProcess = Effect.fnUntraced(function* (
  folder: string,
  signal: NodeJS.Signals
): Effect.fn.Return<boolean, StateUnreadable | SignalRefused> {
  const state = yield* observe(folder)
  if (state._tag !== "Running") return false
  return yield* Effect.try({
    try: () => isAlive(state) && process.kill(state.pid, signal),
    catch: (error) => new SignalRefused({ pid: state.pid, signal, code: errorCode(error) ?? String(error) })
  }).pipe(
    Effect.catchIf(
      (error) => error.code === "ESRCH",
      () => Effect.succeed(false)
    )
  )
})
