/** A rollout in words, and in JSON with stable names: the log's events as they are, with `type` for their tag. */
import * as Effect from "effect/Effect"
import type { RolloutEnd, RolloutProgress } from "../Deployer.ts"
import type { RolloutEvent, RolloutFailure } from "../RolloutEvent.ts"
import { idle, isOpen, type Rollout } from "../Rollout.ts"
import { align, count, type Output, some } from "./output.ts"

/** Tells of each progress, and keeps the table below up to date. */
export const makeReport = (output: Output["Service"]) => {
  let rollout: Rollout = idle
  let waiting: Waiting | undefined
  /** What stands for an old instance now, as far as it was seen from here. */
  const replacedBy = new Map<string, string>()
  return (progress: RolloutProgress): Effect.Effect<void> => {
    if (progress._tag === "Logged") {
      rollout = progress.rollout
      const { event } = progress.record
      if (event._tag === "StepFinished") replacedBy.set(event.instance, event.replacedBy)
    }
    waiting = progress._tag === "Waiting" ? progress : undefined
    return Effect.andThen(lineOf(output, progress), output.live(tableOf(rollout, waiting, replacedBy)))
  }
}
type Waiting = Extract<RolloutProgress, { readonly _tag: "Waiting" }>

const lineOf = (output: Output["Service"], progress: RolloutProgress): Effect.Effect<void> => {
  switch (progress._tag) {
    case "Waiting": {
      const { instance, life, recordings, rooms } = progress
      const text = `    ${instance} is ${life}: ${count(rooms.length, "room")}, ${count(recordings.length, "recording")}${some(rooms)}`
      return output.line({ type: "Waiting", instance, life, rooms, recordings }, text)
    }
    case "Signalled": {
      const { at, instance } = progress
      return output.line({ type: "Signalled", at, instance }, `    SIGTERM to ${instance}`)
    }
    case "Logged": {
      const { at, event } = progress.record
      const { _tag: type, ...fields } = event
      return output.line({ type, at, ...fields }, words(event))
    }
  }
}

/** One row for each old instance. */
const tableOf = (
  rollout: Rollout,
  waiting: Waiting | undefined,
  replacedBy: ReadonlyMap<string, string>
): ReadonlyArray<string> => {
  if (!isOpen(rollout)) return []
  const stage = "at" in rollout ? rollout.at : rollout
  const { plan } = rollout
  const rows = plan.old.map(({ instance, version }, step) => {
    const now = step === stage.step
    const isNow = now && stage._tag !== "Between"
    const state = step < stage.step ? "replaced" : isNow ? (waiting?.life ?? stage._tag) : ""
    const held = now && waiting !== undefined
    return [
      instance,
      version,
      state,
      held ? String(waiting.rooms.length) : "",
      held ? String(waiting.recordings.length) : "",
      replacedBy.get(instance) ?? (isNow ? stage.instance : "")
    ]
  })
  const title = `rollout ${plan.rollout} to ${plan.to}: ${stage.step} of ${plan.old.length} replaced. Ctrl-C detaches`
  return ["", title, ...align([["OLD", "VERSION", "STATE", "ROOMS", "RECORDINGS", "NEW"], ...rows])]
}

const words = (event: RolloutEvent): string => {
  switch (event._tag) {
    case "RolloutStarted":
      return `rollout ${event.rollout} to ${event.to}: ${count(event.old.length, "node")} to replace${some(event.old.map(({ instance }) => instance))}`
    case "DeployerAttached":
      return "going on with the rollout"
    case "RolloutResumed":
      return "resuming the rollout where it stopped"
    case "NodesCordoned":
      return "old nodes are cordoned: new rooms go to new nodes first"
    case "StartIntended":
      return `[${event.step + 1}] starting ${event.instance}`
    case "InstanceServing":
      return `[${event.step + 1}] ${event.instance} serves`
    case "DrainIntended":
      return `[${event.step + 1}] draining ${event.instance}: ${count(event.rooms.length, "room")}, ${count(event.recordings.length, "recording")} live on it`
    case "RecordingsSeen":
      return `[${event.step + 1}] recordings begun meanwhile${some(event.recordings)}`
    case "ForceIntended":
      return `[${event.step + 1}] ${event.mode === "kill" ? "killing" : "evacuating"} ${event.instance}: ${count(event.rooms.length, "room")} cut${some(event.rooms)}`
    case "InstanceEnded":
      return `[${event.step + 1}] ${event.instance} ended${event.code === undefined ? "" : ` with ${event.code}`}${event.cause === undefined ? "" : ` (${event.cause})`}`
    case "RecordingsRecovered":
      return `[${event.step + 1}] recovered from disk: ${count(event.computed.length, "recording")}${event.failed.length === 0 ? "" : `; not: ${event.failed.join(", ")}`}`
    case "StepFinished":
      return `[${event.step + 1}] ${event.instance} is replaced by ${event.replacedBy}; ${count(event.recordings.length, "receipt")}`
    case "RolloutFailed":
      return `stopping: ${event.failure.instance}: ${event.failure.detail}`
    case "RolloutStopped":
      return "what is not replaced takes new rooms as before"
    case "RolloutCompleted":
      return `all is replaced`
  }
}

/** What a person is to do about it. */
const toDo = ({ instance, reason }: RolloutFailure, to: string): string => {
  const again = `\`ebb rollout --to ${to}\``
  switch (reason) {
    case "NotServing":
      return `look into its log; then ${again} tries it anew, and any other version may be rolled out instead`
    case "ProtocolGap":
      return `roll out a version between the two first, and then ${again}`
    case "NotAcknowledged":
      return `look at ${instance} (\`ebb nodes\`); ${again} waits for it again, and with --force kill it is ended`
    case "Ended":
      return `${again} recovers its recordings from disk and goes on with the other nodes`
    case "RecordingsLeft":
      return `\`ebb recordings recover\` says what is in the way, \`ebb recordings give-up\` gives one up; ${again} looks again`
    case "Unknown":
      return `a later version of Ebb stopped it: use that one's \`ebb\``
  }
}

/** `logOf`: where an instance's output is. */
export const resultOf = (end: RolloutEnd, logOf: (instance: string) => string) => {
  if (end._tag === "Unchanged") {
    const { nodes, to } = end
    return {
      json: { outcome: "completed", to, replaced: 0, of: 0 },
      text: `nothing to do: ${nodes === 1 ? "the one node runs" : `all ${nodes} nodes run`} ${to} already (--restart replaces them all the same)`
    }
  }
  const { old, rollout, to } = end.plan
  if (end._tag === "Completed") {
    return {
      json: { outcome: "completed", rollout, to, replaced: old.length, of: old.length },
      text: `rollout ${rollout} is complete: ${count(old.length, "node")} replaced, all on ${to}`
    }
  }
  const { failure, left } = end
  const log = logOf(failure.instance)
  const todo = toDo(failure, to)
  const recordings =
    failure.recordings.length === 0
      ? ""
      : `\n  recordings without a receipt: ${failure.recordings.join(", ")}`
  return {
    json: {
      outcome: "stopped",
      rollout,
      to,
      replaced: old.length - left.length,
      of: old.length,
      left,
      failure,
      log,
      todo
    },
    text: `rollout ${rollout} stopped: ${failure.instance}: ${failure.detail}${recordings}\n  its log: ${log}\n  not replaced: ${left.join(", ") || "none"}\n  to do: ${todo}`
  }
}
