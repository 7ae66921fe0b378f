/**
 * One node, put together: NATS, the runtime, its lease, the media engine, its folder of journals, control commands, and the node actor
 * that owns the rooms. What `ebb-node` runs, and what a host embeds.
 *
 * Installs nothing in its host: no signal, exit or uncaught-exception listener, nothing on the console. Two of them fit in one process.
 */
import type {
  AskError,
  DrainDeadlines,
  DrainOutcome,
  Id,
  NatsOptions,
  NatsRegistryOptions,
  NodeLeaseBody
} from "@ebb/actors"
import { ActorSystem, Directory, initialState, layerNats, Leases } from "@ebb/actors"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { hostname } from "node:os"
import * as path from "node:path"
import { serveControl } from "./control/ControlServer.ts"
import { discoverable } from "./discoverable.ts"
import type { MediaEngineOptions, WebRtcListen } from "./engine/MediaEngine.ts"
import { MediaEngine } from "./engine/MediaEngine.ts"
import type { JournalOptions } from "./MediaNode.ts"
import { mediaNode } from "./MediaNode.ts"
import { Membership } from "./Membership.ts"
import type { NodeAxes } from "./nodeReadiness.ts"
import type { NodeReport } from "./protocol/Node.ts"
import { nodeKind, protocolRange } from "./protocol/Node.ts"
import { checkFfmpeg, IncarnationFolder, RecordingStore, stillUnfinished } from "./recording/index.ts"
import { isS3Location } from "./recording/s3/S3Location.ts"
import { RecordingIndex } from "./RecordingIndex.ts"
import { TokenCheck } from "./token/TokenCheck.ts"

export interface MediaNodeOptions {
  /** The cluster's name; nodes of another name on the same NATS are not seen. An id. */
  readonly cluster: Id
  /** This node's name, an id, unique in the cluster. A name of its own for each process keeps its predecessor's remains apart. */
  readonly nodeId: Id
  /** Where NATS is, by what this node proves who it is, and how many copies the registry keeps in a cluster of nats-servers. */
  readonly nats: Omit<NatsOptions & NatsRegistryOptions, "name" | "cluster">
  /** Journals and, unless `storeDir` says otherwise, results. Nodes of one machine may share it. */
  readonly dataDir: string
  /** Where results and receipts go. Default `<dataDir>/results`. */
  readonly storeDir?: string
  /** Or `s3://bucket/prefix`; endpoint, region and credentials are the environment's, as the AWS SDK finds them. Counts more than `storeDir`. */
  readonly store?: string
  /**
   * Milliseconds for which a journal is kept after its recording was computed: until then it can be computed again. Default 24 hours. One
   * without a receipt is never removed.
   */
  readonly keepJournalsMs?: number
  /** Milliseconds for which a result is kept after its receipt; then it is deleted, which is noted. Default: for ever. */
  readonly keepResultsMs?: number
  /**
   * How journals are written: how much may wait for a slow disk (64 MiB), how often they are synced (1000 ms), and below what room on disk
   * new recordings are refused. See `JournalThreadOptions`, `JournalWriterOptions` and `DiskRoomOptions`.
   */
  readonly journal?: JournalOptions
  /** The release it runs, as its operator calls it. Default "unversioned". */
  readonly version?: string
  /** `host:port` where its metrics are served, if they are: only told in its report. */
  readonly metrics?: string
  /** Default: see `MediaEngineOptions`. */
  readonly media?: Partial<Omit<MediaEngineOptions, "webRtc">>
  /** The way in for browsers. Default: none; no port is open for it, and who asks is refused with `NoTokenKey`. */
  readonly webRtc?: WebRtcOptions
  /** For drains that bring none of their own. Default: no deadline anywhere; a drain lasts as long as the longest room. */
  readonly deadlines?: DrainDeadlines
}

export interface WebRtcOptions extends Partial<WebRtcListen> {
  /**
   * By what tokens are checked: a secret of at least 32 bytes, a public key (PEM, or JWK), or a set of them (JWKS), each. What any of
   * them signed is good: to change a key, add the new one, sign with it, and take the old one away when its last token has expired.
   */
  readonly tokenKeys: ReadonlyArray<Redacted.Redacted>
}

/** What a drain came to, for the host: `code` is what a process of its own should exit with. */
export interface NodeEnd {
  readonly outcome: DrainOutcome
  /** Recordings without a receipt; their journals are kept in `dataDir` for a later start. */
  readonly unfinished: ReadonlyArray<{ readonly recordingId: string; readonly problem: string }>
  /** 0 drained, 3 evacuated, 4 recordings left unfinished, 1 ended by something else. */
  readonly code: number
}

export interface DrainCall {
  readonly by: string
  readonly reason: string
  /** May it be taken back? Default true. */
  readonly reversible?: boolean
  /** End what is served now, gently. Default false. */
  readonly evacuate?: boolean
  readonly deadlines?: DrainDeadlines
}

export interface RunningNode {
  readonly nodeId: Id
  readonly incarnation: Id
  /** Fails once it has ended. */
  readonly report: Effect.Effect<NodeReport, AskError>
  /** As it is now, without asking it. */
  readonly state: () => NodeAxes
  /** Begins or joins the drain; returns when the node has ended, or with `Undrained`. */
  readonly drain: (call: DrainCall) => Effect.Effect<DrainOutcome>
  /** The node's end, whatever ended it: everything it held is released. */
  readonly ended: Effect.Effect<NodeEnd>
}

/**
 * Starts a node. It serves when this returns; closing the scope ends it at once, its recordings left to a later start. One that cannot start
 * leaves nothing behind.
 */
export const startMediaNode = Effect.fnUntraced(function* (options: MediaNodeOptions) {
  yield* checkFfmpeg
  const { cluster, dataDir, nodeId } = options
  const version = options.version ?? "unversioned"
  const initial: NodeLeaseBody = {
    proto: [...protocolRange],
    version,
    life: "Starting",
    admission: "open",
    control: "connected",
    host: hostname(),
    pid: process.pid,
    startedAt: yield* Effect.clockWith((clock) => clock.currentTimeMillis),
    rooms: 0,
    recordings: 0
  }
  const nats = layerNats({ ...options.nats, cluster, name: nodeId })
  const runtime = Layer.mergeAll(Membership.layer(initial), Directory.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(ActorSystem.layer({ cluster, nodeId }), Leases.layer)),
    Layer.provideMerge(nats)
  )
  const location = options.store ?? options.storeDir ?? path.join(dataDir, "results")
  const store = RecordingStore.at(location, { staging: path.join(dataDir, "staged") })
  const all = Layer.mergeAll(
    MediaEngine.layer({ ...options.media, ...listening(options) }),
    TokenCheck.layer(options.webRtc?.tokenKeys ?? []),
    RecordingIndex.layer
  ).pipe(Layer.provideMerge(store), Layer.provideMerge(runtime))

  // A scope of its own: the node's end releases everything, while the host's scope goes on.
  const outer = yield* Effect.scope
  const scope = yield* Scope.fork(outer, "sequential")
  const start = Effect.gen(function* () {
    const system = yield* ActorSystem
    const leases = yield* Leases
    const recordings = yield* RecordingStore
    const { incarnation } = system
    // A store that refuses is to be known now. One that is away may be back by the time there is a result.
    yield* Effect.catchTag(recordings.check, "StoreUnreachable", (error) =>
      Effect.logWarning(`no result can be stored now: ${error.message}`)
    )
    const folder = yield* IncarnationFolder.acquire(dataDir, { incarnation, nodeId })
    const unfinished = new Map<string, string>()
    const deadlines = options.deadlines ?? {}
    const node = yield* system
      .spawn(
        mediaNode,
        nodeId,
        {
          lease: initial,
          dataDir,
          keepJournalsMs: options.keepJournalsMs,
          keepResultsMs: options.keepResultsMs,
          journal: options.journal ?? {},
          resultsDir: isS3Location(location) ? dataDir : location,
          metrics: options.metrics,
          folder,
          unfinished
        },
        { deadlines }
      )
      .pipe(Effect.catchTag("MalformedMessage", Effect.die))
    // Before the folder's lock goes: once it is free, anybody may take what these recordings still write to.
    yield* Effect.addFinalizer(() =>
      system
        .system(incarnation)
        .ask("Stop", { kind: nodeKind, id: nodeId, kill: false, detail: "closed by its host" })
        .pipe(Effect.ignore, Effect.andThen(node.outcome))
    )
    let state: NodeAxes = initialState
    system.onStateChange(nodeKind, nodeId, (now) => {
      state = now
    })
    yield* node.started
    // It may have come so far before anybody listened.
    state = yield* Effect.match(system.system(incarnation).ask("Progress", { kind: nodeKind, id: nodeId }), {
      onFailure: () => state,
      onSuccess: (progress) => progress.state
    })
    const tally = yield* serveControl
    yield* discoverable(cluster, initial, () => state, tally)
    // It serves when others place rooms here: they know it by its lease, which follows the state.
    yield* leases.changes.pipe(
      Stream.filter((nodes) => nodes.some(({ inc, life }) => inc === incarnation && life !== "Starting")),
      Stream.runHead
    )

    const drain = (call: DrainCall) =>
      system.drain(nodeKind, nodeId, { reversible: true, evacuate: false, deadlines: {}, ...call })
    const ended = yield* Deferred.make<NodeEnd>()
    // One way out, whoever takes it first: the node when it is drained, or its host.
    const end = Effect.gen(function* () {
      if (yield* Deferred.isDone(ended)) return
      yield* Scope.close(scope, Exit.void).pipe(
        Effect.catchCause((cause) => Effect.logError(`BUG: a finalizer of node '${nodeId}' died`, cause))
      )
      const { by, detail } = yield* node.ref.terminated
      const outcome = yield* node.outcome
      const left = yield* Effect.provideService(stillUnfinished(unfinished), RecordingStore, recordings)
      yield* Effect.logInfo(`node '${nodeId}' ended by ${by}: ${detail}`)
      yield* Deferred.succeed(ended, { outcome, unfinished: left, code: exitCode(outcome, left.length) })
    })
    yield* Scope.addFinalizer(outer, end)
    yield* Effect.forkIn(Effect.andThen(node.ref.terminated, Effect.uninterruptible(end)), outer)
    const running: RunningNode = {
      nodeId,
      incarnation,
      report: node.ref.ask("Report", undefined),
      state: () => state,
      drain,
      ended: Deferred.await(ended)
    }
    return running
  })
  return yield* Layer.buildWithScope(all, scope).pipe(
    Effect.flatMap((services) => Effect.provideContext(start, services)),
    Scope.provide(scope),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
  )
})

/** Browsers are listened for where somebody can be let in. */
const listening = ({ media, webRtc }: MediaNodeOptions): Pick<MediaEngineOptions, "webRtc"> => {
  if (webRtc === undefined || webRtc.tokenKeys.length === 0) return {}
  const { tokenKeys: _, ...listen } = webRtc
  return { webRtc: { listen: [{ ip: media?.listenIp ?? "127.0.0.1" }], ...listen } }
}

const exitCode = (outcome: DrainOutcome, unfinished: number): number => {
  if (outcome._tag === "Unsealed" || unfinished > 0) return 4
  return outcome._tag === "Drained" ? 0 : outcome._tag === "Evacuated" ? 3 : 1
}
