/**
 * A cluster that `ebb up` runs, in a folder of its own, and the command line as an operator uses it. Whatever was started in the folder is
 * ended by its pid when the test's scope closes, also when `ebb` itself was killed.
 */
import { layerNats } from "@ebb/actors"
import { type Instance, layerLocal, natsEndpoint, openCluster, Orchestrator } from "@ebb/deployer"
import { makeControlClient } from "@ebb/media/protocol"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { ebbNodeProgram } from "../support/ebbNode.ts"
import { type Program, startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"

export const ebbProgram = join(import.meta.dirname, "../../packages/deployer/src/bin/ebb.ts")

/** The command line of another build. */
export const ebbOf =
  (program: string) =>
  (...args: ReadonlyArray<string>) =>
    startProgram(process.execPath, [program, ...args], { env: { EBB_WORKERS: "1", EBB_STATE: undefined } })

export const ebb = ebbOf(ebbProgram)

type Line = Readonly<Record<string, unknown>>
export const jsonOf = (line: string): Line => {
  try {
    return JSON.parse(line) as Line
  } catch {
    return {}
  }
}

/** Runs a command to its end. */
export const ranBy =
  (program: typeof ebb) =>
  (...args: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const command = yield* program(...args)
      const { code } = yield* command.exited
      return {
        code,
        lines: command.lines,
        last: jsonOf(command.lines.findLast((line) => line.startsWith("{")) ?? "")
      }
    }).pipe(Effect.scoped)

export const ran = ranBy(ebb)

/** The first line of that type, and of those fields. */
export const saysJson = (command: Program, type: string, fields: Line = {}) =>
  Effect.map(
    until(
      Effect.sync(() =>
        command.lines
          .map(jsonOf)
          .find(
            (line) =>
              line["type"] === type && Object.entries(fields).every(([key, value]) => line[key] === value)
          )
      ),
      (line) => line !== undefined || !command.isRunning()
    ),
    (line) => {
      if (line === undefined) throw new Error(`no ${type} in:\n${command.lines.join("\n")}`)
      return line
    }
  )

export interface EbbCluster {
  readonly folder: string
  readonly up: Program
  readonly upAgain: Effect.Effect<Program, never, Scope.Scope>
  readonly call: Effect.Success<ReturnType<typeof makeControlClient>>["call"]
  readonly instances: Effect.Effect<ReadonlyArray<Instance>>
  /** `ebb rollout --json` with these. */
  readonly rollout: (...args: ReadonlyArray<string>) => Effect.Effect<Program, never, Scope.Scope>
  /** How often an instance says that it was signalled. */
  readonly signalsOf: (instance: string) => Effect.Effect<number>
}

/** The pids of nats-servers that were started in a state folder, the last one last. */
const serversOf = Effect.fnUntraced(function* (folder: string) {
  const runs = join(folder, "nats/runs")
  const names = yield* Effect.promise(() => readdir(runs).catch(() => []))
  const files = yield* Effect.forEach(
    names.toSorted((a, b) => Number(a) - Number(b)),
    (run) => Effect.promise(() => readFile(join(runs, run, "pid.json"), "utf8").catch(() => "{}"))
  )
  return files.map((file) => jsonOf(file)["pid"]).filter((pid) => typeof pid === "number")
})

export const serverOf = (folder: string) => Effect.map(serversOf(folder), (pids) => pids.at(-1) ?? 0)

const endAll = Effect.fnUntraced(function* (folder: string) {
  const orchestrator = yield* Effect.provide(
    Orchestrator,
    layerLocal({ instances: join(folder, "instances"), releases: "" })
  )
  for (const { instance, state } of yield* orchestrator.list) {
    yield* orchestrator.kill(instance)
    if (state._tag !== "Starting") yield* orchestrator.ended(instance)
  }
  for (const pid of yield* serversOf(folder))
    yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGKILL")))
}, Effect.orDie)

/** The command line of a node that works. */
export const nodeCommand = [process.execPath, ebbNodeProgram] as const

/** A state folder with a releases file. Whatever is started in it is ended with the test. */
export const stateFolder = Effect.fnUntraced(function* (
  commands: Readonly<Record<string, ReadonlyArray<string>>>
): Effect.fn.Return<string, never, Scope.Scope> {
  const folder = yield* temporaryFolder
  const versions = Object.fromEntries(
    Object.entries(commands).map(([version, command]) => [version, { command }])
  )
  yield* Effect.promise(() => writeFile(join(folder, "releases.json"), JSON.stringify({ versions })))
  yield* Effect.addFinalizer(() => endAll(folder))
  return folder
})

export const ebbCluster = Effect.fnUntraced(function* (
  nodes: number,
  commands: Readonly<Record<string, ReadonlyArray<string>>> = {},
  /** Who runs `up`, and with which version. */
  { program = ebb, version = "v1" }: { readonly program?: typeof ebb; readonly version?: string } = {}
): Effect.fn.Return<EbbCluster, never, Scope.Scope> {
  const folder = yield* stateFolder({ v1: nodeCommand, v2: nodeCommand, ...commands })
  const state = ["--state", folder, "--json"]
  const upAgain = Effect.gen(function* () {
    const up = yield* program("up", ...state, "--nodes", String(nodes), "--version", version)
    yield* saysJson(up, "Ready", { nodes })
    return up
  })
  const up = yield* upAgain

  const cluster = yield* Effect.orDie(openCluster(folder))
  const endpoint = yield* Effect.orDie(natsEndpoint(cluster, "control"))
  const nats = layerNats({
    ...endpoint,
    cluster: cluster.name,
    name: "tester",
    inboxPrefix: `${endpoint.inboxPrefix}.tester`
  })
  const services = yield* Layer.build(nats).pipe(
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.orDie
  )
  const { call } = yield* Effect.provideContext(makeControlClient(cluster.name), services)
  const orchestrator = yield* Effect.orDie(Effect.provide(Orchestrator, layerLocal(cluster)))
  return {
    folder,
    up,
    upAgain,
    call,
    instances: Effect.orDie(orchestrator.list),
    rollout: (...args) => ebb("rollout", ...state, ...args),
    signalsOf: (instance) =>
      Effect.promise(() => readFile(join(folder, "instances", instance, "log"), "utf8")).pipe(
        Effect.map(
          (log) => log.split("\n").filter((line) => /SIGTERM: (draining|evacuating)/.test(line)).length
        )
      )
  }
}, Effect.orDie)
