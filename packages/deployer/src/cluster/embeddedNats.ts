/**
 * A cluster's own nats-server: on loopback, with generated passwords, JetStream and a store that lasts.
 *
 *     nats/credentials.json   made once               nats/jetstream/   the store
 *     nats/endpoint.json      the port, once ready    nats/store.lock   held by the server
 *     nats/runs/<n>/          its processes, one after the other, each with its own nats.conf
 *
 * It outlives its starter: whoever claims the cluster next adopts it. Two servers on one store are impossible, whatever
 * these files say: the server itself holds the kernel's lock on store.lock for as long as it lives.
 */
import { randomBytes } from "node:crypto"
import { readdir } from "node:fs/promises"
import path from "node:path"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import {
  ClusterNotFound,
  NatsServerFailed,
  NatsServerMissing,
  StateUnreadable,
  type SignalRefused
} from "../DeployError.ts"
import {
  awaitEnd,
  isEnd,
  lastLines,
  launch,
  logFile,
  observe,
  signalProcess
} from "../internal/detachedProcess.ts"
import { freePort, isFree, natsGreeting } from "../internal/loopback.ts"
import { bootId } from "../internal/procfs.ts"
import { createFileOnce, ensureFolder, readJsonFile, replaceFile } from "../internal/stateFile.ts"
import type { InstanceEnd } from "../Orchestrator.ts"
import { renderNatsConfig } from "./natsConfig.ts"
import type { NatsEndpoint, NatsRole } from "./natsEndpoint.ts"
import { inboxPrefix, natsRoles } from "./natsEndpoint.ts"
import type { ClaimedCluster, Cluster } from "./state.ts"

export interface NatsServer {
  readonly pid: number
  readonly port: number
  /** True when it ran already, started by an `ebb up` that was killed. */
  readonly adopted: boolean
  readonly log: string
  readonly ended: Effect.Effect<InstanceEnd, StateUnreadable>
  /** SIGTERM, and after ten seconds SIGKILL. Returns when it is gone. Idempotent. End the nodes first. */
  readonly stop: Effect.Effect<InstanceEnd, StateUnreadable | SignalRefused>
}

const Credentials = Schema.Struct({
  /** In the server's name, so that whoever answers on the port can be told from a stranger. */
  serverId: Schema.String,
  /** By role; one that an older release did not know is added when the server is next started. */
  passwords: Schema.Record(Schema.String, Schema.String)
})
const readCredentials = readJsonFile(Credentials)
const readPort = readJsonFile(Schema.Struct({ port: Schema.Int }))

const inNats = (cluster: Cluster, ...names: ReadonlyArray<string>) =>
  path.join(cluster.folder, "nats", ...names)

/** How a role reaches the server of this cluster, for any process that may read the folder. The server may be down. */
export const natsEndpoint = Effect.fnUntraced(function* (
  cluster: Cluster,
  role: NatsRole
): Effect.fn.Return<NatsEndpoint, ClusterNotFound | StateUnreadable> {
  const credentials = yield* readCredentials(inNats(cluster, "credentials.json"))
  const endpoint = yield* readPort(inNats(cluster, "endpoint.json"))
  if (Option.isNone(credentials) || Option.isNone(endpoint)) {
    return yield* new ClusterNotFound({ folder: cluster.folder })
  }
  const password = credentials.value.passwords[role]
  if (password === undefined) {
    return yield* new StateUnreadable({
      path: inNats(cluster, "credentials.json"),
      problem: `its nats-server was started by a release without the role '${role}'; stop \`ebb up\` and start it again`
    })
  }
  return {
    servers: [`127.0.0.1:${endpoint.value.port}`],
    user: role,
    password: Redacted.make(password),
    inboxPrefix: inboxPrefix(role)
  }
})

/** The server's process, while it lives, whether or not it answers. */
export const natsProcess = (cluster: Cluster) =>
  Effect.gen(function* () {
    const folder = runFolder(cluster, yield* latestRun(cluster))
    const state = yield* observe(folder)
    return state._tag === "Running" ? { pid: state.pid, log: logFile(folder) } : {}
  }).pipe(Effect.orElseSucceed(() => ({})))

const readyTimeout = "15 seconds"
const stopTimeout = "10 seconds"
const portAttempts = 5
/** What flock(1) is told to end with when the store is locked. */
const storeLocked = 75

/** The cluster's server, ready for clients: the one that runs, or else a new one, on the port of before if it is free. */
export const startNats = Effect.fnUntraced(function* (cluster: ClaimedCluster, program = "nats-server") {
  yield* bootId
  yield* ensureFolder(inNats(cluster, "runs"))
  const latest = yield* latestRun(cluster)
  const state = latest === 0 ? undefined : yield* observe(runFolder(cluster, latest))
  // `Starting`: its starter was killed on the way. Launching once more in the same folder is harmless, and decides it.
  const firstRun = state?._tag === "Running" || state?._tag === "Starting" ? latest : latest + 1
  const credentials = yield* ensureCredentials(cluster, firstRun > latest)
  const before = yield* readPort(inNats(cluster, "endpoint.json"))
  let port = Option.isSome(before) ? before.value.port : yield* freePort
  if (firstRun > latest && !(yield* isFree(port))) port = yield* movedPort(port)

  for (let run = firstRun; ; run++) {
    const folder = runFolder(cluster, run)
    const adopted = run === latest && state?._tag === "Running"
    const config = yield* ensureConfig(cluster, credentials, folder, port)
    if (!adopted) yield* launchServer(cluster, folder, program)
    const outcome = yield* awaitReady(folder, config)
    if (outcome._tag === "Running") {
      yield* replaceFile(inNats(cluster, "endpoint.json"), JSON.stringify({ port: config.port }))
      return toServer(folder, config.port, outcome.pid, adopted)
    }
    // Somebody else took the port between our look and the server's bind: that, and nothing else, is tried again.
    const problem = yield* explain(outcome, program, folder)
    const portLost = problem._tag === "NatsServerFailed" && !(yield* isFree(config.port))
    if (!portLost || run - firstRun >= portAttempts) return yield* problem
    port = yield* movedPort(config.port)
  }
})

// Nodes that live on from before know the old port only: a person should hear of it.
const movedPort = Effect.fnUntraced(function* (port: number) {
  const next = yield* freePort
  yield* Effect.logWarning(`port ${port} is taken by another program, nats-server moves to ${next}`)
  return next
})

/** A server that runs knows the users it was started with: only for a new one are those added that an older release did not know. */
const ensureCredentials = Effect.fnUntraced(function* (cluster: Cluster, isNewServer: boolean) {
  const file = inNats(cluster, "credentials.json")
  const before = Option.getOrElse(yield* readCredentials(file), () => ({
    serverId: randomBytes(9).toString("base64url"),
    passwords: {}
  }))
  const missing = natsRoles.filter((role) => !Object.hasOwn(before.passwords, role))
  if (missing.length === 0 || !isNewServer) return before
  const fresh = missing.map((role) => [role, randomBytes(32).toString("base64url")])
  const credentials: typeof Credentials.Type = {
    ...before,
    passwords: { ...before.passwords, ...Object.fromEntries(fresh) }
  }
  yield* replaceFile(file, JSON.stringify(credentials))
  return credentials
})

const runFolder = (cluster: Cluster, run: number) => inNats(cluster, "runs", String(run))

const latestRun = Effect.fnUntraced(function* (cluster: Cluster) {
  const folder = inNats(cluster, "runs")
  const names = yield* Effect.tryPromise({
    try: () => readdir(folder),
    catch: (error) => new StateUnreadable({ path: folder, problem: String(error) })
  })
  return Math.max(0, ...names.filter((name) => /^[0-9]+$/.test(name)).map(Number))
})

const configFile = (folder: string) => path.join(folder, "nats.conf")

/** Written once for each run and read back: a run taken up again is on the port it was first given. */
const ensureConfig = Effect.fnUntraced(function* (
  cluster: Cluster,
  credentials: typeof Credentials.Type,
  folder: string,
  port: number
) {
  const serverName = `ebb-${cluster.name}-${credentials.serverId}`
  const { passwords } = credentials
  const storeFolder = inNats(cluster, "jetstream")
  yield* ensureFolder(folder)
  yield* createFileOnce(
    configFile(folder),
    renderNatsConfig({ cluster: cluster.name, serverName, port, storeFolder, passwords })
  )
  const written = yield* readPort(configFile(folder))
  return { serverName, port: Option.isSome(written) ? written.value.port : port }
})

const launchServer = Effect.fnUntraced(function* (cluster: Cluster, folder: string, program: string) {
  // --no-fork: flock becomes the server, which so holds the lock itself, for its own life.
  const lock = ["flock", "--nonblock", "--no-fork", "--conflict-exit-code", String(storeLocked)]
  const command = [...lock, inNats(cluster, "store.lock"), program, "--config", configFile(folder)]
  yield* launch({ folder, command, cwd: cluster.folder, env: process.env })
})

/** Running and answering under its own name, or else its end. */
const awaitReady = (folder: string, config: { readonly serverName: string; readonly port: number }) =>
  Effect.gen(function* () {
    while (true) {
      const state = yield* observe(folder)
      if (isEnd(state)) return state
      if (state._tag === "Running") {
        const greeting = yield* natsGreeting(config.port)
        if (Option.isSome(greeting) && greeting.value.server_name === config.serverName) return state
      }
      yield* Effect.sleep(5)
    }
  }).pipe(
    Effect.timeoutOrElse({
      duration: readyTimeout,
      orElse: () =>
        Effect.flatMap(observe(folder), (state) =>
          Effect.fail(
            new NatsServerFailed({
              problem:
                state._tag === "Running"
                  ? `lives, as process ${state.pid}, and does not answer on port ${config.port}, not after ${readyTimeout}: is it stopped?`
                  : `was not ready on port ${config.port} after ${readyTimeout}`,
              log: logFile(folder)
            })
          )
        )
    })
  )

const explain = Effect.fnUntraced(function* (end: InstanceEnd, program: string, folder: string) {
  const log = logFile(folder)
  if (end._tag === "Vanished") return new NatsServerFailed({ problem: "vanished as it started", log })
  // flock's own code for a program that cannot be executed.
  if (end.code === 69) return new NatsServerMissing({ program })
  if (end.code === storeLocked) {
    return new NatsServerFailed({ problem: "was not started: another one still holds its store", log })
  }
  const [lastLine = ""] = yield* lastLines(log, 1)
  return new NatsServerFailed({ problem: `ended with ${end.code} as it started: ${lastLine}`, log })
})

const toServer = (folder: string, port: number, pid: number, adopted: boolean): NatsServer => {
  const ended = awaitEnd(folder)
  const stop = Effect.gen(function* () {
    yield* signalProcess(folder, "SIGTERM")
    return yield* ended.pipe(
      Effect.timeoutOrElse({
        duration: stopTimeout,
        orElse: () => Effect.andThen(signalProcess(folder, "SIGKILL"), ended)
      })
    )
  })
  return { pid, port, adopted, log: logFile(folder), ended, stop }
}
