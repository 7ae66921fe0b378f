/**
 * Does one step of a rollout. What cannot be done now is decided upon anew at the next look, so nothing here is retried; what can
 * never be done fails the rollout by an event.
 */
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import { Orchestrator, type StartRequest } from "../Orchestrator.ts"
import type { OpenRollout } from "../Rollout.ts"
import type { Step } from "../RolloutDecision.ts"
import type { RolloutEvent, RolloutEventOf } from "../RolloutEvent.ts"
import { askOnce } from "./sight.ts"

/** What of an instance's recordings could be finished from its disk. */
export type Recovered = Pick<RolloutEventOf<"RecordingsRecovered">, "computed" | "empty" | "failed">

export interface Hands {
  readonly control: ControlClient
  /** How a node of a version is started. */
  readonly launch: (instance: string, version: string) => StartRequest
  /** Finishes from disk what an instance that is gone has left. */
  readonly recover: (instance: string) => Effect.Effect<Recovered>
  /** The one signal of this instance went out, just now. */
  readonly onSignalled: (instance: string) => Effect.Effect<void>
}

/** Done; `append` is the event that has to follow in the log. */
interface Outcome {
  readonly append?: RolloutEvent
}
const done: Outcome = {}

export const performStep = Effect.fnUntraced(function* (
  step: Step,
  rollout: OpenRollout,
  { control, launch, onSignalled, recover }: Hands
): Effect.fn.Return<Outcome, never, Orchestrator> {
  const orchestrator = yield* Orchestrator
  const cause = { by: "deployer", reason: `rollout ${rollout.plan.rollout} to ${rollout.plan.to}` }
  const tellEach = (instances: ReadonlyArray<string>, command: "node.cordon" | "node.uncordon") =>
    Effect.forEach(
      instances,
      (nodeId) => notNow(command, control.call(command, { nodeId, ...cause }, askOnce)),
      { concurrency: 8, discard: true }
    )

  switch (step._tag) {
    case "Append":
      return { append: step.event }
    case "Start": {
      const { instance, version } = step
      const started = yield* Effect.result(orchestrator.start(launch(instance, version)))
      if (started._tag === "Success") return done
      const { message, retry } = started.failure
      yield* Effect.logDebug(`${instance} was not started: ${message}`)
      return retry === "never" ? failed("NotServing", instance, message) : done
    }
    case "Signal": {
      const { instance } = step
      const signalled = yield* Effect.result(orchestrator.signalOnce(instance, "SIGTERM"))
      if (signalled._tag === "Success") {
        if (signalled.success._tag === "Signalled") yield* onSignalled(instance)
        return done
      }
      const { failure } = signalled
      yield* Effect.logDebug(`${instance} was not signalled: ${failure.message}`)
      // The kernel will say the same the next time.
      return failure._tag === "SignalRefused" && rollout._tag === "Draining"
        ? failed("NotAcknowledged", instance, failure.message, rollout.recordings)
        : done
    }
    case "Drain": {
      const { evacuate, instance: nodeId } = step
      yield* notNow("node.drain", control.call("node.drain", { nodeId, evacuate, ...cause }, askOnce))
      return done
    }
    case "Kill":
      yield* notNow("kill", orchestrator.kill(step.instance))
      return done
    case "Recover": {
      const recovered = yield* recover(step.instance)
      return rollout._tag === "Settling"
        ? { append: { _tag: "RecordingsRecovered", step: rollout.step, ...recovered } }
        : done
    }
    case "Cordon":
      yield* tellEach(step.instances, "node.cordon")
      return done
    case "Uncordon":
      yield* tellEach(step.instances, "node.uncordon")
      return done
    case "Wait":
      return done
  }
})

const notNow = <A, E extends { readonly message: string }>(what: string, effect: Effect.Effect<A, E>) =>
  Effect.catch(Effect.asVoid(effect), (error) => Effect.logDebug(`${what}: ${error.message}`))

const failed = (
  reason: "NotServing" | "NotAcknowledged",
  instance: string,
  detail: string,
  recordings: ReadonlyArray<string> = []
): Outcome => ({
  append: { _tag: "RolloutFailed", failure: { reason, instance, detail, recordings } }
})
