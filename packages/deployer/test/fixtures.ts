/**
 * A state folder of its own for each test, with instances that are real processes. Whatever was started in it is ended
 * by its pid when the test's scope closes, also when the test failed.
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { awaitEnd, awaitStarted, observe, signalProcess } from "../src/internal/detachedProcess.ts"
import { readJsonFile } from "../src/internal/stateFile.ts"
import { layerLocal } from "../src/orchestrators/local.ts"
import { Orchestrator } from "../src/Orchestrator.ts"

const program = (name: string) => path.join(import.meta.dirname, "programs", name)

export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(os.tmpdir(), "ebb-deployer-"))),
  (folder) =>
    Effect.gen(function* () {
      const groups = ["instances", path.join("nats", "runs")].map((name) => path.join(folder, name))
      for (const group of groups) {
        for (const name of yield* Effect.promise(() => readdir(group).catch(() => []))) {
          yield* endProcess(path.join(group, name))
        }
      }
      yield* Effect.promise(() => rm(folder, { recursive: true, force: true }))
    }).pipe(Effect.orDie)
)

const endProcess = Effect.fnUntraced(function* (folder: string) {
  yield* signalProcess(folder, "SIGKILL")
  if ((yield* observe(folder))._tag !== "Starting") yield* awaitEnd(folder)
})

/** `kill -9`, so many milliseconds after that file is there in the instance's folder. */
export interface KillMoment {
  readonly file: string
  readonly afterMillis: number
}

export interface Stage {
  readonly folder: string
  readonly instances: string
  readonly releases: string
  readonly orchestrator: (typeof Orchestrator)["Service"]
  readonly folderOf: (instance: string) => string
  /** Writes the releases file anew. v1 is `patient.ts` from the start. */
  readonly release: (versions: Record<string, ReadonlyArray<string>>) => Effect.Effect<void>
  /** The lines the instances of v1 have written: `up`, and `SIGTERM` for each signal they got. */
  readonly journal: Effect.Effect<ReadonlyArray<string>>
  /** Runs a `command.ts` to its end, or to the moment at which it is killed. What it printed. */
  readonly inOtherProcess: (
    verb: "start" | "signal",
    instance: string,
    kill?: KillMoment
  ) => Effect.Effect<ReadonlyArray<string>>
}

export const makeStage = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const instances = path.join(folder, "instances")
  const releases = path.join(folder, "releases.json")
  const journalFile = path.join(folder, "journal")
  const release: Stage["release"] = (versions) =>
    Effect.promise(() =>
      writeFile(
        releases,
        JSON.stringify({
          versions: Object.fromEntries(Object.entries(versions).map(([name, command]) => [name, { command }]))
        })
      )
    )
  yield* release({ v1: [process.execPath, program("patient.ts"), journalFile] })
  const orchestrator = yield* Effect.provide(Orchestrator, layerLocal({ instances, releases }))
  const stage: Stage = {
    folder,
    instances,
    releases,
    orchestrator,
    release,
    folderOf: (instance) => path.join(instances, instance),
    journal: Effect.promise(() => readFile(journalFile, "utf8").catch(() => "")).pipe(
      Effect.map((text) => text.split("\n").filter((line) => line !== ""))
    ),
    inOtherProcess: (verb, instance, kill) =>
      runCommand(
        [program("command.ts"), verb, instances, releases, instance],
        kill && { ...kill, file: path.join(instances, instance, kill.file) }
      )
  }
  return stage
})

const runCommand = (args: ReadonlyArray<string>, kill: KillMoment | undefined) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    const killed = () => child.kill("SIGKILL")
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk))
    // Looks as often as it can: what is to be hit lasts less than a millisecond.
    const watch = () => {
      if (child.exitCode !== null || child.signalCode !== null || kill === undefined) return
      if (!existsSync(kill.file)) setImmediate(watch)
      else if (kill.afterMillis === 0) killed()
      else setTimeout(killed, kill.afterMillis)
    }
    watch()
    child.once("close", () => resume(Effect.succeed(output.split("\n").filter((line) => line !== ""))))
    return Effect.sync(killed)
  })

const readPids = readJsonFile(
  Schema.Struct({ pid: Schema.Int, startTime: Schema.Int, wrapper: Schema.Struct({ pid: Schema.Int }) })
)

/** The pids of an instance and its wrapper, once they are known. */
export const pidsOf = Effect.fnUntraced(function* (folder: string) {
  yield* awaitStarted(folder)
  const pids = yield* readPids(path.join(folder, "pid.json"))
  return { pid: Option.getOrThrow(pids).pid, wrapper: Option.getOrThrow(pids).wrapper.pid }
})

/** Waits for a state that another process brings about; the test's time limit is the limit. */
export const until = Effect.fnUntraced(function* <A, E, R>(
  look: Effect.Effect<A, E, R>,
  reached: (value: A) => boolean
): Effect.fn.Return<A, E, R> {
  while (true) {
    const value = yield* look
    if (reached(value)) return value
    yield* Effect.sleep(5)
  }
})

/** The instance has started, so its signal handlers are in place. */
export const untilUp = (stage: Stage, count = 1) =>
  until(stage.journal, (lines) => lines.filter((line) => line.startsWith("up")).length >= count)

export const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
