/** `ebb up` and what is done with its nodes one by one, as people run it: real processes. */
import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { childrenOf } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { until, untilTrue } from "../support/until.ts"
import { ebb, ebbCluster, jsonOf, ran, saysJson } from "./ebbCluster.ts"

const slow = 120_000

const running = (cluster: Effect.Success<ReturnType<typeof ebbCluster>>) =>
  Effect.map(cluster.instances, (all) => all.filter(({ state }) => state._tag === "Running"))

describe("ebb up", () => {
  it.live(
    "killed -9 leaves nodes and calls alone, and the next one takes them up",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(2)
        const before = (yield* running(cluster)).map(({ instance }) => instance)
        yield* cluster.call("room.create", { roomId: "room" })
        yield* cluster.up.signal("SIGKILL")
        yield* cluster.up.exited
        const again = yield* cluster.upAgain
        assert.deepInclude(yield* saysJson(again, "Adopted"), { nodes: before })
        assert.strictEqual((yield* cluster.call("room.get", { roomId: "room" })).roomId, "room")
        assert.deepStrictEqual(
          (yield* running(cluster)).map(({ instance }) => instance),
          before
        )

        const second = yield* ran("up", "--state", cluster.folder, "--json")
        assert.deepInclude(second.last["error"], { tag: "ClusterClaimed" })
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "starts nats-server again when it dies, and everything can be commanded as before",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        yield* cluster.call("room.create", { roomId: "room" })
        // Its own children are wrappers in sessions of their own: the server is the one that listens.
        const wrappers = yield* childrenOf(cluster.up.pid)
        const servers = (yield* Effect.forEach(wrappers, ({ pid }) => childrenOf(pid)))
          .flat()
          .filter(({ command }) => command.startsWith("nats-server"))
        assert.strictEqual(servers.length, 1)
        for (const { pid } of servers) process.kill(pid, "SIGKILL")
        yield* saysJson(cluster.up, "NatsEnded")
        yield* until(cluster.call("room.get", { roomId: "room" }), ({ roomId }) => roomId === "room")
        const rollout = yield* cluster.rollout("--to", "v2")
        yield* saysJson(rollout, "Waiting")
        yield* cluster.call("room.close", { roomId: "room" })
        assert.strictEqual((yield* rollout.exited).code, 0)
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "waits on Ctrl-C for a room and names it; a second one evacuates, and the recording is kept",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        yield* untilTrue(() => room.sender.video.frames() > 50)
        yield* cluster.up.signal("SIGINT")
        const waiting = yield* saysJson(cluster.up, "Waiting")
        assert.deepInclude(waiting, { instance: room.nodeId, rooms: ["room"], recordings: ["rec"] })
        // Those that come together are one: the first that counts is the second.
        const evacuates = () => cluster.up.lines.some((line) => jsonOf(line)["how"] === "evacuating")
        yield* until(
          Effect.tap(Effect.sync(evacuates), (seen) => (seen ? Effect.void : cluster.up.signal("SIGINT"))),
          (seen) => seen
        )
        assert.strictEqual((yield* cluster.up.exited).code, 0, cluster.up.lines.join("\n"))
        assert.strictEqual(yield* cluster.signalsOf(room.nodeId), 1)

        const again = yield* cluster.upAgain
        yield* until(
          cluster.call("recording.get", { recordingId: "rec" }),
          ({ state }) => state === "Computed"
        )
        yield* again.signal("SIGINT")
        assert.strictEqual((yield* again.exited).code, 0)
      }).pipe(Effect.scoped),
    slow
  )
})

describe("ebb", () => {
  it.live("cordons, uncordons, drains and undrains a node", () =>
    Effect.gen(function* () {
      const cluster = yield* ebbCluster(1)
      const [{ instance } = { instance: "" }] = yield* running(cluster)
      yield* cluster.call("room.create", { roomId: "room" })
      const state = ["--state", cluster.folder, "--json"]
      const report = cluster.call("node.status", { nodeId: instance })
      for (const [command, life, admission] of [
        ["cordon", "Serving", "cordoned"],
        ["uncordon", "Serving", "open"],
        ["drain", "Draining", "closed"],
        ["undrain", "Serving", "open"]
      ] as const) {
        const { code, last } = yield* ran(command, instance, ...state)
        assert.strictEqual(code, 0, command)
        assert.deepInclude(last, { type: "Result", outcome: "ok", nodeId: instance })
        assert.deepInclude(yield* report, { life, admission })
      }
      const unknown = yield* ran("drain", "nobody", ...state)
      assert.strictEqual(unknown.code, 1)
      assert.deepInclude(unknown.last["error"], { tag: "NotFound", retry: "never" })
      const rooms = yield* ran("rooms", ...state)
      assert.deepInclude(rooms.lines.map(jsonOf)[0], {
        type: "Room",
        roomId: "room",
        nodeId: instance,
        lost: false
      })
      yield* ran("drain", instance, "--evacuate", ...state)
      yield* until(running(cluster), (left) => left.length === 0)
    }).pipe(Effect.scoped)
  )

  it.live(
    "recovers what a killed node left, without a node, and nothing of one that lives",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(2)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        const { nodeId } = yield* cluster.call("recording.get", { recordingId: "rec" })
        const node = (yield* running(cluster)).find(({ instance }) => instance === nodeId)
        yield* untilTrue(() => room.sender.video.frames() > 50)
        const data = join(cluster.folder, "data")
        const recover = ran("recordings", "recover", data, "--state", cluster.folder, "--json")
        const living = yield* recover
        assert.deepInclude(living, { code: 0 })
        assert.deepInclude(living.last, { type: "Result", recovered: 0, held: 1 })

        if (node?.state._tag === "Running") process.kill(node.state.pid, "SIGKILL")
        yield* until(running(cluster), (left) => left.length === 1)
        yield* saysJson(cluster.up, "Node", { instance: nodeId, recover: data })
        const silent = yield* ran("recordings", "show", "rec", "--state", cluster.folder)
        assert.strictEqual(silent.code, 1)
        assert.match(silent.lines.join(), /'rec' does not answer: .*killed.* ask again in 18 s/)
        const unsure = yield* ran("recordings", "give-up", data, "rec", "--reason", "old")
        assert.strictEqual(unsure.code, 64)
        assert.match(unsure.lines.join("\n"), /without --yes nothing is given up/)
        const first = yield* recover
        assert.deepInclude(first, { code: 0 })
        assert.deepInclude(jsonOf(first.lines[0] ?? ""), {
          type: "Recovered",
          recordingId: "rec",
          nodeId
        })
        assert.deepInclude((yield* recover).last, { recovered: 0, alreadyDone: 1 })
        assert.strictEqual((yield* ran("recordings", "recover", join(data, "no"))).code, 64)
      }).pipe(Effect.scoped),
    slow
  )

  it.live("helps, suggests what was meant, and says in one line what to do", () =>
    Effect.gen(function* () {
      const help = yield* ran("rollout", "--help")
      assert.strictEqual(help.code, 0)
      assert.include(help.lines.join("\n"), "Exit codes")
      for (const mistyped of [["nods"], ["rollout", "--too", "v2"], ["rollout"], ["up", "--nodes", "many"]]) {
        const { code, lines } = yield* ran(...mistyped)
        assert.strictEqual(code, 64, mistyped.join(" "))
        assert.notInclude(lines.join("\n"), "    at ")
      }
      assert.include((yield* ran("nods")).lines.join("\n"), "nodes")
      const none = yield* ran("nodes", "--state", "/nonexistent")
      assert.strictEqual(none.code, 1)
      assert.strictEqual(none.lines.length, 1)
      assert.include(none.lines[0], "ebb up")
      const mistypedFile = yield* ran(
        "up",
        "--state",
        "/nonexistent",
        "--releases",
        "/nonexistent/releases.json"
      )
      assert.strictEqual(mistypedFile.code, 1)
      assert.include(mistypedFile.lines.join("\n"), "there is no such file")
      const noData = yield* ran("recordings", "recover", "/")
      assert.notStrictEqual(noData.code, 0)
      assert.include(noData.lines.join("\n"), "no data folder")
      const command = yield* ebb("--version")
      assert.strictEqual((yield* command.exited).code, 0)
    }).pipe(Effect.scoped)
  )
})
