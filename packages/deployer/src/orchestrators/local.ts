/**
 * Instances as processes of this machine, each known by a folder `instances/<instance>`: spec.json, and what
 * `detachedProcess` and `signalMark` keep there. They outlive the command that started them, and any later process
 * lists, follows and drains them from those files alone.
 *
 * Holds no state of its own in memory. Leaves removing the folders of ended instances to people.
 */
import { readdir } from "node:fs/promises"
import path from "node:path"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { findRelease, readReleases, releaseFolder } from "../cluster/releases.ts"
import {
  InstanceConflict,
  InstanceNotRunning,
  InstanceNotStarted,
  StateUnreadable,
  UnknownInstance
} from "../DeployError.ts"
import {
  awaitEnd,
  awaitStarted,
  launch,
  logFile,
  observe,
  signalProcess
} from "../internal/detachedProcess.ts"
import { checkName, isName, nameSchema } from "../internal/names.ts"
import { bootId } from "../internal/procfs.ts"
import { markIntent, markSent, readSignalled } from "../internal/signalMark.ts"
import { createFileOnce, ensureFolder, errorCode, readJsonFile } from "../internal/stateFile.ts"
import type { Instance, StartRequest } from "../Orchestrator.ts"
import { Orchestrator, SignalOutcome } from "../Orchestrator.ts"

export interface LocalOptions {
  /** The folder that holds a folder for each instance. Made when missing. */
  readonly instances: string
  /** The releases file; read at each first start of an instance. */
  readonly releases: string
}

/** What was asked for, and stays so: a release edited later does not change what a repeated start takes up. */
const Spec = Schema.Struct({
  instance: nameSchema,
  version: nameSchema,
  command: Schema.NonEmptyArray(Schema.String),
  cwd: Schema.String,
  /** The release's own. Not the request's: that may hold secrets. */
  env: Schema.Record(Schema.String, Schema.String)
})
type Spec = typeof Spec.Type
const readSpecFile = readJsonFile(Spec)

const startTimeout = "10 seconds"

const make = Effect.fnUntraced(function* (options: LocalOptions) {
  // Says at once, not at the first look, that this is no Linux.
  yield* bootId

  const folderOf = (instance: string) => path.join(options.instances, instance)
  const readSpec = (instance: string) => readSpecFile(path.join(folderOf(instance), "spec.json"))

  const knownFolder = Effect.fnUntraced(function* (instance: string) {
    const spec = isName(instance) ? yield* readSpec(instance) : Option.none()
    return Option.isSome(spec) ? folderOf(instance) : yield* new UnknownInstance({ instance })
  })

  const describe = Effect.fnUntraced(function* (spec: Spec) {
    const folder = folderOf(spec.instance)
    // The mark before the state: a mark that is seen with a state was there when the state was.
    const signalled = yield* readSignalled(folder)
    const state = yield* observe(folder)
    const { instance, version } = spec
    return { instance, version, state, signalled, log: logFile(folder) } satisfies Instance
  })

  /** The spec under that name: what was there, or else what is asked for now. */
  const claimName = Effect.fnUntraced(function* (request: StartRequest) {
    const existing = yield* readSpec(request.instance)
    if (Option.isSome(existing)) return existing.value
    const releases = yield* readReleases(options.releases)
    const release = yield* findRelease(releases, request.version)
    const [program, ...args] = release.command
    const spec: Spec = {
      instance: request.instance,
      version: request.version,
      command: [program, ...args, ...(request.args ?? [])],
      cwd: releaseFolder(releases),
      env: release.env ?? {}
    }
    yield* ensureFolder(folderOf(request.instance))
    yield* createFileOnce(path.join(folderOf(request.instance), "spec.json"), JSON.stringify(spec))
    // Not necessarily ours: another process may have been first.
    return Option.getOrElse(yield* readSpec(request.instance), () => spec)
  })

  const start = Effect.fnUntraced(function* (request: StartRequest) {
    yield* checkName("instance", request.instance)
    yield* checkName("version", request.version)
    const spec = yield* claimName(request)
    const { instance, version, command, cwd } = spec
    if (version !== request.version) {
      return yield* new InstanceConflict({ instance, existing: version, asked: request.version })
    }
    const folder = folderOf(instance)
    const notStarted = (problem: string) =>
      new InstanceNotStarted({ instance, problem, log: logFile(folder) })
    if ((yield* observe(folder))._tag === "Starting") {
      yield* launch({ folder, command, cwd, env: { ...process.env, ...spec.env, ...request.env } }).pipe(
        Effect.mapError((error) => notStarted(error.problem))
      )
      yield* awaitStarted(folder).pipe(
        Effect.timeoutOrElse({
          duration: startTimeout,
          orElse: () => Effect.fail(notStarted(`no process after ${startTimeout}`))
        })
      )
    }
    return yield* describe(spec)
  })

  // Interrupted between mark and kill, it would leave an intent for no reason.
  const signalOnce = (instance: string, signal: "SIGTERM") =>
    Effect.uninterruptible(signalOnceInterruptible(instance, signal))

  const signalOnceInterruptible = Effect.fnUntraced(function* (instance: string, signal: "SIGTERM") {
    const folder = yield* knownFolder(instance)
    const before = yield* readSignalled(folder)
    if (before !== "no") return SignalOutcome.AlreadySignalled({ signalled: before })
    const state = yield* observe(folder)
    if (state._tag !== "Running") return yield* new InstanceNotRunning({ instance, state: state._tag })
    if (!(yield* markIntent(folder, signal))) {
      return SignalOutcome.AlreadySignalled({
        signalled: (yield* readSignalled(folder)) === "sent" ? "sent" : "intent"
      })
    }
    if (!(yield* signalProcess(folder, signal))) {
      const now = yield* observe(folder)
      return yield* new InstanceNotRunning({ instance, state: now._tag === "Running" ? "Exiting" : now._tag })
    }
    yield* markSent(folder, signal)
    return SignalOutcome.Signalled()
  })

  const kill = Effect.fnUntraced(function* (instance: string) {
    return yield* signalProcess(yield* knownFolder(instance), "SIGKILL")
  })

  const list = Effect.gen(function* () {
    const names = yield* Effect.tryPromise({
      try: () =>
        readdir(options.instances).catch((error: unknown) => {
          if (errorCode(error) === "ENOENT") return []
          throw error
        }),
      catch: (error) => new StateUnreadable({ path: options.instances, problem: String(error) })
    })
    // A folder without spec.json is of a starter killed on its first step: nothing ever ran in it.
    const specs = yield* Effect.forEach(names.filter(isName).toSorted(), readSpec)
    return yield* Effect.forEach(specs.flatMap(Option.toArray), describe)
  })

  const ended = Effect.fnUntraced(function* (instance: string) {
    return yield* awaitEnd(yield* knownFolder(instance))
  })

  return Orchestrator.of({ start, signalOnce, kill, list, ended })
})

/** The orchestrator of this machine's processes. */
export const layerLocal = (options: LocalOptions) => Layer.effect(Orchestrator, make(options))
