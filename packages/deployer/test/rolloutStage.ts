/**
 * A cluster for the deployer actor, under the test's clock: nodes that hold real leases and answer control commands on the bus in memory,
 * started and signalled by an orchestrator that does it at once. Deployer processes share the bus, the registry and the log.
 */
import {
  ActorSystem,
  codecOf,
  type Frame,
  type HeldLease,
  holdLease,
  Leases,
  type NodeLeaseBody,
  pack,
  subjects,
  unpack
} from "@ebb/actors"
import { TestBus, TestEventLog, TestRegistry } from "@ebb/actors/testing"
import { ControlProtocol } from "@ebb/media/protocol"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { InstanceNotRunning, UnknownInstance, UnknownVersion } from "../src/DeployError.ts"
import { deployer, type DeployerArgs, type DeployerLost, type RolloutEnd } from "../src/Deployer.ts"
import {
  type Instance,
  type InstanceEnd,
  InstanceState,
  Orchestrator,
  SignalOutcome
} from "../src/Orchestrator.ts"
import type { ForceMode } from "../src/RolloutEvent.ts"

const cluster = "test"

/** The version `next` speaks the one after, too; `far` no longer the first. */
const protocolsOf: Readonly<Record<string, readonly [number, number]>> = { next: [1, 2], far: [2, 3] }

export interface FakeNode {
  readonly instance: string
  readonly version: string
  readonly scope: Scope.Closeable
  readonly lease: HeldLease
  body: NodeLeaseBody
  state: InstanceState
  signalled: Instance["signalled"]
  signals: number
  /** Drains by message. */
  messages: number
  rooms: Array<string>
  recordings: Array<string>
  /** Takes the signal and does not drain. */
  deaf: boolean
}

const tick = 100

/** Lets time pass until the effect is done. */
export const passing = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect)
  while (fiber.pollUnsafe() === undefined) {
    yield* Effect.yieldNow
    yield* TestClock.adjust(tick)
  }
  return yield* Fiber.join(fiber)
})

export const makeStage = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const registry = yield* TestRegistry.make(bus)
  const log = TestEventLog.make(bus)
  const nodes = new Map<string, FakeNode>()
  const computed = new Set<string>()
  /** What was done, in order. */
  const done: Array<string> = []
  /** Called within the orchestrator, after a signal has gone out. */
  let onSignalled: Effect.Effect<void> = Effect.void
  let markOnly = false

  const publish = (node: FakeNode, change: Partial<NodeLeaseBody>) => {
    node.body = { ...node.body, ...change }
    return node.lease.publish(node.body)
  }

  const end = Effect.fnUntraced(function* (node: FakeNode, state: InstanceEnd) {
    if (node.state._tag !== "Running") return
    node.state = state
    done.push(`${node.instance} ended`)
    yield* Scope.close(node.scope, Exit.void)
  })

  /** As a node does: ends by itself when nothing is left. */
  const settle = Effect.fnUntraced(function* (node: FakeNode) {
    if (node.body.life === "Serving" || node.rooms.length > 0) return
    for (const recording of node.recordings.splice(0)) computed.add(recording)
    yield* end(node, InstanceState.Exited({ code: node.body.life === "Evacuating" ? 3 : 0 }))
  })

  const drain = Effect.fnUntraced(function* (node: FakeNode, evacuate: boolean) {
    if (evacuate) node.rooms = []
    yield* publish(node, { life: evacuate ? "Evacuating" : "Draining", admission: "closed" })
    yield* settle(node)
  })

  const startNode = Effect.fnUntraced(function* (instance: string, version: string) {
    const scope = yield* Scope.make()
    const body: NodeLeaseBody = {
      proto: protocolsOf[version] ?? [1, 1],
      version,
      life: "Serving",
      admission: "open",
      host: "host",
      pid: 1,
      startedAt: 0,
      rooms: 0,
      recordings: 0
    }
    const lease = yield* holdLease({ nodeId: instance, incarnation: `i-${instance}`, initial: body }).pipe(
      Scope.provide(scope),
      Effect.provide(Layer.merge(bus.layer(instance), registry.layer(instance))),
      Effect.orDie
    )
    const node: FakeNode = {
      instance,
      version,
      scope,
      lease,
      body,
      state: InstanceState.Running({ pid: 1, startTime: 1 }),
      signalled: "no",
      signals: 0,
      messages: 0,
      rooms: [],
      recordings: [],
      deaf: false
    }
    nodes.set(instance, node)
    done.push(`${instance} started`)
    return node
  })
  yield* Effect.addFinalizer(() =>
    Effect.forEach([...nodes.values()], ({ scope }) => Scope.close(scope, Exit.void), { discard: true })
  )

  const control = yield* bus.connect("control")
  const run = yield* Effect.map(Effect.context<never>(), Effect.runForkWith)
  const answers = (command: string, input: Record<string, unknown>): Effect.Effect<unknown, string> => {
    const node = nodes.get(String(input["nodeId"]))
    if (command === "recording.get") {
      const recordingId = String(input["recordingId"])
      if (!computed.has(recordingId)) return Effect.fail("recording")
      const info = {
        recordingId,
        roomId: "room",
        nodeId: "n",
        startedAt: 0,
        packets: 1,
        lostPackets: 0,
        tracks: 1
      }
      return Effect.succeed({ ...info, state: "Computed" })
    }
    if (node?.state._tag !== "Running") return Effect.fail("node")
    const blockers = (kind: string, ids: ReadonlyArray<string>) => ids.map((id) => ({ kind, id, ageMs: 1 }))
    switch (command) {
      case "node.status": {
        const { admission, life, pid, startedAt, version } = node.body
        return Effect.succeed({
          nodeId: node.instance,
          incarnation: `i-${node.instance}`,
          version,
          pid,
          startedAt,
          life,
          admission,
          control: "connected",
          rooms: blockers("room", node.rooms),
          recordings: blockers("recording", node.recordings),
          unfinished: [],
          blockers: []
        })
      }
      case "node.cordon":
      case "node.uncordon":
        done.push(`${node.instance} ${command.slice(5)}ed`)
        return Effect.as(publish(node, { admission: command === "node.cordon" ? "cordoned" : "open" }), {
          changed: true
        })
      case "node.drain":
        node.messages++
        return Effect.as(drain(node, input["evacuate"] === true), undefined)
      default:
        return Effect.die(command)
    }
  }
  const reply = Effect.fnUntraced(function* (frame: Frame) {
    const command = frame.subject.slice(subjects(cluster).control("").length)
    const payload = yield* unpack(frame.data)
    const exit = yield* Effect.exit(answers(command, payload as Record<string, unknown>))
    const givesNothing = codecOf(ControlProtocol, command)?.givesNothing === true
    if (Exit.isSuccess(exit)) return frame.respond?.(pack({ ok: givesNothing ? {} : exit.value }))
    const error = { _tag: "NotFound", entity: "it", id: "x", message: "not found", retry: "never" }
    frame.respond?.(pack({ error }))
  })
  yield* control.subscribe(subjects(cluster).controlAll, (frame) => void run(Effect.orDie(reply(frame))))

  const known = (instance: string) => {
    const node = nodes.get(instance)
    return node === undefined ? Effect.fail(new UnknownInstance({ instance })) : Effect.succeed(node)
  }
  const describe = ({ instance, signalled, state, version }: FakeNode): Instance => ({
    instance,
    version,
    state,
    signalled,
    log: ""
  })
  const orchestrator = Orchestrator.of({
    start: Effect.fnUntraced(function* ({ instance, version }) {
      if (version === "none") {
        return yield* new UnknownVersion({ version, known: ["v1"], similar: [], file: "releases.json" })
      }
      return describe(nodes.get(instance) ?? (yield* startNode(instance, version)))
    }),
    signalOnce: Effect.fnUntraced(function* (instance) {
      const node = yield* known(instance)
      if (node.signalled !== "no") return SignalOutcome.AlreadySignalled({ signalled: node.signalled })
      if (node.state._tag !== "Running") return yield* new InstanceNotRunning({ instance, state: "Exited" })
      node.signalled = "intent"
      if (markOnly) return yield* Effect.never
      node.signals++
      node.signalled = "sent"
      done.push(`${instance} signalled`)
      if (!node.deaf) yield* drain(node, false)
      yield* onSignalled
      return SignalOutcome.Signalled()
    }),
    kill: Effect.fnUntraced(function* (instance) {
      const node = yield* known(instance)
      if (node.state._tag !== "Running") return false
      yield* end(node, InstanceState.Exited({ code: 137, signal: "SIGKILL" }))
      return true
    }),
    list: Effect.sync(() => [...nodes.values()].map(describe)),
    ended: () => Effect.never
  })

  /** A rollout that `d1` begins is called `r1`. */
  const deploy = Effect.fnUntraced(function* (
    process: string,
    to: string,
    options: {
      readonly force?: ForceMode
      readonly restart?: boolean
      readonly onProgress?: DeployerArgs["onProgress"]
    } = {}
  ) {
    const { force, restart } = options
    const ended = yield* Deferred.make<RolloutEnd, DeployerLost>()
    const scope = yield* Scope.fork(yield* Effect.scope)
    const outside = Layer.mergeAll(bus.layer(process), registry.layer(process), log.layer(process))
    const services = Layer.mergeAll(
      ActorSystem.layer({ cluster, nodeId: process }),
      Leases.layer,
      Layer.succeed(Orchestrator, orchestrator)
    ).pipe(Layer.provideMerge(outside))
    const actor = yield* Effect.gen(function* () {
      const system = yield* ActorSystem
      const spawned = yield* system.spawn(deployer, "rollout", {
        request: {
          rollout: process.replace("d", "r"),
          to,
          ...(restart === undefined ? {} : { restart }),
          ...(force === undefined ? {} : { force })
        },
        launch: (instance, version) => ({ instance, version }),
        recover: (instance) =>
          Effect.sync(() => {
            const found = nodes.get(instance)?.recordings.splice(0) ?? []
            for (const recording of found) computed.add(recording)
            done.push(`${instance} recovered`)
            return { computed: found, empty: [], failed: [] }
          }),
        onProgress: options.onProgress ?? (() => Effect.void),
        ended
      })
      yield* spawned.started
      return spawned
    }).pipe(Effect.provide(yield* Layer.buildWithScope(services, scope)))
    return { actor, end: Deferred.await(ended), kill: Scope.close(scope, Exit.void) }
  })

  return {
    nodes,
    done,
    log,
    computed,
    deploy,
    startNode,
    node: (instance: string): FakeNode => {
      const node = nodes.get(instance)
      if (node === undefined) throw new Error(`no ${instance} in ${[...nodes.keys()].join(", ")}`)
      return node
    },
    closeRooms: (node: FakeNode) => {
      node.rooms = []
      return settle(node)
    },
    crash: (node: FakeNode) => end(node, InstanceState.Exited({ code: 1 })),
    onSignalled: (effect: Effect.Effect<void>) => {
      onSignalled = effect
    },
    markOnly: (only: boolean) => {
      markOnly = only
    },
    until: Effect.fnUntraced(function* (reached: () => boolean) {
      while (!reached()) yield* Effect.sleep(tick)
    })
  }
})
