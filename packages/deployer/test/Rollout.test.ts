/** The table of a rollout's states and events, walked whole: what is not named here is refused. */
import { assert, describe, it } from "@effect/vitest"
import { isOpen, newInstanceName, type Rollout, transition } from "../src/Rollout.ts"
import type { RolloutEvent } from "../src/RolloutEvent.ts"

const old = [
  { instance: "u1-1", version: "v1", cordoned: false },
  { instance: "u1-2", version: "v1", cordoned: true }
]
const plan = { rollout: "r1", to: "v2", old, resumed: 0 }
const failure = { reason: "Ended", instance: "u1-1", detail: "it crashed", recordings: ["rec"] } as const
const triggered = { plan, step: 0, instance: "r1-1", recordings: ["rec"], force: undefined }

const between: Rollout = { _tag: "Between", plan, step: 0 }
const settling = {
  _tag: "Settling",
  ...triggered,
  end: { code: 1 },
  accepted: false,
  recovered: undefined
} as const

const states: Record<string, Rollout> = {
  Idle: { _tag: "Idle" },
  Cordoning: { _tag: "Cordoning", plan, at: { _tag: "Between", plan, step: 0 } },
  Between: between,
  "Between, none left": { _tag: "Between", plan, step: 2 },
  Starting: { _tag: "Starting", plan, step: 0, instance: "r1-1" },
  Ready: { _tag: "Ready", plan, step: 0, instance: "r1-1" },
  Draining: { _tag: "Draining", ...triggered },
  Settling: settling,
  Stopping: { _tag: "Stopping", plan, at: settling, failure },
  Stopped: { _tag: "Stopped", plan, at: settling, failure },
  Completed: { _tag: "Completed", plan }
}

const events: Record<RolloutEvent["_tag"], RolloutEvent> = {
  RolloutStarted: { _tag: "RolloutStarted", rollout: "r2", to: "v3", old },
  DeployerAttached: { _tag: "DeployerAttached" },
  NodesCordoned: { _tag: "NodesCordoned" },
  StartIntended: { _tag: "StartIntended", step: 0, instance: "r1-1" },
  InstanceServing: { _tag: "InstanceServing", step: 0, instance: "r1-1", incarnation: "i" },
  DrainIntended: { _tag: "DrainIntended", step: 0, instance: "u1-1", rooms: [], recordings: ["rec"] },
  RecordingsSeen: { _tag: "RecordingsSeen", step: 0, recordings: ["rec", "rec2"] },
  ForceIntended: {
    _tag: "ForceIntended",
    step: 0,
    instance: "u1-1",
    mode: "kill",
    rooms: ["room"],
    recordings: ["rec3"]
  },
  InstanceEnded: { _tag: "InstanceEnded", step: 0, instance: "u1-1", code: 0 },
  RecordingsRecovered: { _tag: "RecordingsRecovered", step: 0, computed: ["rec"], empty: [], failed: [] },
  StepFinished: { _tag: "StepFinished", step: 0, instance: "u1-1", replacedBy: "r1-1", recordings: [] },
  RolloutFailed: { _tag: "RolloutFailed", failure },
  RolloutStopped: { _tag: "RolloutStopped" },
  RolloutResumed: { _tag: "RolloutResumed" },
  RolloutCompleted: { _tag: "RolloutCompleted", replaced: 2 }
}

/** Where each event leads. */
const table: Record<keyof typeof states, Partial<Record<RolloutEvent["_tag"], Rollout["_tag"]>>> = {
  Idle: { RolloutStarted: "Cordoning" },
  Cordoning: { DeployerAttached: "Cordoning", NodesCordoned: "Between", RolloutFailed: "Stopping" },
  Between: { DeployerAttached: "Between", StartIntended: "Starting", RolloutFailed: "Stopping" },
  "Between, none left": {
    DeployerAttached: "Between",
    RolloutCompleted: "Completed",
    RolloutFailed: "Stopping"
  },
  Starting: { DeployerAttached: "Starting", InstanceServing: "Ready", RolloutFailed: "Stopping" },
  Ready: {
    DeployerAttached: "Ready",
    DrainIntended: "Draining",
    InstanceEnded: "Settling",
    RolloutFailed: "Stopping"
  },
  Draining: {
    DeployerAttached: "Draining",
    RecordingsSeen: "Draining",
    ForceIntended: "Draining",
    InstanceEnded: "Settling",
    RolloutFailed: "Stopping"
  },
  Settling: {
    DeployerAttached: "Settling",
    RecordingsRecovered: "Settling",
    StepFinished: "Between",
    RolloutFailed: "Stopping"
  },
  Stopping: { DeployerAttached: "Stopping", RolloutStopped: "Stopped" },
  Stopped: { RolloutStarted: "Cordoning", RolloutResumed: "Cordoning" },
  Completed: { RolloutStarted: "Cordoning" }
}

const after = (state: Rollout, ...all: ReadonlyArray<RolloutEvent>): Rollout =>
  all.reduce<Rollout>((now, event) => {
    const next = transition(now, event)
    assert.isDefined(next, `${event._tag} while ${now._tag}`)
    return next ?? now
  }, state)

describe("a rollout", () => {
  it("moves as the table says, and refuses every other event", () => {
    for (const [name, state] of Object.entries(states)) {
      for (const event of Object.values(events)) {
        const next = transition(state, event)
        assert.strictEqual(next?._tag, table[name]?.[event._tag], `${event._tag} while ${name}`)
      }
    }
  })

  it("refuses the event of another step, and the serving of another instance", () => {
    const { Draining, Ready, Settling, Starting } = states
    for (const [state, event] of [
      [Ready, events.DrainIntended],
      [Draining, events.InstanceEnded],
      [Settling, events.StepFinished]
    ] as const) {
      assert.isDefined(state && transition(state, event))
      assert.isUndefined(state && transition(state, { ...event, step: 1 } as RolloutEvent))
    }
    assert.isUndefined(
      Starting && transition(Starting, { ...events.InstanceServing, instance: "other" } as RolloutEvent)
    )
  })

  it("is open from its start until it stopped or completed", () => {
    for (const state of Object.values(states)) {
      assert.strictEqual(isOpen(state), !["Idle", "Stopped", "Completed"].includes(state._tag))
    }
  })

  it("gathers every recording that was ever seen on the old instance", () => {
    const state = after({ _tag: "Draining", ...triggered }, events.RecordingsSeen, events.ForceIntended)
    assert.deepInclude(state, { recordings: ["rec", "rec2", "rec3"], force: "kill" })
    const settled = after(state, events.InstanceEnded, {
      _tag: "RecordingsRecovered",
      step: 0,
      computed: ["rec4"],
      empty: ["rec5"],
      failed: ["rec6"]
    })
    assert.deepInclude(settled, { recordings: ["rec", "rec2", "rec3", "rec4", "rec6"] })
  })

  it("starts what did not serve under another name when it is resumed", () => {
    const state = after(
      { _tag: "Starting", plan, step: 1, instance: "r1-2" },
      { _tag: "RolloutFailed", failure: { ...failure, reason: "NotServing" } },
      events.RolloutStopped,
      events.RolloutResumed,
      events.NodesCordoned
    )
    assert.deepInclude(state, { _tag: "Between", step: 1 })
    const names = [0, 1, 2].map((resumed) => newInstanceName({ ...plan, resumed }, 1))
    assert.deepStrictEqual(names, ["r1-2", "r1-2-1", "r1-2-2"])
  })

  it("keeps a new instance that serves when the old one was in the way", () => {
    const resumed = (reason: "NotAcknowledged" | "NotServing") =>
      after(
        { _tag: "Ready", plan, step: 0, instance: "r1-1" },
        { _tag: "RolloutFailed", failure: { ...failure, reason } },
        events.RolloutStopped,
        events.RolloutResumed,
        events.NodesCordoned
      )
    assert.deepInclude(resumed("NotAcknowledged"), { _tag: "Ready", instance: "r1-1" })
    assert.strictEqual(resumed("NotServing")._tag, "Between")
  })

  it("accepts, when it is resumed, the end at which it stopped, and still wants the receipts", () => {
    const state = after(settling, events.RolloutFailed, events.RolloutStopped, events.RolloutResumed)
    assert.deepInclude(after(state, events.NodesCordoned), {
      _tag: "Settling",
      accepted: true,
      recordings: ["rec"]
    })
  })
})
