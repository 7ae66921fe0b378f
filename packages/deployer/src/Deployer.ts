/**
 * The actor that runs one rollout: sees the cluster, lets `decide` say what is next, does it, and does so again until the rollout is
 * over. Owns nothing but the loop: the truth is the log, the instances are the orchestrator's, each node's state its own.
 *
 * Killed at any moment and spawned again, here or elsewhere, it goes on from the log. Two at once: the older one's next append fails
 * with `RolloutTakenOver`, and every effect comes after an append.
 */
import { ActorSystem, define, type Id, Leases, message, protocol } from "@ebb/actors"
import { makeControlClient } from "@ebb/media/protocol"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RolloutLogUnreadable, RolloutTakenOver, StateUnreadable } from "./DeployError.ts"
import { NothingToReplace, RolloutOpen } from "./DeployError.ts"
import { type Hands, performStep } from "./internal/performStep.ts"
import { makeSight } from "./internal/sight.ts"
import { type Instance, Orchestrator } from "./Orchestrator.ts"
import { isOpen, type OpenRollout, type Plan, type Rollout } from "./Rollout.ts"
import { type Cluster, decide, defaultLimits, type RolloutLimits } from "./RolloutDecision.ts"
import type { ForceMode, RolloutEvent, RolloutFailure, RolloutRecord } from "./RolloutEvent.ts"
import { openRolloutLog } from "./RolloutLog.ts"

export type { Recovered } from "./internal/performStep.ts"

export interface RolloutRequest {
  /** The id of the rollout, should one begin. */
  readonly rollout: Id
  readonly to: string
  /** Also the nodes that run that version already. */
  readonly restart?: boolean
  readonly force?: ForceMode
}

/** What is told to who looks on; only `Logged` is durable. */
export type RolloutProgress = Data.TaggedEnum<{
  Logged: { readonly record: RolloutRecord; readonly rollout: Rollout }
  /** The one signal of an instance went out; epoch milliseconds. */
  Signalled: { readonly instance: string; readonly at: number }
  /** While an old node drains, each time something of it has changed. */
  Waiting: {
    readonly instance: string
    readonly life: string
    readonly rooms: ReadonlyArray<string>
    readonly recordings: ReadonlyArray<string>
  }
}>
export const RolloutProgress = Data.taggedEnum<RolloutProgress>()

/** `Unchanged`: all nodes ran that version already, and nothing was begun. `left`: what was not replaced. */
export type RolloutEnd = Data.TaggedEnum<{
  Unchanged: { readonly to: string; readonly nodes: number }
  Completed: { readonly plan: Plan }
  Stopped: { readonly plan: Plan; readonly failure: RolloutFailure; readonly left: ReadonlyArray<string> }
}>
export const RolloutEnd = Data.taggedEnum<RolloutEnd>()

/** Why a rollout cannot be followed any more; it stays as the log has it. */
export type DeployerLost = RolloutTakenOver | RolloutLogUnreadable | StateUnreadable

export interface DeployerArgs extends Pick<Hands, "launch" | "recover"> {
  readonly request: RolloutRequest
  readonly onProgress: (progress: RolloutProgress) => Effect.Effect<void>
  /** Completed when the rollout is over, or lost. */
  readonly ended: Deferred.Deferred<RolloutEnd, DeployerLost>
  readonly limits?: RolloutLimits
}

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

/** Milliseconds between two looks at the cluster. */
const lookAgainMs = 200

export const deployer = define(deployerKind, DeployerProtocol, (self, args: DeployerArgs) =>
  Effect.gen(function* () {
    const system = yield* ActorSystem
    const control = yield* makeControlClient(system.cluster)
    const log = yield* openRolloutLog(system.incarnation)
    const look = yield* makeSight(control)
    const { launch, limits = defaultLimits, onProgress, recover, request } = args
    const onSignalled = (instance: string) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => onProgress(RolloutProgress.Signalled({ instance, at })))
    const hands: Hands = { control, launch, recover, onSignalled }
    let loggedAtMs = yield* monotonicMs
    let told = ""

    const append = Effect.fnUntraced(function* (event: RolloutEvent) {
      const record = yield* log.append(event)
      loggedAtMs = yield* monotonicMs
      yield* onProgress(RolloutProgress.Logged({ record, rollout: log.state() }))
    })

    const tell = Effect.fnUntraced(function* (rollout: OpenRollout, cluster: Cluster) {
      const waiting = waitingFor(rollout, cluster)
      const text = JSON.stringify(waiting)
      if (waiting === undefined || text === told) return
      told = text
      yield* onProgress(waiting)
    })

    const first = yield* begin(log.state(), request)
    const run = Effect.gen(function* () {
      if (first._tag === "Unchanged") return first
      yield* append(first)
      for (let rollout = log.state(); isOpen(rollout); rollout = log.state()) {
        const cluster = yield* look(rollout, (yield* monotonicMs) - loggedAtMs)
        yield* tell(rollout, cluster)
        const outcome = yield* performStep(decide(rollout, cluster, request.force, limits), rollout, hands)
        if (outcome.append === undefined) yield* Effect.sleep(lookAgainMs)
        else yield* append(outcome.append)
      }
      return yield* endOfRollout(log.state())
    })
    yield* run.pipe(
      Effect.onExit((exit) => Deferred.done(args.ended, exit)),
      Effect.andThen(self.stop("the rollout is over")),
      Effect.ignore,
      Effect.forkScoped
    )
    return { Status: () => Effect.sync(() => statusOf(log.state())) }
  })
)

const monotonicMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/**
 * The event with which this process takes the rollout up, or why it must not. Asked for again after its end, and without `restart`, it
 * is done: whoever was killed, or cut off, before the end was told may ask once more.
 */
const begin = Effect.fnUntraced(function* (rollout: Rollout, request: RolloutRequest) {
  const { rollout: id, to } = request
  if (isOpen(rollout)) {
    const { plan } = rollout
    if (plan.to !== to) return yield* new RolloutOpen({ rollout: plan.rollout, to: plan.to, asked: to })
    return { _tag: "DeployerAttached" } satisfies RolloutEvent
  }
  if (rollout._tag === "Stopped" && rollout.plan.to === to) {
    return { _tag: "RolloutResumed" } satisfies RolloutEvent
  }
  const running = yield* replaceable
  if (running.length === 0) return yield* new NothingToReplace()
  const instances = running.filter(isOld(request))
  if (instances.length === 0) return RolloutEnd.Unchanged({ to, nodes: running.length })
  const leases = yield* (yield* Leases).current
  const cordoned = new Set(leases.filter((lease) => lease.admission === "cordoned").map(({ node }) => node))
  const old = instances.map(({ instance, version }) => ({
    instance,
    version,
    cordoned: cordoned.has(instance)
  }))
  return { _tag: "RolloutStarted", rollout: id, to, old } satisfies RolloutEvent
})

/** All that run. One that was signalled before is on its way out already, and is replaced by nobody. */
export const replaceable = Effect.gen(function* () {
  const instances = yield* (yield* Orchestrator).list
  return instances.filter(({ signalled, state }) => state._tag === "Running" && signalled === "no")
})

export const isOld =
  ({ restart = false, to }: Pick<RolloutRequest, "restart" | "to">) =>
  ({ version }: Pick<Instance, "version">): boolean =>
    restart || version !== to

/** Who holds the step up; undefined while nobody has said so. */
const waitingFor = (rollout: OpenRollout, { report }: Cluster) => {
  const instance = rollout._tag === "Draining" ? rollout.plan.old[rollout.step]?.instance : undefined
  if (instance === undefined || report === undefined || report.life === "Serving") return undefined
  const { life, recordings, rooms } = report
  return RolloutProgress.Waiting({ instance, life, rooms, recordings })
}

const endOfRollout = (rollout: Rollout): Effect.Effect<RolloutEnd> => {
  if (rollout._tag === "Completed") return Effect.succeed(RolloutEnd.Completed({ plan: rollout.plan }))
  if (rollout._tag !== "Stopped") return Effect.die(`BUG: a rollout ended ${rollout._tag}`)
  const { at, failure, plan } = rollout
  const left = plan.old.slice(at.step).map(({ instance }) => instance)
  return Effect.succeed(RolloutEnd.Stopped({ plan, failure, left }))
}

const statusOf = (rollout: Rollout) => {
  if (rollout._tag === "Idle") return { state: rollout._tag }
  const { plan } = rollout
  const stage = "at" in rollout ? rollout.at : rollout
  const replaced = stage._tag === "Completed" ? plan.old.length : stage.step
  return { state: rollout._tag, rollout: plan.rollout, to: plan.to, replaced, of: plan.old.length }
}
