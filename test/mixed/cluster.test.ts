/** Nodes and clients of this build and of a packed release in one cluster: everything that either can ask is asked of both. */
import { message, protocol, UnsupportedMessage } from "@ebb/actors"
import { nodeKind } from "@ebb/media/protocol"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { decodeReply, encodeFollowUp } from "../../packages/actors/src/Envelope.ts"
import type { EbbNode } from "../support/ebbNode.ts"
import { releaseVersions } from "../support/release.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import { bothSides, roomOn, type Side } from "./sides.ts"

/** Any node answers a command: this often, so that each has. */
const oftenEnough = 8
const often = <A, E, R>(ask: Effect.Effect<A, E, R>) => Effect.replicateEffect(ask, oftenEnough)

const opus = { kind: "audio", codec: "opus", payloadType: 100, ssrc: 2222 } as const

/** A room's whole life, and a look at its node, by one side's client on one node. Fails with the first answer that is not as it should be. */
const everyCommand = Effect.fnUntraced(function* ({ call, name }: Side, nodeId: string) {
  const [roomId, recordingId] = [`room-${name}-on-${nodeId}`, `rec-${name}-on-${nodeId}`]
  assert.deepInclude(yield* roomOn({ call }, nodeId, roomId), { created: true })
  for (const again of yield* often(call("room.create", { roomId }))) {
    assert.deepStrictEqual(again, { roomId, nodeId, created: false })
  }
  for (const producer of yield* often(call("producer.add", { roomId, producerId: "p", ...opus }))) {
    assert.deepInclude(producer, { producerId: "p", ip: "127.0.0.1" })
  }
  const consumer = { roomId, consumerId: "c", producerId: "p", ip: "127.0.0.1", port: 9 }
  for (const added of yield* often(call("consumer.add", consumer))) {
    assert.deepInclude(added, { consumerId: "c", kind: "audio", codec: "opus" })
  }
  const ids = { recordingId, roomId }
  for (const { recording } of yield* often(call("recording.start", ids))) {
    assert.deepInclude(recording, { ...ids, nodeId, state: "Capturing" })
  }
  for (const room of yield* often(call("room.get", { roomId }))) {
    assert.deepInclude(room, { nodeId, consumers: [{ consumerId: "c", producerId: "p" }] })
    assert.strictEqual(room.producers.length, 1)
  }
  for (const { rooms } of yield* often(call("room.list", {}))) {
    assert.deepInclude(rooms, { roomId, nodeId, lost: false })
  }
  for (const { recordings } of yield* often(call("recording.list", {}))) {
    assert.isTrue(recordings.some((each) => each.recordingId === recordingId && each.nodeId === nodeId))
  }
  for (const report of yield* often(call("node.status", { nodeId }))) {
    assert.deepInclude(report, { nodeId, version: nodeId, life: "Serving", control: "connected" })
    assert.isTrue(report.rooms.some(({ id }) => id === roomId))
  }
  for (const { nodes } of yield* often(call("node.list", undefined))) {
    assert.deepStrictEqual(nodes.map((each) => `${each.nodeId} ${each.version} ${each.life}`).toSorted(), [
      "current current Serving",
      "released released Serving"
    ])
  }
  yield* call("consumer.close", { roomId, consumerId: "c" })
  yield* call("producer.close", { roomId, producerId: "p" })
  assert.deepInclude(yield* call("recording.stop", ids), ids)
  yield* until(often(call("recording.get", { recordingId })), (all) =>
    all.every(({ state }) => state === "Computed")
  )
  yield* call("room.close", { roomId })
  for (const gone of yield* often(Effect.flip(call("room.get", { roomId })))) {
    assert.deepInclude(gone, { _tag: "NotFound", entity: "room", id: roomId })
  }
  // Its name is free again, on whichever node.
  assert.deepInclude(yield* call("room.create", { roomId }), { created: true })
  yield* call("room.close", { roomId })
})

describe.each(releaseVersions)("this build beside %s", (version) => {
  const setUp = Effect.gen(function* () {
    const cluster = yield* testCluster
    const sides = yield* bothSides(cluster, version)
    const start = ({ name, program }: Side) => cluster.node(name, { program, args: ["--release", name] })
    const nodes = yield* Effect.all([start(sides.released), start(sides.current)], { concurrency: 2 })
    const both = [sides.released, sides.current] as const
    const pairs = both.flatMap((side) => nodes.map((node) => [side, node] as const))
    yield* until(sides.current.call("node.list", undefined), (seen) => seen.nodes.length === 2)
    return { ...sides, nodes, both, pairs }
  })
  const scope = Scope.makeUnsafe()
  let mixed: Effect.Success<typeof setUp>
  beforeAll(async () => {
    mixed = await Effect.runPromise(Scope.provide(setUp, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const unharmed = (nodes: ReadonlyArray<EbbNode>) => {
    for (const node of nodes) {
      assert.isTrue(node.isRunning(), node.nodeId)
      assert.deepStrictEqual(
        node.lines.filter((line) => /BUG|ERROR/.test(line)),
        [],
        node.nodeId
      )
    }
  }

  it.live("control commands of either are carried out on either, whichever takes them", () =>
    Effect.gen(function* () {
      const { nodes, pairs } = mixed
      yield* Effect.forEach(pairs, ([side, { nodeId }]) => everyCommand(side, nodeId), { concurrency: 4 })
      unharmed(nodes)
    })
  )

  it.live("many asks in the same moment are all answered", () =>
    Effect.gen(function* () {
      const { nodes, pairs } = mixed
      yield* Effect.forEach(
        pairs,
        ([{ media, system }, { incarnation, nodeId }]) => {
          const node = system.ref(media.NodeProtocol, { kind: nodeKind, id: nodeId, incarnation })
          const asks = Effect.replicateEffect(node.ask("Report", undefined), 100, {
            concurrency: "unbounded"
          })
          return Effect.map(asks, (reports) => {
            for (const report of reports) assert.strictEqual(report.incarnation, incarnation)
          })
        },
        { concurrency: 4 }
      )
      unharmed(nodes)
    })
  )

  it.live("what the release does not know is answered with an error, and its node goes on", () =>
    Effect.gen(function* () {
      const { current, nodes } = mixed
      const [{ incarnation, nodeId }] = nodes
      const address = { kind: nodeKind, id: nodeId, incarnation }
      const Later = protocol(
        message("Foresee", { success: Schema.String }),
        message("Follow", { success: Schema.Int, stream: true }),
        // Known there, and not as a stream.
        message("Report", { success: Schema.Unknown, stream: true })
      )
      const { system } = current
      const later = system.ref(Later, address)
      const unsupported = (tag: string) => new UnsupportedMessage({ tag })
      assert.deepStrictEqual(yield* Effect.flip(later.ask("Foresee", undefined)), unsupported("Foresee"))
      const items = Stream.runCollect(later.stream("Follow", undefined))
      assert.deepStrictEqual(yield* Effect.flip(items), unsupported("Follow"))
      const reports = yield* Effect.flip(Stream.runCollect(later.stream("Report", undefined)))
      assert.deepInclude(reports, { _tag: "MalformedMessage" })
      const progress = system.system(incarnation).ask("Progress", { kind: nodeKind, id: nodeId })
      assert.deepStrictEqual(yield* Effect.flip(progress), unsupported("Progress"))
      // Words about requests, which it does not number: those that want an answer get one.
      for (const word of [
        { from: "inc", id: 1, credit: 8 },
        { from: "inc", id: 1 }
      ]) {
        const asked = current.transport.request(system.subjects.actor(address), encodeFollowUp(word), {
          timeoutMs: 3_000
        })
        const reply = yield* Effect.flatMap(asked, decodeReply)
        assert(reply._tag === "Refused")
        assert.strictEqual(reply.error._tag, "MalformedMessage")
      }
      assert.strictEqual((yield* current.call("node.status", { nodeId })).life, "Serving")
      unharmed(nodes)
    })
  )

  it.live("either drains, undrains, cordons, watches and ends the other by messages", () =>
    Effect.gen(function* () {
      const { both, nodes, pairs } = mixed
      for (const [{ call, media, system }, { incarnation, nodeId }] of pairs) {
        const target = { kind: nodeKind, id: nodeId }
        const cause = { by: "test", reason: "mixed" }
        const at = system.system(incarnation)
        const life = Effect.map(call("node.status", { nodeId }), (report) => report.life)
        const roomId = `held-${system.nodeId}-${nodeId}`
        yield* roomOn({ call }, nodeId, roomId)
        const room = { kind: media.roomKind, id: roomId, incarnation }
        const ended = yield* Effect.forkChild(system.ref(media.RoomProtocol, room).terminated)
        for (const admission of ["cordoned", "open"] as const) {
          assert.isTrue((yield* at.ask("Admit", { ...target, ...cause, admission })).changed)
          assert.strictEqual((yield* call("node.status", { nodeId })).admission, admission)
        }
        assert.isTrue((yield* call("node.cordon", { nodeId })).changed)
        assert.isTrue((yield* call("node.uncordon", { nodeId })).changed)
        yield* call("node.drain", { nodeId, ...cause })
        assert.strictEqual(yield* life, "Draining")
        yield* call("node.undrain", { nodeId })
        const drain = {
          ...target,
          ...cause,
          reversible: true,
          evacuate: false,
          deadlines: { drainMs: 60_000 }
        }
        yield* at.ask("Drain", drain)
        assert.strictEqual(yield* life, "Draining")
        // It lives. Which life that is, 0.1.0 does not say.
        assert.notProperty(yield* at.ask("Watch", { ...target, holdMs: 10 }), "terminated")
        yield* at.ask("Undrain", { ...target, ...cause })
        assert.strictEqual(yield* life, "Serving")
        yield* call("room.close", { roomId })
        assert.deepInclude(yield* Fiber.join(ended), { by: "itself" })
        const none = yield* Effect.flip(at.ask("Watch", { kind: "room", id: "none", holdMs: 10 }))
        assert.deepInclude(none, { _tag: "NoSuchActor", id: "none" })
      }
      unharmed(nodes)
      const reason = { by: "test", reason: "over" }
      for (const [side, node] of [
        [both[0], nodes[1]],
        [both[1], nodes[0]]
      ] as const) {
        yield* side.system.system(node.incarnation).ask("Drain", {
          kind: nodeKind,
          id: node.nodeId,
          ...reason,
          reversible: false,
          evacuate: false,
          deadlines: {}
        })
        assert.deepInclude(yield* node.exited, { code: 0 })
      }
    })
  )
})
