import { seededRandom } from "@ebb/actors/testing"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { InstanceState, type Signalled } from "../src/Orchestrator.ts"
import type { ProtocolRange } from "../src/internal/protocolGap.ts"
import { isOpen, type OpenRollout } from "../src/Rollout.ts"
import { type Cluster, decide, defaultLimits, type Step } from "../src/RolloutDecision.ts"
import type { ForceMode, RolloutEvent } from "../src/RolloutEvent.ts"
import { Killed, SimulatedCluster, type Simulation } from "./simulatedRollout.ts"

const old = [
  { instance: "u-1", version: "v1", cordoned: false },
  { instance: "u-2", version: "v1", cordoned: false },
  { instance: "u-3", version: "v1", cordoned: false }
]

/** Runs to the end, beginning again each time it was killed. */
const rollOut = (seed: number, simulation: Simulation): SimulatedCluster => {
  const cluster = new SimulatedCluster(seededRandom(seed), simulation)
  const insist = (turn: () => unknown) => {
    for (;;) {
      try {
        turn()
        return
      } catch (error) {
        if (!(error instanceof Killed)) throw error
        cluster.kills++
      }
    }
  }
  insist(
    () =>
      cluster.rollout._tag === "Idle" &&
      cluster.append({ _tag: "RolloutStarted", rollout: "r", to: "v2", old })
  )
  for (let turn = 0; turn < 5000; turn++) {
    const { _tag } = cluster.rollout
    if (_tag === "Completed") return cluster
    if (_tag === "Stopped")
      insist(() => cluster.rollout._tag === "Stopped" && cluster.append({ _tag: "RolloutResumed" }))
    cluster.worldTurn()
    if (!cluster.deployerTurn())
      insist(() => isOpen(cluster.rollout) && cluster.append({ _tag: "DeployerAttached" }))
  }
  return assert.fail(`not over after 5000 turns: ${cluster.rollout._tag}`)
}

const always = (simulation: Simulation, check: (cluster: SimulatedCluster) => void) =>
  fc.assert(
    fc.property(fc.integer(), (seed) => check(rollOut(seed, simulation))),
    { numRuns: 400 }
  )

const endedWell = (cluster: SimulatedCluster) => {
  for (const [name, node] of cluster.old) {
    assert.strictEqual(node.state._tag, "Exited", name)
    assert.isAtMost(node.signals, 1, `${name} was signalled twice`)
    assert.deepStrictEqual(node.recordings, [], `${name} has left recordings`)
  }
  assert.strictEqual(cluster.started.size, cluster.old.length)
  for (const name of cluster.started) assert.strictEqual(cluster.nodes.get(name)?.life, "Serving")
}

describe("a deployer killed at any moment and started again", () => {
  it("ends the same, and signals each old instance at most once", () => {
    let kills = 0
    always({ force: undefined, crashes: false }, (cluster) => {
      kills += cluster.kills
      endedWell(cluster)
      const codes = cluster.old.map(([, { state }]) => state._tag === "Exited" && state.code)
      assert.deepStrictEqual(codes, [0, 0, 0])
    })
    assert.isAbove(kills, 1000)
  })

  it("evacuates and loses no recording", () => {
    always({ force: "evacuate", crashes: false }, endedWell)
  })

  it("kills and recovers every recording", () => {
    always({ force: "kill", crashes: false }, (cluster) => {
      endedWell(cluster)
      for (const [, { state }] of cluster.old) assert.deepInclude(state, { code: 137 })
    })
  })

  it("stops at each node that crashes, and when resumed recovers its recordings and goes on", () => {
    let stops = 0
    always({ force: undefined, crashes: true }, (cluster) => {
      endedWell(cluster)
      stops += cluster.log.filter(({ _tag }) => _tag === "RolloutStopped").length
    })
    assert.isAbove(stops, 100)
  })
})

const running = InstanceState.Running({ pid: 1, startTime: 1 })
const plan = { rollout: "r", to: "v2", old, resumed: 0 }
const draining: OpenRollout = {
  _tag: "Draining",
  plan,
  step: 0,
  instance: "r-1",
  recordings: ["rec"],
  force: undefined
}

const proto = [1, 1] as const

const seen = (
  life: string | undefined,
  signalled: Signalled,
  more: Partial<Cluster> = {},
  state: InstanceState = running
): Cluster => ({
  instances: new Map([
    ["u-1", { state, signalled }],
    ["r-1", { state: running, signalled: "no" as const }]
  ]),
  nodes: new Map([
    ...(life === undefined
      ? []
      : [["u-1", { incarnation: "i", version: "v1", life, admission: "cordoned", proto }] as const]),
    ["r-1", { incarnation: "j", version: "v2", life: "Serving", admission: "open", proto }] as const
  ]),
  report: undefined,
  computed: new Set(),
  quietMs: 0,
  ...more
})

const tagOf = (step: Step): string => (step._tag === "Append" ? step.event._tag : step._tag)
const next = (rollout: OpenRollout, cluster: Cluster, force?: ForceMode) =>
  tagOf(decide(rollout, cluster, force))
const late = { quietMs: defaultLimits.acknowledgeMs + 1 }

describe("while an old node is to drain", () => {
  it("it is signalled when it serves and never was, and only then", () => {
    assert.strictEqual(next(draining, seen("Serving", "no")), "Signal")
    for (const life of ["Draining", "Evacuating", "Sealing", "Drained", "Starting"]) {
      assert.notStrictEqual(next(draining, seen(life, "no")), "Signal", life)
    }
    for (const life of ["Serving", "Draining", undefined]) {
      assert.notStrictEqual(next(draining, seen(life, "sent")), "Signal")
      assert.notStrictEqual(next(draining, seen(life, "intent")), "Signal")
    }
  })

  it("a mark without a known signal is followed by the same drain as a message, while it serves", () => {
    assert.deepInclude(decide(draining, seen("Serving", "intent"), undefined), {
      _tag: "Drain",
      evacuate: false
    })
    assert.strictEqual(next(draining, seen("Draining", "intent")), "Wait")
  })

  it("its own answer counts more than its lease", () => {
    const report = { life: "Draining", rooms: [], recordings: [] }
    assert.strictEqual(next(draining, seen("Serving", "intent", { report })), "Wait")
  })

  it("recordings that were not known are logged first", () => {
    const report = { life: "Draining", rooms: [], recordings: ["rec", "rec2"] }
    const step = decide(draining, seen("Draining", "sent", { report }), undefined)
    assert.deepInclude(step, {
      event: { _tag: "RecordingsSeen", step: 0, recordings: ["rec2"] } satisfies RolloutEvent
    })
  })

  it("one that does not begin its drain in time, or is not heard of, stops the rollout; one that drains may take for ever", () => {
    assert.strictEqual(next(draining, seen("Serving", "sent", late)), "RolloutFailed")
    assert.strictEqual(next(draining, seen(undefined, "sent", late)), "RolloutFailed")
    assert.strictEqual(next(draining, seen("Draining", "sent", late)), "Wait")
    assert.strictEqual(next(draining, seen("Sealing", "sent", late)), "Wait")
  })

  it("force comes after its intent, and evacuation after the signal", () => {
    assert.strictEqual(next(draining, seen("Serving", "no"), "evacuate"), "Signal")
    assert.strictEqual(next(draining, seen("Draining", "sent"), "evacuate"), "ForceIntended")
    const evacuating = { ...draining, force: "evacuate" } as const
    assert.deepInclude(decide(evacuating, seen("Draining", "sent"), "evacuate"), { evacuate: true })
    // Also when this run of the command did not ask for it: it was begun.
    assert.deepInclude(decide(evacuating, seen("Draining", "sent"), undefined), { evacuate: true })
    assert.strictEqual(next(evacuating, seen("Evacuating", "sent"), "evacuate"), "Wait")
    assert.strictEqual(next(evacuating, seen("Evacuating", "sent"), "kill"), "ForceIntended")
    assert.strictEqual(next({ ...draining, force: "kill" }, seen(undefined, "sent"), "kill"), "Kill")
  })
})

describe("before an old node is touched", () => {
  const ready: OpenRollout = { _tag: "Ready", plan, step: 0, instance: "r-1" }
  const report = { life: "Serving", rooms: ["room"], recordings: ["rec"] }

  it("the new one must serve still", () => {
    assert.strictEqual(next(ready, seen("Serving", "no", { report })), "DrainIntended")
    const instances = new Map([
      ["u-1", { state: running, signalled: "no" as const }],
      ["r-1", { state: InstanceState.Exited({ code: 1 }), signalled: "no" as const }]
    ])
    assert.strictEqual(next(ready, seen("Serving", "no", { report, instances })), "RolloutFailed")
    const isolated = seen("Serving", "no", { report, nodes: new Map() })
    assert.strictEqual(next(ready, isolated), "Wait")
    assert.strictEqual(next(ready, { ...isolated, quietMs: defaultLimits.servingMs + 1 }), "RolloutFailed")
  })

  it("it must have said what lives on it, unless it is to be killed", () => {
    assert.strictEqual(next(ready, seen("Serving", "no")), "Wait")
    assert.strictEqual(next(ready, seen("Serving", "no", late)), "RolloutFailed")
    assert.strictEqual(next(ready, seen("Serving", "no"), "kill"), "DrainIntended")
  })

  it("one that ended by itself needs no drain", () => {
    assert.strictEqual(
      next(ready, seen(undefined, "no", {}, InstanceState.Exited({ code: 0 }))),
      "InstanceEnded"
    )
  })
})

describe("a new instance", () => {
  const starting: OpenRollout = { _tag: "Starting", plan, step: 0, instance: "r-1" }
  const nodeOf = (life: string, version = "v2") =>
    new Map([["r-1", { incarnation: "j", version, life, admission: "open", proto }]])

  it("is started until it has a process, and serves when its lease says so", () => {
    assert.strictEqual(next(starting, seen("Serving", "no", { instances: new Map() })), "Start")
    assert.strictEqual(next(starting, seen("Serving", "no", { nodes: nodeOf("Starting") })), "Wait")
    assert.strictEqual(next(starting, seen("Serving", "no", { nodes: nodeOf("Serving") })), "InstanceServing")
  })

  it("stops the rollout when it ends, is of another version, or takes too long", () => {
    const ended = new Map([["r-1", { state: InstanceState.Exited({ code: 1 }), signalled: "no" as const }]])
    assert.strictEqual(next(starting, seen("Serving", "no", { instances: ended })), "RolloutFailed")
    assert.strictEqual(
      next(starting, seen("Serving", "no", { nodes: nodeOf("Serving", "v1") })),
      "RolloutFailed"
    )
    const slow = { nodes: new Map(), quietMs: defaultLimits.servingMs + 1 }
    assert.strictEqual(next(starting, seen("Serving", "no", slow)), "RolloutFailed")
  })

  it("has to be at most one version of the protocols away from all that serves", () => {
    const beside = (own: ProtocolRange, other: ProtocolRange, life = "Serving") =>
      seen("Serving", "no", {
        nodes: new Map([
          ["r-1", { incarnation: "j", version: "v2", life: "Serving", admission: "open", proto: own }],
          ["u-3", { incarnation: "i", version: "v1", life, admission: "cordoned", proto: other }]
        ])
      })
    const mixes: ReadonlyArray<readonly [ProtocolRange, ProtocolRange]> = [
      [
        [1, 1],
        [1, 1]
      ],
      [
        [1, 2],
        [1, 1]
      ],
      [
        [1, 1],
        [1, 2]
      ],
      [
        [2, 3],
        [1, 2]
      ]
    ]
    for (const [own, other] of mixes)
      assert.strictEqual(next(starting, beside(own, other)), "InstanceServing")
    const gaps: ReadonlyArray<readonly [ProtocolRange, ProtocolRange]> = [
      [
        [2, 3],
        [1, 1]
      ],
      [
        [2, 2],
        [1, 1]
      ],
      [
        [1, 3],
        [1, 1]
      ],
      [
        [1, 1],
        [2, 3]
      ]
    ]
    for (const [own, other] of gaps) {
      const step = decide(starting, beside(own, other), undefined)
      assert(step._tag === "Append" && step.event._tag === "RolloutFailed")
      assert.deepInclude(step.event.failure, { reason: "ProtocolGap", instance: "r-1" })
    }
    // One that is on its way out is left behind by nobody.
    assert.strictEqual(next(starting, beside([2, 3], [1, 1], "Draining")), "InstanceServing")
  })

  it("that never served is told to end when it is given up, once", () => {
    const failure = { reason: "NotServing", instance: "r-1", detail: "", recordings: [] } as const
    const stopping: OpenRollout = { _tag: "Stopping", plan, at: starting, failure }
    const cluster = seen("Serving", "sent", { nodes: new Map() })
    assert.deepInclude(decide(stopping, cluster, undefined), { _tag: "Signal", instance: "r-1" })
    const signalled = new Map([["r-1", { state: running, signalled: "sent" as const }]])
    assert.strictEqual(next(stopping, { ...cluster, instances: signalled }), "RolloutStopped")
  })
})

describe("once an old instance is gone", () => {
  const settling = {
    _tag: "Settling",
    plan,
    step: 0,
    instance: "r-1",
    recordings: ["rec"],
    force: undefined,
    end: { code: 0 },
    accepted: false,
    recovered: undefined
  } as const
  const none = seen(undefined, "sent")
  const all = { ...none, computed: new Set(["rec"]) }

  it("its receipts are awaited, for so long", () => {
    assert.strictEqual(next(settling, none), "Wait")
    assert.strictEqual(next(settling, all), "StepFinished")
    assert.strictEqual(next(settling, { ...none, quietMs: defaultLimits.receiptsMs + 1 }), "RolloutFailed")
  })

  it("an exit with 3 has sealed everything; 1, 4, a kill by another and a vanished process stop the rollout", () => {
    assert.strictEqual(next({ ...settling, end: { code: 3 } }, all), "StepFinished")
    for (const end of [{ code: 1 }, { code: 4 }, { code: 137 }, { cause: "wrapper-lost" }]) {
      const step = decide({ ...settling, end }, none, undefined)
      assert.deepInclude(
        step._tag === "Append" && step.event._tag === "RolloutFailed" && step.event.failure,
        {
          reason: "Ended",
          recordings: ["rec"]
        }
      )
    }
  })

  it("a kill that was asked for, and an end that was accepted, are recovered from disk", () => {
    const killed = { ...settling, force: "kill", end: { code: 137 } } as const
    assert.strictEqual(next(killed, all), "Recover")
    assert.strictEqual(next({ ...settling, end: { code: 1 }, accepted: true }, all), "Recover")
    const recovered = { _tag: "RecordingsRecovered", step: 0, computed: [], empty: [], failed: [] } as const
    assert.strictEqual(next({ ...killed, recovered }, all), "StepFinished")
    assert.strictEqual(next({ ...killed, recovered: { ...recovered, empty: ["rec"] } }, none), "StepFinished")
    assert.strictEqual(
      next({ ...killed, recovered: { ...recovered, failed: ["rec"] } }, none),
      "RolloutFailed"
    )
  })
})

describe("cordons", () => {
  const node = (life: string, admission: string) => ({
    incarnation: "i",
    version: "v1",
    life,
    admission,
    proto
  })
  const instances = new Map(
    old.map(({ instance }) => [instance, { state: running, signalled: "no" as const }])
  )
  const nodes = new Map([
    ["u-1", node("Serving", "open")],
    ["u-2", node("Serving", "cordoned")],
    ["u-3", node("Draining", "closed")]
  ])
  const at = { _tag: "Between", plan, step: 0 } as const

  it("are set on all old nodes that take rooms, before anything else", () => {
    const cluster = { ...seen("Serving", "no"), instances, nodes }
    assert.deepInclude(decide({ _tag: "Cordoning", plan, at }, cluster, undefined), {
      _tag: "Cordon",
      instances: ["u-1"]
    })
    const done = { ...cluster, nodes: new Map([["u-2", node("Serving", "cordoned")]]) }
    assert.strictEqual(next({ _tag: "Cordoning", plan, at }, done), "NodesCordoned")
  })

  it("are taken back when the rollout stops, but for those of others", () => {
    const failure = { reason: "Ended", instance: "u-1", detail: "", recordings: [] } as const
    const others = [{ instance: "u-1", version: "v1", cordoned: true }, ...old.slice(1)]
    const cordoned = new Map(old.map(({ instance }) => [instance, node("Serving", "cordoned")]))
    const stopping: OpenRollout = { _tag: "Stopping", plan: { ...plan, old: others }, at, failure }
    const cluster = { ...seen("Serving", "no"), instances, nodes: cordoned }
    assert.deepInclude(decide(stopping, cluster, undefined), { _tag: "Uncordon", instances: ["u-2", "u-3"] })
    assert.strictEqual(next(stopping, { ...cluster, nodes }), "Uncordon")
  })
})
