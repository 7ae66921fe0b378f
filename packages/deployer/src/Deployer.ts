/**
 * The actor that runs one rollout: sees the cluster, lets `decide` say what is next, does it, and does so again until the rollout is
 * over. Owns nothing but the loop: the truth is the log, the instances are the orchestrator's, each node's state its own.
 *
 * Killed at any moment and spawned again, here or elsewhere, it goes on from the log. Two at once: the older one's next append fails
 * with `RolloutTakenOver`, and every effect comes after an append.
 */
import { ActorSystem, define, type Id, Leases, message, protocol } from "@ebb/actors"
import { type ControlClient, makeControlClient } from "@ebb/media/protocol"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { NothingToReplace, RolloutOpen } from "./DeployError.ts"
import type { StartRequest } from "./Orchestrator.ts"
import { Orchestrator } from "./Orchestrator.ts"
import { isOpen, type OpenRollout, type Plan, type Rollout } from "./Rollout.ts"
import { type Cluster, decide, defaultLimits, type RolloutLimits, Step } from "./RolloutDecision.ts"
import type {
  ForceMode,
  RolloutEvent,
  RolloutEventOf,
  RolloutFailure,
  RolloutRecord
} from "./RolloutEvent.ts"
import { openRolloutLog, type RolloutLog } from "./RolloutLog.ts"

/** What of an instance's recordings could be finished from its disk. */
export type Recovered = Pick<RolloutEventOf<"RecordingsRecovered">, "computed" | "empty" | "failed">

export interface RolloutRequest {
  /** The id of the rollout, should one begin. */
  readonly rollout: Id
  readonly to: string
  readonly force?: ForceMode
}

/** What is told to who looks on. `Waiting` comes when something of it has changed. */
export type RolloutProgress = Data.TaggedEnum<{
  Logged: { readonly record: RolloutRecord; readonly rollout: Rollout }
  Waiting: {
    readonly instance: string
    readonly life: string
    readonly rooms: ReadonlyArray<string>
    readonly recordings: ReadonlyArray<string>
  }
}>
export const RolloutProgress = Data.taggedEnum<RolloutProgress>()

/** `left`: what was not replaced. */
export type RolloutEnd = Data.TaggedEnum<{
  Completed: { readonly plan: Plan }
  Stopped: { readonly plan: Plan; readonly failure: RolloutFailure; readonly left: ReadonlyArray<string> }
}>
export const RolloutEnd = Data.taggedEnum<RolloutEnd>()

export interface DeployerArgs {
  readonly request: RolloutRequest
  /** How a node of a version is started. */
  readonly launch: (instance: string, version: string) => StartRequest
  /** Finishes from disk what an instance that is gone has left. */
  readonly recover: (instance: string) => Effect.Effect<Recovered>
  readonly onProgress: (progress: RolloutProgress) => Effect.Effect<void>
  /** Completed when the rollout is over, or cannot be followed. */
  readonly ended: Deferred.Deferred<RolloutEnd, LoopError>
  readonly limits?: RolloutLimits
}
export type LoopError =
  | Effect.Error<ReturnType<RolloutLog["append"]>>
  | Effect.Error<Orchestrator["Service"]["list"]>

export const DeployerProtocol = protocol(
  message("Status", {
    success: Schema.Struct({
      /** Open: a later version may know another. */
      state: Schema.String,
      rollout: Schema.optionalKey(Schema.String),
      to: Schema.optionalKey(Schema.String),
      /** Old instances replaced, and all of them. */
      replaced: Schema.optionalKey(Schema.Int),
      of: Schema.optionalKey(Schema.Int)
    })
  })
)
export const deployerKind = "deployer"

/** Milliseconds between two looks while nothing is to be done. */
const lookAgainMs = 200
/** For one question to a node, in milliseconds: it is asked again at the next look. */
const askMs = 2_000

export const deployer = define(deployerKind, DeployerProtocol, (self, args: DeployerArgs) =>
  Effect.gen(function* () {
    const system = yield* ActorSystem
    const control = yield* makeControlClient(system.cluster)
    const log = yield* openRolloutLog(system.incarnation)
    const { onProgress, request } = args
    let loggedAtMs = yield* monotonicMs

    const append = Effect.fnUntraced(function* (event: RolloutEvent) {
      const record = yield* log.append(event)
      loggedAtMs = yield* monotonicMs
      yield* onProgress(RolloutProgress.Logged({ record, rollout: log.state() }))
    })

    const first = yield* begin(log.state(), request)
    const seen = yield* makeSight(control)
    let told = ""

    const loop = Effect.gen(function* () {
      yield* append(first)
      for (let rollout = log.state(); isOpen(rollout); rollout = log.state()) {
        const cluster = yield* seen(rollout, (yield* monotonicMs) - loggedAtMs)
        if (rollout._tag === "Draining") {
          const waiting = waitingFor(rollout.plan.old[rollout.step]?.instance ?? "", cluster)
          const text = JSON.stringify(waiting)
          if (text !== told) yield* onProgress(waiting)
          told = text
        }
        const step = decide(rollout, cluster, request.force, args.limits ?? defaultLimits)
        yield* perform(step, { args, append, control, rollout })
      }
      return endOfRollout(log.state())
    })

    yield* loop.pipe(
      Effect.onExit((exit) => Deferred.done(args.ended, exit)),
      Effect.andThen(self.stop("the rollout is over")),
      Effect.ignore,
      Effect.forkScoped
    )
    return { Status: () => Effect.sync(() => statusOf(log.state())) }
  })
)

const monotonicMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/** The event with which this process takes the rollout up, or why it must not. */
const begin = Effect.fnUntraced(function* (rollout: Rollout, { rollout: id, to }: RolloutRequest) {
  if (isOpen(rollout)) {
    const { plan } = rollout
    if (plan.to !== to) return yield* new RolloutOpen({ rollout: plan.rollout, to: plan.to, asked: to })
    return { _tag: "DeployerAttached" } satisfies RolloutEvent
  }
  if (rollout._tag === "Stopped" && rollout.plan.to === to) {
    return { _tag: "RolloutResumed" } satisfies RolloutEvent
  }
  const leases = yield* Leases
  const old = yield* replaceable
  if (old.length === 0) return yield* new NothingToReplace()
  const nodes = new Map((yield* leases.current).map((lease) => [lease.node, lease.admission]))
  return {
    _tag: "RolloutStarted",
    rollout: id,
    to,
    old: old.map(({ instance, version }) => ({
      instance,
      version,
      cordoned: nodes.get(instance) === "cordoned"
    }))
  } satisfies RolloutEvent
})

/** All that run. One that was signalled before is on its way out, and not replaced by anybody. */
export const replaceable = Effect.gen(function* () {
  const instances = yield* (yield* Orchestrator).list
  return instances.filter(({ signalled, state }) => state._tag === "Running" && signalled === "no")
})

/** What can be seen of the cluster now, as far as the rollout's state asks for it. */
const makeSight = Effect.fnUntraced(function* (control: ControlClient) {
  const orchestrator = yield* Orchestrator
  const leases = yield* Leases
  const computed = new Set<string>()
  const once = { timeoutMs: askMs, retryForMs: 0 }

  const reportOf = (nodeId: string) =>
    control.call("node.status", { nodeId }, once).pipe(
      Effect.map(({ life, recordings, rooms, unfinished }) => ({
        life,
        rooms: rooms.map(({ id }) => id),
        recordings: [...recordings.map(({ id }) => id), ...unfinished.map(({ recordingId }) => recordingId)]
      })),
      Effect.orElseSucceed(() => undefined)
    )
  const isComputed = (recordingId: string) =>
    control.call("recording.get", { recordingId }, once).pipe(
      Effect.map(({ state }) => state === "Computed"),
      Effect.orElseSucceed(() => false)
    )

  return Effect.fnUntraced(function* (rollout: OpenRollout, quietMs: number) {
    const asks = rollout._tag === "Ready" || rollout._tag === "Draining"
    const old = asks ? rollout.plan.old[rollout.step]?.instance : undefined
    const instances = new Map(
      (yield* orchestrator.list).map(({ instance, signalled, state }) => [instance, { state, signalled }])
    )
    const report =
      old !== undefined && instances.get(old)?.state._tag === "Running" ? yield* reportOf(old) : undefined
    if (rollout._tag === "Settling") {
      for (const recording of rollout.recordings) {
        if (!computed.has(recording) && (yield* isComputed(recording))) computed.add(recording)
      }
    }
    const nodes = new Map(
      (yield* leases.current).map((lease) => [
        lease.node,
        { incarnation: lease.inc, version: lease.version, life: lease.life, admission: lease.admission }
      ])
    )
    const cluster: Cluster = { instances, nodes, report, computed, quietMs }
    return cluster
  })
})

interface Performing {
  readonly args: DeployerArgs
  readonly append: (
    event: RolloutEvent
  ) => ReturnType<RolloutLog["append"]> extends Effect.Effect<any, infer E> ? Effect.Effect<void, E> : never
  readonly control: ControlClient
  readonly rollout: OpenRollout
}

/** One step. What cannot be done now is decided upon anew at the next look; what never can be fails the rollout. */
const perform = Effect.fnUntraced(function* (step: Step, { append, args, control, rollout }: Performing) {
  const orchestrator = yield* Orchestrator
  const by = "deployer"
  const reason = `rollout to ${args.request.to}`
  const once = { timeoutMs: askMs, retryForMs: 0 }
  const again = (what: string) => (error: { readonly message: string }) =>
    Effect.logDebug(`${what}: ${error.message}; trying on`)
  const fails = (failure: RolloutFailure) => append({ _tag: "RolloutFailed", failure })
  const each = (instances: ReadonlyArray<string>, command: "node.cordon" | "node.uncordon") =>
    Effect.forEach(
      instances,
      (nodeId) => Effect.catch(control.call(command, { nodeId, by, reason }, once), again(command)),
      { concurrency: 8, discard: true }
    )

  switch (step._tag) {
    case "Append":
      return yield* append(step.event)
    case "Recover": {
      const recovered = yield* args.recover(step.instance)
      if (rollout._tag !== "Settling") return
      return yield* append({ _tag: "RecordingsRecovered", step: rollout.step, ...recovered })
    }
    case "Start": {
      const { instance, version } = step
      const started = yield* Effect.result(orchestrator.start(args.launch(instance, version)))
      if (started._tag === "Success") return
      const error = started.failure
      if (error.retry === "never") {
        return yield* fails({ reason: "NotServing", instance, detail: error.message, recordings: [] })
      }
      yield* again("start")(error)
      break
    }
    case "Signal": {
      const { instance } = step
      const signalled = yield* Effect.result(orchestrator.signalOnce(instance, "SIGTERM"))
      if (signalled._tag === "Failure" && signalled.failure._tag === "SignalRefused" && isOpen(rollout)) {
        const detail = signalled.failure.message
        if (rollout._tag === "Draining") {
          return yield* fails({ reason: "NotAcknowledged", instance, detail, recordings: rollout.recordings })
        }
      }
      break
    }
    case "Drain": {
      const { evacuate, instance: nodeId } = step
      yield* Effect.catch(control.call("node.drain", { nodeId, by, reason, evacuate }, once), again("drain"))
      break
    }
    case "Kill":
      yield* Effect.catch(Effect.asVoid(orchestrator.kill(step.instance)), again("kill"))
      break
    case "Cordon":
      yield* each(step.instances, "node.cordon")
      break
    case "Uncordon":
      yield* each(step.instances, "node.uncordon")
      break
    case "Wait":
      break
  }
  yield* Effect.sleep(lookAgainMs)
})

const waitingFor = (instance: string, { nodes, report }: Cluster): RolloutProgress =>
  RolloutProgress.Waiting({
    instance,
    life: report?.life ?? nodes.get(instance)?.life ?? "unknown",
    rooms: report?.rooms ?? [],
    recordings: report?.recordings ?? []
  })

const endOfRollout = (rollout: Rollout): RolloutEnd => {
  if (rollout._tag === "Stopped") {
    const { at, failure, plan } = rollout
    return RolloutEnd.Stopped({
      plan,
      failure,
      left: plan.old.slice(at.step).map(({ instance }) => instance)
    })
  }
  if (rollout._tag === "Completed") return RolloutEnd.Completed({ plan: rollout.plan })
  throw new Error(`BUG: a rollout ended ${rollout._tag}`)
}

const statusOf = (rollout: Rollout) => {
  if (rollout._tag === "Idle") return { state: rollout._tag }
  const { plan } = rollout
  const stage = "at" in rollout ? rollout.at : rollout
  const replaced = stage._tag === "Completed" ? plan.old.length : stage.step
  return { state: rollout._tag, rollout: plan.rollout, to: plan.to, replaced, of: plan.old.length }
}
