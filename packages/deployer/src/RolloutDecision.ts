/**
 * What to do next in a rollout: pure, from its state and from what is seen of the cluster.
 *
 * Guarantees that every side effect comes after its logged intent, that an old instance is touched only while the new one serves,
 * and that no step but `Signal` leads to a signal, and that one only for an instance that was never signalled: an old one that serves,
 * or a new one that never did. Each effect may be asked for again and again: it is idempotent, and its outcome is seen in the cluster.
 */
import * as Data from "effect/Data"
import { describeRange, isTooFarApart, type ProtocolRange } from "./internal/protocolGap.ts"
import type { InstanceState, Signalled } from "./Orchestrator.ts"
import type { OldEnd, OpenRollout, RolloutOf } from "./Rollout.ts"
import { newInstanceName } from "./Rollout.ts"
import type { ForceMode, OldInstance, RolloutEvent, RolloutFailure } from "./RolloutEvent.ts"

/** A node as its lease tells of it. */
export interface SeenNode {
  readonly incarnation: string
  readonly version: string
  readonly life: string
  readonly admission: string
  readonly proto: ProtocolRange
}

/** A node's own answer, just now. */
export interface SeenReport {
  readonly life: string
  readonly rooms: ReadonlyArray<string>
  readonly recordings: ReadonlyArray<string>
}

export interface Cluster {
  readonly instances: ReadonlyMap<string, { readonly state: InstanceState; readonly signalled: Signalled }>
  readonly nodes: ReadonlyMap<string, SeenNode>
  /** Of the old node of the present step; undefined when it gave none. */
  readonly report: SeenReport | undefined
  /** Recordings known to have a receipt. */
  readonly computed: ReadonlySet<string>
  /** Milliseconds that nothing new was logged, as far as this process saw. */
  readonly quietMs: number
}

export interface RolloutLimits {
  /** Milliseconds for a new instance to serve, from its start. */
  readonly servingMs: number
  /** Milliseconds for an old node to begin its drain, or to answer. A drain that has begun has no limit. */
  readonly acknowledgeMs: number
  /** Milliseconds for the receipts of an instance that is gone. */
  readonly receiptsMs: number
}
export const defaultLimits: RolloutLimits = {
  servingMs: 60_000,
  acknowledgeMs: 60_000,
  receiptsMs: 60_000
}

export type Step = Data.TaggedEnum<{
  Append: { readonly event: RolloutEvent }
  Cordon: { readonly instances: ReadonlyArray<string> }
  Uncordon: { readonly instances: ReadonlyArray<string> }
  Start: { readonly instance: string; readonly version: string }
  Signal: { readonly instance: string }
  /** Drain by message: for a node that may have been signalled, or that is to evacuate. */
  Drain: { readonly instance: string; readonly evacuate: boolean }
  Kill: { readonly instance: string }
  Recover: { readonly instance: string }
  Wait: {}
}>
export const Step = Data.taggedEnum<Step>()

const append = (event: RolloutEvent): Step => Step.Append({ event })

/** `force` is what was asked for on this run of the command. */
export const decide = (
  rollout: OpenRollout,
  cluster: Cluster,
  force: ForceMode | undefined,
  limits: RolloutLimits = defaultLimits
): Step => {
  switch (rollout._tag) {
    case "Cordoning": {
      const instances = rollout.plan.old
        .slice(rollout.at.step)
        .filter(
          ({ instance }) => isServing(cluster, instance) && cluster.nodes.get(instance)?.admission === "open"
        )
        .map(({ instance }) => instance)
      return instances.length > 0 ? Step.Cordon({ instances }) : append({ _tag: "NodesCordoned" })
    }
    case "Between": {
      const { plan, step } = rollout
      return step < plan.old.length
        ? append({ _tag: "StartIntended", step, instance: newInstanceName(plan, step) })
        : append({ _tag: "RolloutCompleted", replaced: plan.old.length })
    }
    case "Starting":
      return whileStarting(rollout, cluster, limits)
    case "Ready":
      return whenReady(rollout, cluster, force, limits)
    case "Draining":
      return whileDraining(rollout, cluster, force, limits)
    case "Settling":
      return whileSettling(rollout, cluster, limits)
    case "Stopping": {
      const instances = rollout.plan.old
        .slice(rollout.at.step)
        .filter(({ cordoned }) => !cordoned)
        .filter(
          ({ instance }) =>
            isServing(cluster, instance) && cluster.nodes.get(instance)?.admission === "cordoned"
        )
        .map(({ instance }) => instance)
      if (instances.length > 0) return Step.Uncordon({ instances })
      return neverServed(rollout, cluster) ?? append({ _tag: "RolloutStopped" })
    }
  }
}

/** A new instance that was given up is not left to come up later, unseen. */
const neverServed = ({ at }: RolloutOf<"Stopping">, { instances }: Cluster): Step | undefined => {
  if (at._tag !== "Starting") return undefined
  const seen = instances.get(at.instance)
  return seen?.state._tag === "Running" && seen.signalled === "no"
    ? Step.Signal({ instance: at.instance })
    : undefined
}

const oldOf = ({
  plan,
  step
}: {
  readonly plan: { readonly old: ReadonlyArray<OldInstance> }
  readonly step: number
}) => plan.old[step]?.instance ?? ""

const isServing = ({ instances, nodes }: Cluster, instance: string): boolean =>
  instances.get(instance)?.state._tag === "Running" && nodes.get(instance)?.life === "Serving"

/** How an instance ended, in the log's words; undefined while it lives or nobody knows yet. */
export const endOf = (state: InstanceState | undefined): OldEnd | undefined =>
  state?._tag === "Exited"
    ? { code: state.code, ...(state.signal === undefined ? {} : { cause: state.signal }) }
    : state?._tag === "Vanished"
      ? { cause: state.cause }
      : undefined

const describeEnd = ({ cause, code }: OldEnd): string =>
  code === undefined
    ? `it vanished (${cause ?? "unknown"})`
    : cause === undefined
      ? `it ended with exit code ${code}`
      : `it ended with exit code ${code} (${cause})`

const failed = (
  reason: RolloutFailure["reason"],
  instance: string,
  detail: string,
  recordings: ReadonlyArray<string> = []
): Step => append({ _tag: "RolloutFailed", failure: { reason, instance, detail, recordings } })

const whileStarting = (
  { instance, plan, step }: RolloutOf<"Starting">,
  cluster: Cluster,
  limits: RolloutLimits
): Step => {
  const state = cluster.instances.get(instance)?.state
  const end = endOf(state)
  if (end !== undefined) return failed("NotServing", instance, `${describeEnd(end)} before it served`)
  if (state === undefined || state._tag === "Starting") return Step.Start({ instance, version: plan.to })
  const node = cluster.nodes.get(instance)
  if (node?.life === "Serving" && node.version !== plan.to)
    return failed("NotServing", instance, `it says that it is version ${node.version}`)
  if (node?.life === "Serving")
    return (
      protocolGap(instance, node, cluster) ??
      append({ _tag: "InstanceServing", step, instance, incarnation: node.incarnation })
    )
  return cluster.quietMs > limits.servingMs
    ? failed("NotServing", instance, `it did not serve after ${limits.servingMs / 1000} s`)
    : Step.Wait()
}

/** What serves beside it has to understand it. */
const protocolGap = (instance: string, { proto }: SeenNode, { nodes }: Cluster): Step | undefined => {
  const other = [...nodes].find(
    ([name, node]) => name !== instance && node.life === "Serving" && isTooFarApart(proto, node.proto)
  )
  if (other === undefined) return undefined
  const [name, node] = other
  return failed(
    "ProtocolGap",
    instance,
    `it speaks ${describeRange(proto)} of the protocols and ${name} ${describeRange(node.proto)}: too far apart for one cluster`
  )
}

const whenReady = (
  rollout: RolloutOf<"Ready">,
  cluster: Cluster,
  force: ForceMode | undefined,
  limits: RolloutLimits
): Step => {
  const { step } = rollout
  const old = oldOf(rollout)
  const end = endOf(cluster.instances.get(old)?.state)
  if (end !== undefined) return append({ _tag: "InstanceEnded", step, instance: old, ...end })
  const newEnd = endOf(cluster.instances.get(rollout.instance)?.state)
  if (newEnd !== undefined)
    return failed("NotServing", rollout.instance, `${describeEnd(newEnd)} after it served`)
  const { report } = cluster
  // One that answers nobody can be killed all the same; its recordings are found on disk.
  if (report === undefined && force !== "kill") {
    return cluster.quietMs > limits.acknowledgeMs
      ? failed("NotAcknowledged", old, `it did not answer for ${limits.acknowledgeMs / 1000} s`)
      : Step.Wait()
  }
  if (!isServing(cluster, rollout.instance)) {
    return cluster.quietMs > limits.servingMs
      ? failed("NotServing", rollout.instance, "it serves no longer")
      : Step.Wait()
  }
  const { recordings, rooms } = report ?? { recordings: [], rooms: [] }
  return append({ _tag: "DrainIntended", step, instance: old, rooms, recordings })
}

const whileDraining = (
  rollout: RolloutOf<"Draining">,
  cluster: Cluster,
  force: ForceMode | undefined,
  limits: RolloutLimits
): Step => {
  const { step } = rollout
  const instance = oldOf(rollout)
  const seen = cluster.instances.get(instance)
  const end = endOf(seen?.state)
  if (end !== undefined) return append({ _tag: "InstanceEnded", step, instance, ...end })
  if (seen?.state._tag !== "Running") return Step.Wait()

  const { report } = cluster
  const recordings = report?.recordings ?? []
  const unseen = recordings.filter((recording) => !rollout.recordings.includes(recording))
  if (unseen.length > 0) return append({ _tag: "RecordingsSeen", step, recordings: unseen })
  if (rollout.force === "kill") return Step.Kill({ instance })

  const life = report?.life ?? cluster.nodes.get(instance)?.life
  const intendForce = (mode: ForceMode) =>
    append({ _tag: "ForceIntended", step, instance, mode, rooms: report?.rooms ?? [], recordings })
  if (force === "kill") return intendForce("kill")
  if (life === "Serving") {
    if (seen.signalled === "no") return Step.Signal({ instance })
    // Perhaps it never went out: it is not sent again. The same drain by message is harmless in both cases.
    if (seen.signalled === "intent") return Step.Drain({ instance, evacuate: false })
  } else if (life === "Draining") {
    if (force === "evacuate" && rollout.force === undefined) return intendForce("evacuate")
    if (rollout.force === "evacuate") return Step.Drain({ instance, evacuate: true })
    return Step.Wait()
  } else if (life !== undefined) return Step.Wait()
  return cluster.quietMs > limits.acknowledgeMs
    ? failed(
        "NotAcknowledged",
        instance,
        life === undefined
          ? `nothing was heard of it for ${limits.acknowledgeMs / 1000} s`
          : `it was told to drain, and still serves after ${limits.acknowledgeMs / 1000} s`,
        rollout.recordings
      )
    : Step.Wait()
}

/** Ends that lose nothing: drained, evacuated with all recordings sealed, or the kill that was asked for. */
const isExpected = ({ end, force }: RolloutOf<"Settling">): boolean =>
  end.code === 0 || end.code === 3 || (force === "kill" && end.code === 137)

const whileSettling = (rollout: RolloutOf<"Settling">, cluster: Cluster, limits: RolloutLimits): Step => {
  const { accepted, end, recordings, recovered, step } = rollout
  const instance = oldOf(rollout)
  const missing = recordings.filter(
    (recording) => !cluster.computed.has(recording) && recovered?.empty.includes(recording) !== true
  )
  if (!isExpected(rollout) && !accepted) return failed("Ended", instance, describeEnd(end), missing)
  const isClean = end.code === 0 || end.code === 3
  if (!isClean && recovered === undefined) return Step.Recover({ instance })
  if (missing.length === 0) {
    return append({ _tag: "StepFinished", step, instance, replacedBy: rollout.instance, recordings })
  }
  const hopeless = recovered?.failed.some((recording) => missing.includes(recording)) === true
  return hopeless || cluster.quietMs > limits.receiptsMs
    ? failed("RecordingsLeft", instance, `it is gone (${describeEnd(end)})`, missing)
    : Step.Wait()
}
