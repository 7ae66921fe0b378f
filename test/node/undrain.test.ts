/** Taking a drain back, and what a caller meets while every node drains. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { holdComputation } from "../support/computing.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const once = { retryForMs: 0 }

it.live("a drain by message is taken back, and a room is created there right after", () =>
  Effect.gen(function* () {
    const { call, node } = yield* testCluster
    const a = yield* node("a")
    yield* call("room.create", { roomId: "before" })
    yield* call("node.drain", { nodeId: "a", by: "operator", reason: "a test" })
    expect(yield* Effect.flip(call("room.create", { roomId: "during" }, once))).toMatchObject({
      _tag: "NoNodeAdmits",
      nodes: [{ nodeId: "a", admission: "closed" }],
      retry: "safe"
    })
    yield* call("node.undrain", { nodeId: "a", by: "operator" })
    expect(yield* call("room.create", { roomId: "after" }, once)).toEqual({
      roomId: "after",
      nodeId: "a",
      created: true
    })
    expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({
      life: "Serving",
      admission: "open",
      blockers: [],
      rooms: [{ id: "before" }, { id: "after" }]
    })
    // The room that was there has ended, and nothing of the drain is left to end the node with it.
    yield* call("room.close", { roomId: "before" })
    yield* call("room.close", { roomId: "after" })
    yield* until(call("node.status", { nodeId: "a" }), ({ rooms }) => rooms.length === 0)
    expect(yield* call("room.create", { roomId: "later" }, once)).toMatchObject({ created: true })
    expect(a.isRunning()).toBe(true)
  })
)

it.live("after SIGTERM undrain is refused, also when the drain had begun by message", () =>
  Effect.gen(function* () {
    const { call, node } = yield* testCluster
    const a = yield* node("a")
    yield* call("room.create", { roomId: "talk" })
    yield* call("node.drain", { nodeId: "a" })
    yield* a.signal("SIGTERM")
    yield* a.says(/SIGTERM: draining/)
    expect(yield* Effect.flip(call("node.undrain", { nodeId: "a" }, once))).toMatchObject({
      _tag: "UndrainRefused",
      nodeId: "a",
      retry: "never"
    })
    yield* call("room.close", { roomId: "talk" })
    expect(yield* a.exited).toMatchObject({ code: 0 })
  })
)

it.live("once the node is sealing undrain is refused, and so is a room with `prefer`", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const a = yield* cluster.node("a")
    const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(1)
    yield* call("node.drain", { nodeId: "a" })
    yield* call("room.close", { roomId: "talk" })
    const computation = yield* holdComputation(a.pid)
    const status = yield* until(call("node.status", { nodeId: "a" }), ({ life }) => life === "Sealing")
    expect(status.blockers).toEqual([expect.objectContaining({ kind: "recording", id: "talk-1" })])
    expect(yield* Effect.flip(call("node.undrain", { nodeId: "a" }, once))).toMatchObject({
      _tag: "UndrainRefused",
      reason: expect.stringContaining("Sealing")
    })
    const late = { roomId: "late", admission: "prefer" } as const
    expect(yield* Effect.flip(call("room.create", late, once))).toMatchObject({ _tag: "NoNodeAdmits" })
    yield* computation.release
    expect(yield* a.exited).toMatchObject({ code: 0 })
  })
)

it.live(
  "when every node drains a room is refused with `NoNodeAdmits`; with `prefer` a draining one takes it",
  () =>
    Effect.gen(function* () {
      const { call, node } = yield* testCluster
      // A room on each: a node that has none is drained at once, and gone.
      yield* node("a")
      expect(yield* call("room.create", { roomId: "on-a" })).toMatchObject({ nodeId: "a" })
      yield* call("node.cordon", { nodeId: "a" })
      yield* node("b")
      expect(yield* call("room.create", { roomId: "on-b" })).toMatchObject({ nodeId: "b" })
      yield* call("node.drain", { nodeId: "a" })
      yield* call("node.drain", { nodeId: "b" })

      expect(yield* Effect.flip(call("room.create", { roomId: "strict" }, once))).toMatchObject({
        _tag: "NoNodeAdmits",
        nodes: [
          { nodeId: "a", life: "Draining", admission: "closed" },
          { nodeId: "b", life: "Draining", admission: "closed" }
        ]
      })
      const preferred = yield* call("room.create", { roomId: "preferred", admission: "prefer" }, once)
      expect(preferred.created).toBe(true)
      const { rooms } = yield* call("node.status", { nodeId: preferred.nodeId })
      expect(rooms.map(({ id }) => id)).toContain("preferred")

      // One of them comes back, and the caller who was refused needs nothing but to ask again.
      yield* call("node.undrain", { nodeId: "b" })
      expect(yield* call("room.create", { roomId: "strict" }, once)).toMatchObject({
        nodeId: "b",
        created: true
      })
    })
)
