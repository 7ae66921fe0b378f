/**
 * `ebb up`: a cluster on this machine, in the foreground. Owns the state folder's lock and the nats-server; the nodes are processes of
 * their own, which live on when this one is killed and are taken up by the next `ebb up`.
 *
 * Ends them only as they can bear it: the first Ctrl-C drains, the second evacuates, the third kills; nats-server goes last.
 */
import process from "node:process"
import { Leases } from "@ebb/actors"
import { type ControlClient, makeControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { type NatsServer, natsEndpoint, startNats } from "../cluster/embeddedNats.ts"
import { mediaProgram, nodeLaunch } from "../cluster/nodeLaunch.ts"
import { findRelease, readReleases } from "../cluster/releases.ts"
import { type ClaimedCluster, claimCluster, stateFolder } from "../cluster/state.ts"
import { VersionUnspecified } from "../DeployError.ts"
import { createFileOnce } from "../internal/stateFile.ts"
import { layerLocal } from "../orchestrators/local.ts"
import { Orchestrator } from "../Orchestrator.ts"
import { interrupts } from "./interrupts.ts"
import { isAlive, type Member, members, memberTable, news, stateOf } from "./membership.ts"
import { newGroupName } from "./names.ts"
import { count, Output } from "./output.ts"
import { command, Ended, exitCodes, root } from "./root.ts"
import { connection } from "./session.ts"

const lookAgainMs = 250

export const up = Command.make(
  "up",
  {
    nodes: Flag.Int("nodes").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("How many nodes are to run (default: 3); living ones count"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 }))),
      Flag.withDefault(3)
    ),
    version: Flag.String("version").pipe(
      Flag.withMetavar("VERSION"),
      Flag.withDescription(
        "What new nodes run, by its name in the releases file (default: `current`, or its only one)"
      ),
      Flag.optional
    ),
    releases: Flag.String("releases").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("The releases file, remembered (default: releases.json in the cluster's folder)"),
      Flag.optional
    ),
    dataDir: Flag.String("data-dir").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription(
        "Where nodes keep journals and results, remembered (default: data in the cluster's folder)"
      ),
      Flag.optional
    )
  },
  ({ dataDir, nodes, releases, version }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const asked = yield* interrupts
        const flags = yield* root
        const given = <K extends string>(key: K, value: Option.Option<string>) =>
          (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: string }
        const cluster = yield* claimCluster({
          folder: yield* stateFolder(flags),
          name: flags.cluster,
          ...given("releases", releases),
          ...given("dataDir", dataDir)
        })
        yield* writeReleases(cluster)
        const wanted = yield* versionOf(cluster, Option.getOrUndefined(version))

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
        const services = Layer.mergeAll(Leases.layer, layerLocal(cluster)).pipe(
          Layer.provideMerge(yield* connection(cluster, "deployer"))
        )
        const { code } = yield* Effect.gen(function* () {
          yield* startNodes(cluster, nodes, wanted)
          return yield* follow(cluster, asked)
        }).pipe(Effect.provide(services), Effect.scoped)
        yield* Fiber.interrupt(keeper)
        yield* server.stop
        yield* output.result({ outcome: code === exitCodes.ok ? "ok" : "failed" }, "all has ended")
        if (code !== exitCodes.ok) return yield* new Ended({ code })
      })
    )
).pipe(
  Command.withDescription(
    [
      "Run a cluster on this machine: a nats-server with passwords of its own, on loopback, and nodes. Stays in the foreground; use another terminal for the other commands.",
      "",
      "Ctrl-C drains the nodes and waits until their rooms have closed and their recordings are stored; a second one evacuates them, a third kills them. Killed itself, it leaves the nodes running, and `ebb up` takes them up again.",
      "",
      "Exit codes: 0 all drained, 1 failed or a node ended badly, 64 bad usage, 130 killed by the third Ctrl-C."
    ].join("\n")
  )
)

/** For a folder without a releases file: the version `current` is this installation. */
const writeReleases = (cluster: ClaimedCluster) =>
  createFileOnce(
    cluster.releases,
    `${JSON.stringify({ versions: { current: { command: [process.execPath, mediaProgram("ebb-node")] } } }, undefined, 2)}\n`
  )

const versionOf = Effect.fnUntraced(function* (cluster: ClaimedCluster, asked: string | undefined) {
  const releases = yield* readReleases(cluster.releases)
  const known = Object.keys(releases.versions)
  const version =
    asked ?? (known.includes("current") || known.length !== 1 ? "current" : known[0]) ?? "current"
  if (asked === undefined && !known.includes(version)) {
    return yield* new VersionUnspecified({ known, file: releases.file })
  }
  yield* findRelease(releases, version)
  return version
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
      Effect.tapError((error) => output.line({ type: "NatsFailed", problem: error.message }, error.message)),
      Effect.retry({ schedule: Schedule.spaced("1 second") })
    )
    onStarted(server)
    yield* output.line(
      { type: "NatsServing", port: server.port, adopted: server.adopted, folder: cluster.folder },
      `nats-server runs again on 127.0.0.1:${server.port}`
    )
  }
})

/** As many as are missing, at once; those of an earlier `ebb up` are taken up as they are. */
const startNodes = Effect.fnUntraced(function* (cluster: ClaimedCluster, nodes: number, version: string) {
  const output = yield* Output
  const orchestrator = yield* Orchestrator
  const living = (yield* members).filter(isAlive)
  if (living.length > 0) {
    const names = living.map(({ instance }) => instance)
    yield* output.line({ type: "Adopted", nodes: names }, `taking up what lives: ${names.join(", ")}`)
  }
  const launch = nodeLaunch(cluster, yield* natsEndpoint(cluster, "node"))
  const group = newGroupName("u")
  const missing = Array.from({ length: Math.max(0, nodes - living.length) }, (_, i) => `${group}-${i + 1}`)
  yield* Effect.forEach(missing, (instance) => orchestrator.start(launch(instance, version)), {
    concurrency: 4,
    discard: true
  })
})

type Ending = "none" | "draining" | "evacuating" | "killing"
const next: Readonly<Record<Ending, Ending>> = {
  none: "draining",
  draining: "evacuating",
  evacuating: "killing",
  killing: "killing"
}

/** Shows who joins and leaves, until it was asked to end and every node has. */
const follow = Effect.fnUntraced(function* (cluster: ClaimedCluster, asked: Queue.Queue<void>) {
  const output = yield* Output
  const control = yield* makeControlClient(cluster.name)
  let ending: Ending = "none"
  let before: ReadonlyMap<string, Member> | undefined
  let isReady = false
  let told = ""
  const ours = new Set<string>()

  while (true) {
    if (Option.isSome(yield* Queue.poll(asked))) {
      ending = next[ending]
      yield* output.line({ type: "Ending", how: ending }, endingWords[ending])
    }
    const all = yield* members
    for (const { member, text } of news(before, all)) {
      ours.add(member.instance)
      yield* output.line({ type: "Node", ...jsonOf(member) }, text)
    }
    before = new Map(all.map((member) => [member.instance, member]))
    const living = all.filter(isAlive)
    yield* output.live(["", ...memberTable(living)])
    const serving = living.filter(({ life }) => life === "Serving")
    if (!isReady && living.length > 0 && serving.length === living.length && ending === "none") {
      isReady = true
      yield* output.line(
        { type: "Ready", nodes: serving.length, folder: cluster.folder },
        `ready: ${count(serving.length, "node")}. Ctrl-C drains them`
      )
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
    yield* Effect.raceFirst(Effect.sleep(lookAgainMs), Effect.asVoid(Queue.peek(asked)))
  }
})

const endingWords: Readonly<Record<Ending, string>> = {
  none: "",
  draining: "draining: waiting until every room has closed. Ctrl-C again ends the rooms now",
  evacuating: "evacuating: rooms are ended, recordings finished. Ctrl-C again kills",
  killing: "killing: recordings are finished by the next `ebb up`, or by `ebb recordings recover`"
}

/** Moves each towards its end, as far as was asked. Every part of it may be repeated. */
const endNodes = Effect.fnUntraced(function* (
  living: ReadonlyArray<Member>,
  ending: Ending,
  control: ControlClient
) {
  const orchestrator = yield* Orchestrator
  const once = { timeoutMs: 2_000, retryForMs: 0 }
  const by = { by: "ebb up", reason: "Ctrl-C" }
  return (yield* Effect.forEach(
    living.filter(({ state }) => state._tag === "Running"),
    Effect.fnUntraced(function* ({ instance, life, signalled }) {
      if (ending === "killing") yield* Effect.ignore(orchestrator.kill(instance))
      else if (signalled === "no") yield* Effect.ignore(orchestrator.signalOnce(instance, "SIGTERM"))
      // A mark without a known signal: the same drain by message.
      else if (signalled === "intent" && life === "Serving") {
        yield* Effect.ignore(control.call("node.drain", { nodeId: instance, ...by }, once))
      }
      if (ending === "evacuating" && life === "Draining") {
        yield* Effect.ignore(control.call("node.drain", { nodeId: instance, evacuate: true, ...by }, once))
      }
      const report = yield* Effect.option(control.call("node.status", { nodeId: instance }, once))
      if (Option.isNone(report)) return []
      const [rooms, recordings] = [report.value.rooms, report.value.recordings].map((blockers) =>
        blockers.map(({ id }) => id)
      )
      return [{ instance, rooms: rooms ?? [], recordings: recordings ?? [] }]
    }),
    { concurrency: 8 }
  ))
    .flat()
    .filter(({ recordings, rooms }) => rooms.length + recordings.length > 0)
})

const jsonOf = (member: Member) => ({
  instance: member.instance,
  version: member.version,
  state: member.state._tag,
  life: member.life ?? null,
  admission: member.admission ?? null,
  code: member.state._tag === "Exited" ? member.state.code : null
})

/** Says what ended otherwise than drained. */
const concludeOf = Effect.fnUntraced(function* (all: ReadonlyArray<Member>, ending: Ending) {
  const output = yield* Output
  const badly = all.filter(({ state }) => state._tag !== "Exited" || (state.code !== 0 && state.code !== 3))
  for (const member of badly) {
    yield* output.line(
      { type: "EndedBadly", ...jsonOf(member), log: member.log },
      `${member.instance} ${stateOf(member)}; its output is in ${member.log}`
    )
  }
  return {
    code: ending === "killing" ? exitCodes.detached : badly.length > 0 ? exitCodes.failed : exitCodes.ok
  }
})
