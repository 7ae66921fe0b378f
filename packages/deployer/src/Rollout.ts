/**
 * The state of a rollout, and the only function that moves it. An event that does not belong there is refused, never applied.
 *
 * Pure: the state is what the log's events add up to, so it is the same for whoever reads the log. Leaves what to do next to
 * `RolloutDecision`, and doing it to `Deployer`.
 */
import * as Data from "effect/Data"
import type { ForceMode, OldInstance, RolloutEvent, RolloutEventOf, RolloutFailure } from "./RolloutEvent.ts"

export interface Plan {
  readonly rollout: string
  readonly to: string
  /** One step each, in this order. */
  readonly old: ReadonlyArray<OldInstance>
  /** How often it was resumed: the name of what a failed step starts anew must be another. */
  readonly resumed: number
}

interface InStep {
  readonly plan: Plan
  /** From 0. */
  readonly step: number
}

/** A step whose old instance has been triggered, or has ended by itself. */
interface Triggered extends InStep {
  /** The new instance. */
  readonly instance: string
  /** All recordings ever seen on the old one: each needs a receipt. */
  readonly recordings: ReadonlyArray<string>
  readonly force: ForceMode | undefined
}

/** How the old instance ended: `code` is absent when nobody will ever know. */
export interface OldEnd {
  readonly code?: number
  readonly cause?: string
}

/** Where a rollout is within its steps. */
export type RolloutStage = Data.TaggedEnum<{
  /** Between two steps: `step` is the next. */
  Between: InStep
  /** The new instance is being started; it does not serve yet. */
  Starting: InStep & { readonly instance: string }
  /** It serves; the old one has not been touched. */
  Ready: InStep & { readonly instance: string }
  /** The old one is to drain, and was or is about to be told so. */
  Draining: Triggered
  /** Its process is gone; its receipts are awaited. */
  Settling: Triggered & {
    readonly end: OldEnd
    /** The rollout stopped at this end before, and was resumed: the end is accepted, the receipts are still wanted. */
    readonly accepted: boolean
    readonly recovered: RolloutEventOf<"RecordingsRecovered"> | undefined
  }
}>
export const RolloutStage = Data.taggedEnum<RolloutStage>()

/**
 * - `Idle`       there was none yet
 * - `Cordoning`  all that will be replaced is being cordoned; then it goes on at `at`
 * - the stages   one step after the other
 * - `Stopping`   it failed; what is not replaced is being uncordoned
 * - `Stopped`    nothing is being done; it can be resumed at `at`, or given up by starting another
 * - `Completed`
 */
export type Rollout =
  | RolloutStage
  | Data.TaggedEnum<{
      Idle: {}
      Cordoning: { readonly plan: Plan; readonly at: RolloutStage }
      Stopping: { readonly plan: Plan; readonly at: RolloutStage; readonly failure: RolloutFailure }
      Stopped: { readonly plan: Plan; readonly at: RolloutStage; readonly failure: RolloutFailure }
      Completed: { readonly plan: Plan }
    }>
export type RolloutOf<T extends Rollout["_tag"]> = Extract<Rollout, { readonly _tag: T }>

export const idle: Rollout = { _tag: "Idle" }

/** One that must be finished, or stop, before another may begin. */
export type OpenRollout = Exclude<Rollout, { readonly _tag: "Idle" | "Stopped" | "Completed" }>
export const isOpen = (rollout: Rollout): rollout is OpenRollout =>
  rollout._tag !== "Idle" && rollout._tag !== "Stopped" && rollout._tag !== "Completed"

type Moves = {
  readonly [S in Rollout["_tag"]]: {
    readonly [E in RolloutEvent["_tag"]]?: (
      state: RolloutOf<S>,
      event: RolloutEventOf<E>
    ) => Rollout | undefined
  }
}

const start = (_: unknown, { old, rollout, to }: RolloutEventOf<"RolloutStarted">): Rollout => {
  const plan: Plan = { rollout, to, old, resumed: 0 }
  return { _tag: "Cordoning", plan, at: RolloutStage.Between({ plan, step: 0 }) }
}
const attached = (state: OpenRollout): Rollout => state
const fail = (at: RolloutStage, { failure }: RolloutEventOf<"RolloutFailed">): Rollout => ({
  _tag: "Stopping",
  plan: at.plan,
  at,
  failure
})
const ended = (state: Triggered, { cause, code }: RolloutEventOf<"InstanceEnded">): Rollout =>
  RolloutStage.Settling({
    plan: state.plan,
    step: state.step,
    instance: state.instance,
    recordings: state.recordings,
    force: state.force,
    end: { ...(code === undefined ? {} : { code }), ...(cause === undefined ? {} : { cause }) },
    accepted: false,
    recovered: undefined
  })
const union = (some: ReadonlyArray<string>, more: ReadonlyArray<string>) => [...new Set([...some, ...more])]

const moves: Moves = {
  Idle: { RolloutStarted: start },
  Cordoning: {
    DeployerAttached: attached,
    NodesCordoned: ({ at }) => at,
    RolloutFailed: ({ at }, event) => fail(at, event)
  },
  Between: {
    DeployerAttached: attached,
    StartIntended: ({ plan, step }, { instance }) =>
      step < plan.old.length ? RolloutStage.Starting({ plan, step, instance }) : undefined,
    RolloutCompleted: ({ plan, step }) =>
      step === plan.old.length ? { _tag: "Completed", plan } : undefined,
    RolloutFailed: fail
  },
  Starting: {
    DeployerAttached: attached,
    InstanceServing: (state, { instance }) =>
      instance === state.instance ? RolloutStage.Ready(state) : undefined,
    RolloutFailed: fail
  },
  Ready: {
    DeployerAttached: attached,
    DrainIntended: (state, { recordings }) =>
      RolloutStage.Draining({ ...state, recordings, force: undefined }),
    // Of itself, or drained by somebody else.
    InstanceEnded: (state, event) => ended({ ...state, recordings: [], force: undefined }, event),
    RolloutFailed: fail
  },
  Draining: {
    DeployerAttached: attached,
    RecordingsSeen: (state, event) => ({ ...state, recordings: union(state.recordings, event.recordings) }),
    ForceIntended: (state, { mode, recordings }) => ({
      ...state,
      force: mode,
      recordings: union(state.recordings, recordings)
    }),
    InstanceEnded: ended,
    RolloutFailed: fail
  },
  Settling: {
    DeployerAttached: attached,
    RecordingsRecovered: (state, recovered) => ({
      ...state,
      recovered,
      recordings: union(state.recordings, [...recovered.computed, ...recovered.failed])
    }),
    StepFinished: ({ plan, step }) => RolloutStage.Between({ plan, step: step + 1 }),
    RolloutFailed: fail
  },
  Stopping: {
    DeployerAttached: attached,
    RolloutStopped: ({ at, failure, plan }) => ({ _tag: "Stopped", plan, at, failure })
  },
  Stopped: {
    RolloutStarted: start,
    RolloutResumed: ({ at, failure, plan }) => {
      const again: Plan = { ...plan, resumed: plan.resumed + 1 }
      return { _tag: "Cordoning", plan: again, at: resumeAt(at, failure, again) }
    }
  },
  Completed: { RolloutStarted: start }
}

/** What was started and did not serve is started anew under another name; an end that was reported is accepted. */
const resumeAt = (at: RolloutStage, failure: RolloutFailure, plan: Plan): RolloutStage => {
  switch (at._tag) {
    case "Between":
    case "Starting":
      return RolloutStage.Between({ plan, step: at.step })
    case "Ready":
      return failure.reason === "NotServing" ? RolloutStage.Between({ plan, step: at.step }) : { ...at, plan }
    case "Draining":
      return { ...at, plan }
    case "Settling":
      return { ...at, plan, accepted: true, recovered: undefined }
  }
}

/** The state after the event, or undefined when the event does not belong there. */
export const transition = (state: Rollout, event: RolloutEvent): Rollout | undefined => {
  const of = moves[state._tag] as Partial<
    Record<string, (state: Rollout, event: RolloutEvent) => Rollout | undefined>
  >
  const inStep = "step" in event && "step" in state ? event.step === state.step : true
  return inStep ? of[event._tag]?.(state, event) : undefined
}

/** Names are made from rollout, step and attempt alone, so that a repeated start finds what exists. */
export const newInstanceName = ({ resumed, rollout }: Plan, step: number): string =>
  `${rollout}-${step + 1}${resumed === 0 ? "" : `-${resumed}`}`
