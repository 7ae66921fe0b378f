/**
 * `ebb up`: a cluster on this machine, in the foreground. Owns the state folder's lock and the nats-server; the nodes are processes of
 * their own, which live on when this one is killed and are taken up by the next `ebb up`.
 *
 * Ends them only as they can bear it: the first Ctrl-C drains, the second evacuates, the third kills; nats-server goes last.
 */
import path from "node:path"
import process from "node:process"
import { layerNatsEventLog, Leases } from "@ebb/actors"
import { makeControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { type NatsServer, natsEndpoint, startNats } from "../cluster/embeddedNats.ts"
import { mediaProgram, nodeLaunch } from "../cluster/nodeLaunch.ts"
import { findRelease, readReleases } from "../cluster/releases.ts"
import { type ClaimedCluster, claimCluster, stateFolder } from "../cluster/state.ts"
import { VersionUnspecified } from "../DeployError.ts"
import { lastLines } from "../internal/detachedProcess.ts"
import { createFileOnce, ensureFolder } from "../internal/stateFile.ts"
import { layerLocal } from "../orchestrators/local.ts"
import { Orchestrator } from "../Orchestrator.ts"
import { defaultLimits } from "../RolloutDecision.ts"
import { readRollout } from "../RolloutLog.ts"
import { paragraph } from "./help.ts"
import { concludeOf, type Ending, endingWords, endNodes, harder } from "./endNodes.ts"
import { interrupts } from "./interrupts.ts"
import {
  byName,
  endedBadly,
  isAlive,
  jsonOf,
  type Member,
  members,
  memberTable,
  neverServed,
  news
} from "./membership.ts"
import { newGroupName } from "./names.ts"
import { count, Output } from "./output.ts"
import { command, Ended, exitCodes, root } from "./root.ts"
import { connection } from "./session.ts"

const lookAgainMs = 250
const mostNodes = 100
/** So much of the log of a node that does not come up. */
const logLines = 5

export const up = Command.make(
  "up",
  {
    nodes: Flag.Int("nodes").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("How many nodes are to run; living ones count (default: 3)"),
      Flag.filter(
        (nodes) => nodes >= 1 && nodes <= mostNodes,
        () => `1 to ${mostNodes}`
      ),
      Flag.withDefault(3)
    ),
    version: Flag.String("version").pipe(
      Flag.withMetavar("VERSION"),
      Flag.withDescription("What new nodes run (default: what was rolled out last, or `current`)"),
      Flag.optional
    ),
    releases: Flag.String("releases").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("The releases file, remembered (default: DIR/releases.json)"),
      Flag.optional
    ),
    dataDir: Flag.String("data-dir").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("Where nodes keep recordings, remembered (default: DIR/data)"),
      Flag.optional
    )
  },
  ({ dataDir, nodes, releases, version }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const interrupted = yield* interrupts
        const flags = yield* root
        const given = <K extends string>(key: K, value: Option.Option<string>) =>
          (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: string }
        // Before it is remembered, and before anything runs: a mistyped one must not be made.
        if (Option.isSome(releases)) yield* readReleases(path.resolve(releases.value))
        if (Option.isSome(dataDir)) yield* ensureFolder(path.resolve(dataDir.value))
        const cluster = yield* claimCluster({
          folder: yield* stateFolder(flags),
          name: flags.cluster,
          ...given("releases", releases),
          ...given("dataDir", dataDir)
        })
        if (Option.isNone(releases)) yield* writeReleases(cluster)
        const asked = Option.getOrUndefined(version)
        const known = yield* readReleases(cluster.releases)
        if (asked !== undefined) yield* findRelease(known, asked)

        let server = yield* startNats(cluster)
        yield* output.line(
          { type: "NatsServing", port: server.port, adopted: server.adopted, folder: cluster.folder },
          `nats-server ${server.adopted ? "was running" : "runs"} on 127.0.0.1:${server.port}; all is in ${cluster.folder}`
        )
        const keeper = yield* Effect.forkScoped(
          keepNats(cluster, server, (next) => {
            server = next
          })
        )
        const services = Layer.mergeAll(
          Leases.layer,
          layerNatsEventLog({ cluster: cluster.name, log: "rollout" }),
          layerLocal(cluster)
        ).pipe(Layer.provideMerge(yield* connection(cluster, "deployer")))
        const { code, text } = yield* Effect.gen(function* () {
          const before = yield* startNodes(cluster, nodes, asked)
          return yield* follow(cluster, interrupted, nodes, before)
        }).pipe(Effect.provide(services), Effect.scoped)
        yield* Fiber.interrupt(keeper)
        yield* server.stop
        yield* output.result({ outcome: code === exitCodes.ok ? "ok" : "failed" }, text)
        if (code !== exitCodes.ok) return yield* new Ended({ code })
      })
    )
).pipe(
  Command.withShortDescription("Run a cluster on this machine: a nats-server and nodes"),
  Command.withDescription(
    paragraph(
      "Run a cluster on this machine: a nats-server with passwords of its own, on",
      "loopback, and nodes. Stays in the foreground; the other commands are for",
      "another terminal.",
      "",
      "Ctrl-C drains the nodes and waits until their rooms have closed and their",
      "recordings are stored; a second one evacuates them, a third kills them. Killed",
      "itself, it leaves the nodes running, and `ebb up` takes them up again.",
      "",
      "Exit codes: 0 all drained, 1 failed, no node came up, or a node ended badly,",
      "64 bad usage, 130 killed by the third Ctrl-C."
    )
  )
)

/** For a folder without a releases file: the version `current` is this installation. */
const writeReleases = (cluster: ClaimedCluster) =>
  createFileOnce(
    cluster.releases,
    `${JSON.stringify({ versions: { current: { command: [process.execPath, mediaProgram("ebb-node")] } } }, undefined, 2)}\n`
  )

/** What new nodes run when nobody said: what was rolled out last, so that a restart does not roll back. */
const defaultVersion = Effect.fnUntraced(function* (cluster: ClaimedCluster) {
  const { file, versions } = yield* readReleases(cluster.releases)
  const known = Object.keys(versions)
  const rollout = yield* readRollout
  const last = rollout._tag === "Completed" ? rollout.plan.to : undefined
  const only = known.length === 1 ? known[0] : undefined
  const version = [last, "current", only].find((each) => each !== undefined && known.includes(each))
  return version ?? (yield* new VersionUnspecified({ known, file }))
})

/** Should it die, it is started anew on the same store: nodes reconnect by themselves. */
const keepNats = Effect.fnUntraced(function* (
  cluster: ClaimedCluster,
  first: NatsServer,
  onStarted: (server: NatsServer) => void
) {
  const output = yield* Output
  for (let server = first; ;) {
    yield* server.ended
    yield* output.line(
      { type: "NatsEnded" },
      "nats-server has ended: starting it again. Calls go on meanwhile"
    )
    server = yield* startNats(cluster).pipe(
      Effect.retry(
        Schedule.spaced("1 second").pipe(
          Schedule.setInputType<{ readonly message: string }>(),
          // After the 1st, 2nd, 4th, 8th … try.
          Schedule.tap(({ attempt, input: { message } }) =>
            Number.isInteger(Math.log2(attempt))
              ? output.line({ type: "NatsFailed", problem: message }, message)
              : Effect.void
          )
        )
      )
    )
    onStarted(server)
    yield* output.line(
      { type: "NatsServing", port: server.port, adopted: server.adopted, folder: cluster.folder },
      `nats-server runs again on 127.0.0.1:${server.port}`
    )
  }
})

/** As many as are missing, at once; those of an earlier `ebb up` are taken up as they are. Returns what was over before. */
const startNodes = Effect.fnUntraced(function* (
  cluster: ClaimedCluster,
  nodes: number,
  asked: string | undefined
) {
  const output = yield* Output
  const orchestrator = yield* Orchestrator
  const all = yield* members
  const living = all.filter(isAlive)
  const over = byName(all.filter((member) => !isAlive(member)))
  if (living.length > 0) {
    const names = living.map(({ instance }) => instance)
    yield* output.line({ type: "Adopted", nodes: names }, `taking up what lives: ${names.join(", ")}`)
  }
  const launch = nodeLaunch(cluster, yield* natsEndpoint(cluster, "node"))
  if (living.length >= nodes) return over
  const version = asked ?? (yield* defaultVersion(cluster))
  const group = newGroupName("u")
  const missing = Array.from({ length: nodes - living.length }, (_, i) => `${group}-${i + 1}`)
  yield* Effect.forEach(missing, (instance) => orchestrator.start(launch(instance, version)), {
    concurrency: 4,
    discard: true
  })
  return over
})

/** A member's news; of one that did not come up also what its log ends with. */
const tell = Effect.fnUntraced(function* (
  { dataDir }: ClaimedCluster,
  member: Member,
  text: string,
  served: ReadonlySet<string>
) {
  const output = yield* Output
  const { log } = member
  if (neverServed(member, served)) {
    const lines = yield* lastLines(log, logLines)
    return yield* output.line(
      { type: "Node", ...jsonOf(member), log, lastLines: lines },
      [
        `${text}: it did not come up. Its log, ${log}, ${lines.length === 0 ? "is empty" : "ends with:"}`,
        ...lines.map((line) => `    ${line}`)
      ].join("\n")
    )
  }
  if (!endedBadly(member)) return yield* output.line({ type: "Node", ...jsonOf(member), log }, text)
  yield* output.line(
    { type: "Node", ...jsonOf(member), log, recover: dataDir },
    `${text}; its output is in ${log}. What it recorded and had not computed, \`ebb recordings recover ${dataDir}\` computes`
  )
})

/** Whether as many serve as were asked for, and of which it is not known yet. */
const tellHowMany = Effect.fnUntraced(function* (
  { folder }: ClaimedCluster,
  asked: number,
  serving: number,
  living: ReadonlyArray<Member>
) {
  const output = yield* Output
  if (serving >= asked) {
    return yield* output.line(
      { type: "Ready", nodes: serving, folder },
      `ready: ${count(serving, "node")}. Ctrl-C drains them`
    )
  }
  const waitedFor = living.filter(({ life }) => life === undefined || life === "Starting")
  const others = waitedFor.length === 0 ? ": the others drain or have ended" : ""
  yield* output.line(
    {
      type: "Fewer",
      nodes: serving,
      asked,
      folder,
      notYet: waitedFor.map(({ instance, log }) => ({ instance, log }))
    },
    [
      `only ${serving} of ${count(asked, "node")} serve${others}. Ctrl-C drains what there is; \`ebb up\` after that starts as many as are missing`,
      ...waitedFor.map(({ instance, log }) => `    ${instance} does not serve yet; its log is ${log}`)
    ].join("\n")
  )
})

/** Shows who joins and leaves, until it was asked to end and every node has, or none has come up. */
const follow = Effect.fnUntraced(function* (
  cluster: ClaimedCluster,
  interrupted: Queue.Queue<void>,
  asked: number,
  over: ReadonlyMap<string, Member>
) {
  const output = yield* Output
  const control = yield* makeControlClient(cluster.name)
  const late = yield* Effect.forkScoped(Effect.sleep(defaultLimits.servingMs))
  let ending: Ending = "none"
  let before = over
  /** How many of those asked for were said to serve. */
  let saidToServe: number | undefined
  let told = ""
  const ours = new Set<string>()
  const served = new Set<string>()

  while (true) {
    if (Option.isSome(yield* Queue.poll(interrupted))) {
      ending = harder[ending]
      yield* output.line({ type: "Ending", how: ending }, endingWords[ending])
    }
    const all = yield* members
    for (const { instance, life } of all) if (life !== undefined && life !== "Starting") served.add(instance)
    for (const { member, text } of news(before, all)) {
      ours.add(member.instance)
      yield* tell(cluster, member, text, served)
    }
    before = byName(all)
    const living = all.filter(isAlive)
    yield* output.live(["", ...memberTable(living)])
    const serving = living.filter(({ life }) => life === "Serving")
    const isSettled = serving.length === living.length || late.pollUnsafe() !== undefined
    if (ending === "none" && isSettled && saidToServe !== Math.min(serving.length, asked)) {
      if (living.length === 0 && saidToServe === undefined)
        return { code: exitCodes.failed, text: "no node came up, so all is ended" }
      saidToServe = Math.min(serving.length, asked)
      yield* tellHowMany(cluster, asked, serving.length, living)
    }
    if (ending !== "none") {
      if (living.length === 0)
        return yield* concludeOf(
          all.filter(({ instance }) => ours.has(instance)),
          ending
        )
      const waiting = yield* endNodes(living, ending, control)
      const text = JSON.stringify(waiting)
      if (text !== told) {
        for (const { instance, recordings, rooms } of waiting) {
          yield* output.line(
            { type: "Waiting", instance, rooms, recordings },
            `  ${instance} is held by ${[...rooms, ...recordings].slice(0, 5).join(", ")}`
          )
        }
      }
      told = text
    }
    yield* Effect.raceFirst(Effect.sleep(lookAgainMs), Effect.asVoid(Queue.peek(interrupted)))
  }
})
