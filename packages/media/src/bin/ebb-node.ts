#!/usr/bin/env node
/**
 * A media node as a program of its own: starts, serves, drains on SIGTERM, and exits by itself when its last room has closed and its last
 * recording is stored. This program owns its signals and its exit code; nothing below it does.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import { parseArgs } from "node:util"
import { drainOnSignals } from "../drainOnSignals.ts"
import { endProcess } from "../endProcess.ts"
import type { MediaNodeOptions, RunningNode } from "../MediaNodeProcess.ts"
import { startMediaNode } from "../MediaNodeProcess.ts"
import { layerObserved } from "../observability/observe.ts"
import { processMetrics } from "../observability/processMetrics.ts"
import { natsFromEnvironment } from "../natsFromEnvironment.ts"
import { isStoreLocation } from "../recording/s3/S3Location.ts"
import { portRange, webRtcFromEnvironment } from "../webRtcFromEnvironment.ts"

const help = `ebb-node: one media node of an Ebb cluster

Usage: ebb-node --node-id ID [options]

Each option may be given by its environment variable instead.

  --node-id ID            its name, unique in the cluster         EBB_NODE_ID
  --cluster NAME          the cluster (default: local)            EBB_CLUSTER
  --nats HOST:PORT[,...]  or tls://…; default: 127.0.0.1:4222     EBB_NATS
  --nats-user USER                                                EBB_NATS_USER
                          password: only by                       EBB_NATS_PASSWORD
                          or a token: only by                     EBB_NATS_TOKEN
  --nats-nkey FILE        or an nkey's seed                       EBB_NATS_NKEY
  --nats-creds FILE       or a JWT and its seed, as of nsc        EBB_NATS_CREDS
  --nats-ca FILE          whom to trust, for TLS                  EBB_NATS_CA
  --nats-cert FILE        its certificate, where one is wanted,   EBB_NATS_CERT
  --nats-key FILE         and its key                             EBB_NATS_KEY
  --nats-inbox PREFIX     where answers to it arrive              EBB_NATS_INBOX
  --nats-replicas N       copies in a cluster of nats-servers     EBB_NATS_REPLICAS
                          (default: 3, or 1 on a server alone)
  --nats-wait S           for it, at the start (default: 0)       EBB_NATS_WAIT
  --data-dir DIR          journals (default: ./ebb-data)          EBB_DATA_DIR
  --store-dir DIR         results (default: DATA_DIR/results)     EBB_STORE_DIR
  --store s3://BUCKET/... or there; endpoint and credentials by   EBB_STORE
                          AWS_..., as for any AWS SDK
  --keep-journals H       after the result (default: 24 hours)    EBB_KEEP_JOURNALS
  --keep-results H        then they are deleted (default: never)  EBB_KEEP_RESULTS
  --sync-ms MS            what a power cut may take of a journal  EBB_SYNC_MS
                          (default: 1000; 0: without a pause)
  --journal-queue MB      that may wait for a slow disk           EBB_JOURNAL_QUEUE
                          (default: 64)
  --min-free MB           left on disk, or no new recording       EBB_MIN_FREE
                          (default: 1024, or 5 % of a small one;
                          0: record until it is full)
  --release NAME          the release it runs, for rollouts       EBB_RELEASE
  --listen-ip IP          for RTP (default: 127.0.0.1)            EBB_LISTEN_IP
  --allow-plain           RTP without SRTP beyond loopback        EBB_ALLOW_PLAIN=1
  --ports MIN-MAX         UDP ports (default: 40000-49999)        EBB_PORTS
  --token-keys FILE[,...] by what the tokens of browsers are      EBB_TOKEN_KEYS
                          checked: JWK, JWKS, PEM or secrets;
                          or a secret, or several: only by        EBB_TOKEN_SECRET
  --webrtc-ip IP[,...]    for browsers (default: --listen-ip)     EBB_WEBRTC_IP
  --webrtc-announced ADDRESS[,...] given out instead, one by one  EBB_WEBRTC_ANNOUNCED
  --webrtc-ports MIN-MAX  one each worker (default: --ports)      EBB_WEBRTC_PORTS
  --workers N             mediasoup workers (default: one a core) EBB_WORKERS
  --drain-deadline S      then evacuate (default: none)           EBB_DRAIN_DEADLINE
  --evacuation-grace S    then cut (default: none)                EBB_EVACUATION_GRACE
  --sealing-deadline S    then exit with 4 (default: none)        EBB_SEALING_DEADLINE
  --metrics [HOST:]PORT   /metrics, /healthz, /readyz by HTTP,    EBB_METRICS
                          on 127.0.0.1; 0 is a free port
  --otlp URL              metrics, spans, logs to a collector     EBB_OTLP
  --log text|json         how it says what it says                EBB_LOG
  --help

Signals: the first SIGTERM, SIGINT or SIGHUP drains, a second one (a second later) evacuates, a third kills.
Exit codes: 0 drained, 3 evacuated, 4 recordings left unfinished (their journals are kept; a later start
on the same data folder, or 'ebb recordings recover DIR', finishes them), 1 failed, 64 bad usage,
129/130/143 killed by a third signal.
`

const usage = (problem: string): never => {
  process.stderr.write(`ebb-node: ${problem}\nTry 'ebb-node --help'.\n`)
  process.exit(64)
}

const text = { type: "string" } as const
const parse = () => {
  try {
    return parseArgs({
      options: {
        "node-id": text,
        cluster: text,
        nats: text,
        "nats-user": text,
        "nats-nkey": text,
        "nats-creds": text,
        "nats-ca": text,
        "nats-cert": text,
        "nats-key": text,
        "nats-inbox": text,
        "nats-wait": text,
        "nats-replicas": text,
        "data-dir": text,
        "store-dir": text,
        store: text,
        "keep-journals": text,
        "keep-results": text,
        "sync-ms": text,
        "journal-queue": text,
        "min-free": text,
        release: text,
        "listen-ip": text,
        "allow-plain": { type: "boolean" },
        ports: text,
        "token-keys": text,
        "webrtc-ip": text,
        "webrtc-announced": text,
        "webrtc-ports": text,
        workers: text,
        "drain-deadline": text,
        "evacuation-grace": text,
        "sealing-deadline": text,
        metrics: text,
        otlp: text,
        log: text,
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
}
const flags = parse()
if (flags.help) {
  process.stdout.write(help)
  process.exit(0)
}

/** What the command line says, by the variable that it stands for. A secret has no flag. */
const flagOf: Readonly<Record<string, string | undefined>> = {
  EBB_TOKEN_KEYS: flags["token-keys"],
  EBB_WEBRTC_IP: flags["webrtc-ip"],
  EBB_WEBRTC_ANNOUNCED: flags["webrtc-announced"],
  EBB_WEBRTC_PORTS: flags["webrtc-ports"],
  EBB_NATS: flags.nats,
  EBB_NATS_INBOX: flags["nats-inbox"],
  EBB_NATS_REPLICAS: flags["nats-replicas"],
  EBB_NATS_USER: flags["nats-user"],
  EBB_NATS_NKEY: flags["nats-nkey"],
  EBB_NATS_CREDS: flags["nats-creds"],
  EBB_NATS_CA: flags["nats-ca"],
  EBB_NATS_CERT: flags["nats-cert"],
  EBB_NATS_KEY: flags["nats-key"]
}

const valueOf = (variable: string) => flagOf[variable] ?? (process.env[variable] || undefined)
const given = (flag: string | undefined, variable: string) => flag ?? (process.env[variable] || undefined)

const number = (name: string, value: string | undefined, least: number): number | undefined => {
  if (value === undefined) return undefined
  const parsed = Number(value)
  return Number.isFinite(parsed) && parsed >= least
    ? parsed
    : usage(`${name} is a number from ${least} on, not '${value}'`)
}
const seconds = (name: string, value: string | undefined) => {
  const parsed = number(name, value, 0)
  return parsed === undefined ? undefined : parsed * 1000
}
/** An object without the keys whose value is undefined. */
const present = <A extends Record<string, unknown>>(all: A) =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    readonly [K in keyof A]?: Exclude<A[K], undefined>
  }

const storeLocation = (value: string | undefined) =>
  value === undefined || isStoreLocation(value)
    ? value
    : usage(`--store is s3://bucket/prefix, or a folder, not '${value}'`)

const options = (): MediaNodeOptions => {
  const nodeId = given(flags["node-id"], "EBB_NODE_ID") ?? usage("--node-id is missing")
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(nodeId))
    usage(`--node-id is 1 to 64 letters, digits, _ or -, not '${nodeId}'`)
  const cluster = given(flags.cluster, "EBB_CLUSTER") ?? "local"
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(cluster))
    usage(`--cluster is 1 to 64 letters, digits, _ or -, not '${cluster}'`)
  number("--nats-replicas", given(flags["nats-replicas"], "EBB_NATS_REPLICAS"), 1)
  const keepHours = number("--keep-journals", given(flags["keep-journals"], "EBB_KEEP_JOURNALS"), 0)
  const resultHours = number("--keep-results", given(flags["keep-results"], "EBB_KEEP_RESULTS"), 0)
  const megabytes = (name: string, value: string | undefined, least: number) => {
    const parsed = number(name, value, least)
    return parsed === undefined ? undefined : Math.ceil(parsed * 2 ** 20)
  }
  const workers = number("--workers", given(flags.workers, "EBB_WORKERS"), 1)
  const ports = given(flags.ports, "EBB_PORTS")
  const range = ports === undefined ? undefined : portRange(ports)
  if (ports !== undefined && range === undefined) usage(`--ports is MIN-MAX, not '${ports}'`)
  const listenIp = given(flags["listen-ip"], "EBB_LISTEN_IP")
  return {
    nodeId,
    cluster,
    nats: natsFromEnvironment(valueOf),
    dataDir: given(flags["data-dir"], "EBB_DATA_DIR") ?? "ebb-data",
    ...present({
      storeDir: given(flags["store-dir"], "EBB_STORE_DIR"),
      store: storeLocation(given(flags.store, "EBB_STORE")),
      keepJournalsMs: keepHours === undefined ? undefined : keepHours * 3_600_000,
      keepResultsMs: resultHours === undefined ? undefined : resultHours * 3_600_000,
      version: given(flags.release, "EBB_RELEASE")
    }),
    journal: present({
      syncEveryMs: number("--sync-ms", given(flags["sync-ms"], "EBB_SYNC_MS"), 0),
      queueBytes: megabytes("--journal-queue", given(flags["journal-queue"], "EBB_JOURNAL_QUEUE"), 1),
      minFreeBytes: megabytes("--min-free", given(flags["min-free"], "EBB_MIN_FREE"), 0)
    }),
    media: present({
      workers,
      listenIp,
      allowPlainOnNetwork:
        flags["allow-plain"] ?? (process.env["EBB_ALLOW_PLAIN"] === "1" ? true : undefined),
      portRange: range
    }),
    ...present({ webRtc: webRtcFromEnvironment(valueOf, listenIp ?? "127.0.0.1", usage) }),
    deadlines: present({
      drainMs: seconds("--drain-deadline", given(flags["drain-deadline"], "EBB_DRAIN_DEADLINE")),
      evacuationMs: seconds("--evacuation-grace", given(flags["evacuation-grace"], "EBB_EVACUATION_GRACE")),
      sealingMs: seconds("--sealing-deadline", given(flags["sealing-deadline"], "EBB_SEALING_DEADLINE"))
    })
  }
}

/** Off unless asked for. */
const scraped = () => {
  const value = given(flags.metrics, "EBB_METRICS")
  if (value === undefined) return undefined
  const [, bracketed, plain, port] = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(value) ?? []
  return port === undefined || Number(port) > 65_535
    ? usage(`--metrics is [HOST:]PORT, not '${value}'`)
    : { host: bracketed || plain || "127.0.0.1", port: Number(port) }
}
const collector = () => {
  const value = given(flags.otlp, "EBB_OTLP")
  return value === undefined || /^https?:\/\/[^/@\s]+(\/[^@\s]*)?$/.test(value)
    ? value
    : usage(`--otlp is http://HOST:PORT, not '${value}'`)
}
const logFormat = () => {
  const value = given(flags.log, "EBB_LOG") ?? "text"
  return value === "text" || value === "json" ? value : usage(`--log is text or json, not '${value}'`)
}

const natsWaitMs = seconds("--nats-wait", given(flags["nats-wait"], "EBB_NATS_WAIT")) ?? 0

/** NATS is away, or its process is stopped: that may pass. A start that failed has left nothing behind, so it is made again. */
const isNatsAway = (error: { readonly _tag: string }) =>
  error._tag === "NatsUnavailable" || error._tag === "RegistryUnavailable"

const own = options()
let running: RunningNode | undefined

const scrape = scraped()
const otlp = collector()

/** Also while the node starts and while it drains: that is when somebody looks. */
const metricsAddress = Effect.gen(function* () {
  if (scrape === undefined) return undefined
  const { serveMetrics } = yield* Effect.promise(() => import("../observability/MetricsServer.ts"))
  const { address } = yield* serveMetrics({ ...scrape, state: () => running?.state() })
  yield* Effect.logInfo(`metrics at http://${address}/metrics`)
  return address
})

const program = Effect.gen(function* () {
  // Signals first: the cluster may use the node before this program hears that it is up.
  const starting = yield* Deferred.make<RunningNode>()
  let isToEnd = false
  yield* drainOnSignals({
    drain: (call) =>
      Effect.suspend(() => {
        isToEnd = true
        return Effect.flatMap(Deferred.await(starting), (node) => node.drain(call))
      })
  })
  if (scrape !== undefined || otlp !== undefined) yield* processMetrics
  const metrics = yield* metricsAddress
  const again = Schedule.spaced("1 second").pipe(
    Schedule.upTo({ duration: natsWaitMs }),
    Schedule.setInputType<{ readonly _tag: string; readonly message: string }>(),
    // After the 1st, 2nd, 4th, 8th … try. It is asked before `while` is.
    Schedule.tap(({ attempt, input }) =>
      natsWaitMs > 0 && isNatsAway(input) && Number.isInteger(Math.log2(attempt))
        ? Effect.logWarning(`waiting for NATS, at most ${natsWaitMs / 1000} s: ${input.message}`)
        : Effect.void
    )
  )
  const node = yield* startMediaNode({ ...own, ...present({ metrics }) }).pipe(
    Effect.retry({ schedule: again, while: (error) => natsWaitMs > 0 && isNatsAway(error) && !isToEnd }),
    Effect.catchIf(
      (error) => isNatsAway(error) && isToEnd,
      () => Effect.undefined
    )
  )
  if (node === undefined) {
    yield* Effect.logInfo("ends as it was told to: NATS had not answered, and nothing was served")
    return 0
  }
  running = node
  yield* Deferred.succeed(starting, node)
  yield* Effect.logInfo(`node '${node.nodeId}' serves (incarnation ${node.incarnation}, pid ${process.pid})`)
  const end = yield* node.ended
  for (const { problem, recordingId } of end.unfinished) {
    yield* Effect.logError(`recording ${recordingId} is unfinished: ${problem}`)
  }
  return end.code
}).pipe(
  Effect.scoped,
  Effect.provide(
    layerObserved({
      nodeId: own.nodeId,
      cluster: own.cluster,
      version: own.version ?? "unversioned",
      otlp,
      log: logFormat(),
      isWatched: scrape !== undefined || otlp !== undefined,
      incarnation: () => running?.incarnation
    })
  )
)

const exit = await Effect.runPromiseExit(program)
if (Exit.isFailure(exit)) {
  const error = Cause.squash(exit.cause)
  process.stderr.write(`ebb-node: ${error instanceof Error ? error.message : String(error)}\n`)
}
endProcess(Exit.isSuccess(exit) ? exit.value : 1)
