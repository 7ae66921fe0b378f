/** `ebb rollout --to VERSION`: runs the deployer here until the rollout is over, or Ctrl-C detaches. */
import path from "node:path"
import process from "node:process"
import { ActorSystem, layerNatsEventLog, Leases } from "@ebb/actors"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { natsEndpoint } from "../cluster/embeddedNats.ts"
import { nodeLaunch } from "../cluster/nodeLaunch.ts"
import { findRelease, readReleases } from "../cluster/releases.ts"
import type { Cluster } from "../cluster/state.ts"
import { ForceUnconfirmed, RolloutRunning } from "../DeployError.ts"
import {
  deployer,
  type DeployerLost,
  isOld,
  replaceable,
  type RolloutEnd,
  type RolloutRequest
} from "../Deployer.ts"
import { logFile } from "../internal/detachedProcess.ts"
import { acquireLock } from "../internal/folderLock.ts"
import { layerLocal } from "../orchestrators/local.ts"
import { isOpen } from "../Rollout.ts"
import type { ForceMode } from "../RolloutEvent.ts"
import { readRollout } from "../RolloutLog.ts"
import { paragraph } from "./help.ts"
import { interrupts } from "./interrupts.ts"
import { count, Output, some } from "./output.ts"
import { recoverFrom } from "./recoverFrom.ts"
import { command, Ended, exitCodes } from "./root.ts"
import { makeReport, resultOf } from "./rolloutReport.ts"
import { connection, controlClient, theCluster } from "./session.ts"
import { newGroupName } from "./names.ts"

export const rollout = Command.make(
  "rollout",
  {
    to: Flag.String("to").pipe(
      Flag.withMetavar("VERSION"),
      Flag.withDescription("The version that all nodes are to run, by its name in the releases file")
    ),
    restart: Flag.Boolean("restart").pipe(
      Flag.withDescription("Replace also the nodes that run that version already"),
      Flag.withDefault(false)
    ),
    force: Flag.Literals("force", ["evacuate", "kill"]).pipe(
      Flag.withDescription(
        "Do not wait for rooms: end them (evacuate), or kill the nodes; recordings are kept"
      ),
      Flag.optional
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Do it although rooms are cut; without it they are only listed"),
      Flag.withDefault(false)
    )
  },
  ({ force, restart, to, yes }) =>
    command(
      Effect.gen(function* () {
        const cluster = yield* theCluster
        yield* findRelease(yield* readReleases(cluster.releases), to)
        const mode = Option.getOrUndefined(force)
        const asked = { to, restart, ...(mode === undefined ? {} : { force: mode }) }
        if (mode !== undefined && !yes) yield* refuseUnconfirmed(cluster, asked, mode)
        yield* claimRollout(cluster)
        const end = yield* run(cluster, asked)
        const output = yield* Output
        const { json, text } = resultOf(end, (instance) => logFile(path.join(cluster.instances, instance)))
        yield* output.result(json, text)
        if (end._tag === "Stopped") return yield* new Ended({ code: exitCodes.stopped })
      })
    )
).pipe(
  Command.withShortDescription("Replace all nodes by new ones of a version, one at a time"),
  Command.withDescription(
    paragraph(
      "Replace all nodes by new ones of a version, one at a time: start a new one,",
      "drain an old one (SIGTERM, once), wait until its rooms have closed and its",
      "recordings are stored, next.",
      "",
      "Ctrl-C detaches: what drains goes on draining, and nothing more is done. The",
      "same command again goes on with it, also after a stop or a crash; once all",
      "nodes run the version it does nothing, unless --restart is given.",
      "",
      "Exit codes: 0 completed, 1 failed or refused, 2 stopped (what is left and what",
      "to do is named), 64 bad usage, 130 detached by Ctrl-C."
    )
  )
)

type Asked = Omit<RolloutRequest, "rollout">

/** Fails with who would be cut, node by node, unless there is nothing to replace. */
const refuseUnconfirmed = Effect.fnUntraced(function* (cluster: Cluster, asked: Asked, mode: ForceMode) {
  const output = yield* Output
  const { call, patience } = yield* controlClient("control")
  const nats = yield* connection(cluster, "deployer")
  const log = layerNatsEventLog({ cluster: cluster.name, log: "rollout" }).pipe(Layer.provide(nats))
  const rollout = yield* Effect.provide(readRollout, log)
  const stage = "at" in rollout ? rollout.at : "step" in rollout ? rollout : undefined
  // One that is gone on with puts at risk what it has still to replace, and not what it has started.
  const goesOn = stage !== undefined && (isOpen(rollout) || stage.plan.to === asked.to)
  const old = goesOn
    ? stage.plan.old.slice(stage.step)
    : (yield* Effect.provide(replaceable, layerLocal(cluster))).filter(isOld(asked))
  if (old.length === 0) return
  let [rooms, recordings] = [0, 0]
  for (const { instance: nodeId } of old) {
    const report = yield* Effect.option(call("node.status", { nodeId }, patience))
    if (Option.isNone(report)) {
      yield* output.line({ type: "AtRisk", nodeId, known: false }, `${nodeId}: does not answer`)
      continue
    }
    const at = (all: ReadonlyArray<{ readonly id: string }>) => all.map(({ id }) => id)
    const [itsRooms, itsRecordings] = [at(report.value.rooms), at(report.value.recordings)]
    rooms += itsRooms.length
    recordings += itsRecordings.length
    yield* output.line(
      { type: "AtRisk", nodeId, known: true, rooms: itsRooms, recordings: itsRecordings },
      `${nodeId}: ${count(itsRooms.length, "room")}${some(itsRooms)}, ${count(itsRecordings.length, "recording")}${some(itsRecordings)}`
    )
  }
  return yield* new ForceUnconfirmed({ mode, rooms, recordings })
})

/** One deployer at a time on this machine. Not what keeps two apart (that is the log), but what says so at once. */
const claimRollout = Effect.fnUntraced(function* ({ folder }: Cluster) {
  const lock = yield* acquireLock(path.join(folder, "rollout.lock"))
  if (Result.isSuccess(lock)) return
  const { holder } = lock.failure
  return yield* new RolloutRunning({ folder, ...(Option.isSome(holder) ? { pid: holder.value } : {}) })
})

const run = Effect.fnUntraced(function* (cluster: Cluster, request: Asked) {
  const output = yield* Output
  const asked = yield* interrupts
  const nats = yield* connection(cluster, "deployer")
  const endpoint = yield* natsEndpoint(cluster, "node")
  const ended = yield* Deferred.make<RolloutEnd, DeployerLost>()
  const services = Layer.mergeAll(
    ActorSystem.layer({ cluster: cluster.name, nodeId: `deployer-${process.pid}` }),
    Leases.layer,
    layerNatsEventLog({ cluster: cluster.name, log: "rollout" }),
    layerLocal(cluster)
  ).pipe(Layer.provideMerge(nats))

  return yield* Effect.gen(function* () {
    const system = yield* ActorSystem
    const actor = yield* system.spawn(deployer, "rollout", {
      request: { ...request, rollout: newGroupName("r") },
      launch: nodeLaunch(cluster, endpoint),
      recover: (instance) => recoverFrom(cluster, endpoint, instance),
      onProgress: makeReport(output),
      ended
    })
    yield* actor.started
    const detached = Effect.andThen(Queue.take(asked), Effect.succeedNone)
    const end = yield* Effect.raceFirst(Effect.asSome(Deferred.await(ended)), detached)
    if (Option.isSome(end)) return end.value
    yield* output.result(
      { outcome: "detached", to: request.to },
      `detached: nodes that drain go on draining, and nothing more is done. \`ebb rollout --to ${request.to}\` goes on with it`
    )
    return yield* new Ended({ code: exitCodes.detached })
  }).pipe(Effect.provide(services))
})
