/** The command line and the deployer on real parts: nats-server, nodes, media. */
import { assert, describe, it } from "@effect/vitest"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import type { Program } from "../support/program.ts"
import { until, untilTrue } from "../support/until.ts"
import { ebbCluster, jsonOf, ran, saysJson } from "./ebbCluster.ts"

const slow = 120_000

const running = (cluster: Effect.Success<ReturnType<typeof ebbCluster>>) =>
  Effect.map(cluster.instances, (all) => all.filter(({ state }) => state._tag === "Running"))

describe("ebb rollout", () => {
  it.live(
    "replaces the nodes while a recorded room goes on, waits for it, and signals each old node once",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(2)
        const old = yield* running(cluster)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        const rollout = yield* cluster.rollout("--to", "v2")
        yield* saysJson(rollout, "Waiting", { instance: room.nodeId, life: "Draining" })
        const before = room.receiver.packets()
        yield* untilTrue(() => room.receiver.packets() > before + 50)
        assert.isTrue(rollout.isRunning())
        yield* room.sender.stop
        yield* cluster.call("room.close", { roomId: "room" })

        assert.strictEqual((yield* rollout.exited).code, 0)
        // Whatever it does, its nats-server allows it.
        assert.notMatch(rollout.lines.join("\n"), /ERROR|WARN/)
        assert.deepInclude(jsonOf(rollout.lines.at(-1) ?? ""), {
          type: "Result",
          outcome: "completed",
          replaced: 2,
          of: 2
        })
        assert.strictEqual((yield* cluster.call("recording.get", { recordingId: "rec" })).state, "Computed")
        const listed = yield* ran("nodes", "--state", cluster.folder, "--json")
        const nodes = listed.lines.map(jsonOf).filter(({ type }) => type === "Node")
        assert.deepStrictEqual(
          nodes.map(({ life, version }) => [life, version]),
          [
            ["Serving", "v2"],
            ["Serving", "v2"]
          ]
        )
        for (const { instance } of old) assert.strictEqual(yield* cluster.signalsOf(instance), 1)
        const all = yield* cluster.instances
        for (const { instance } of old) {
          assert.deepInclude(all.find((each) => each.instance === instance)?.state, {
            _tag: "Exited",
            code: 0
          })
        }

        yield* cluster.up.signal("SIGINT")
        assert.strictEqual((yield* cluster.up.exited).code, 0)
        assert.deepStrictEqual(yield* running(cluster), [])
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "killed -9 right after it signalled, and run again, sends no second signal",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const [old] = yield* running(cluster)
        const instance = old?.instance ?? ""
        yield* cluster.call("room.create", { roomId: "room" })
        const first = yield* cluster.rollout("--to", "v2")
        yield* saysJson(first, "Signalled", { instance })
        yield* first.signal("SIGKILL")
        yield* first.exited

        const other = yield* ran("rollout", "--state", cluster.folder, "--json", "--to", "v1")
        assert.strictEqual(other.code, 1)
        assert.deepInclude(other.last["error"], { tag: "RolloutOpen" })

        const second = yield* cluster.rollout("--to", "v2")
        yield* saysJson(second, "Waiting", { instance, life: "Draining" })
        yield* cluster.call("room.close", { roomId: "room" })
        assert.strictEqual((yield* second.exited).code, 0)
        assert.strictEqual(yield* cluster.signalsOf(instance), 1)
        assert.isFalse(second.lines.some((line) => jsonOf(line)["type"] === "Signalled"))
        assert.strictEqual((yield* running(cluster)).length, 1)
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "killed -9 after each thing it says, and run again each time, ends the same",
    () =>
      Effect.gen(function* () {
        // Two nodes: what is said of the first is far from the end of the rollout.
        const cluster = yield* ebbCluster(2)
        const old = yield* running(cluster)
        yield* cluster.call("room.create", { roomId: "room" })
        const killedAt = new Set<unknown>(["Result", "RolloutCompleted"])
        const typesOf = ({ lines }: Program) => lines.map((line) => jsonOf(line)["type"])
        const isNew = (type: unknown) => type !== undefined && !killedAt.has(type)
        let last = yield* cluster.rollout("--to", "v2")
        while (true) {
          const now = last
          yield* untilTrue(() => typesOf(now).some(isNew) || !now.isRunning())
          const type = typesOf(now).find(isNew)
          if (type === undefined) break
          yield* now.signal("SIGKILL")
          yield* now.exited
          killedAt.add(type)
          if (type === "Waiting") yield* cluster.call("room.close", { roomId: "room" })
          last = yield* cluster.rollout("--to", "v2")
        }
        assert.strictEqual((yield* last.exited).code, 0, last.lines.join("\n"))
        assert.isAtLeast(killedAt.size, 8)
        for (const { instance } of old) assert.strictEqual(yield* cluster.signalsOf(instance), 1)
        const all = yield* cluster.instances
        assert.deepStrictEqual(all.map(({ state, version }) => `${version} ${state._tag}`).toSorted(), [
          "v1 Exited",
          "v1 Exited",
          "v2 Running",
          "v2 Running"
        ])
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "is refused while another runs, detaches on Ctrl-C, and is gone on with",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const [old] = yield* running(cluster)
        yield* cluster.call("room.create", { roomId: "room" })
        const first = yield* cluster.rollout("--to", "v2")
        yield* saysJson(first, "Waiting")
        const second = yield* ran("rollout", "--state", cluster.folder, "--json", "--to", "v2")
        assert.strictEqual(second.code, 1)
        assert.deepInclude(second.last["error"], { tag: "RolloutRunning" })
        assert.include(second.lines.join("\n"), String(first.pid))

        yield* first.signal("SIGINT")
        assert.strictEqual((yield* first.exited).code, 130)
        assert.deepInclude(jsonOf(first.lines.at(-1) ?? ""), { outcome: "detached" })
        const third = yield* cluster.rollout("--to", "v2")
        yield* saysJson(third, "DeployerAttached")
        yield* cluster.call("room.close", { roomId: "room" })
        assert.strictEqual((yield* third.exited).code, 0)
        assert.strictEqual(yield* cluster.signalsOf(old?.instance ?? ""), 1)
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "--force kill lists who is cut and refuses; with --yes it loses no recording",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const [old] = yield* running(cluster)
        const instance = old?.instance ?? ""
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        yield* untilTrue(() => room.sender.video.frames() > 50)

        const force = ["--to", "v2", "--force", "kill"] as const
        // Nobody is cut where nothing is replaced, so nothing is to be confirmed.
        const needless = yield* ran(
          "rollout",
          "--state",
          cluster.folder,
          "--json",
          "--to",
          "v1",
          "--force",
          "kill"
        )
        assert.deepInclude(needless.last, { outcome: "completed", replaced: 0 })
        const asked = yield* ran("rollout", "--state", cluster.folder, "--json", ...force)
        assert.strictEqual(asked.code, 1)
        assert.deepInclude(asked.last["error"], { tag: "ForceUnconfirmed" })
        assert.deepInclude(asked.lines.map(jsonOf)[0], {
          nodeId: instance,
          rooms: ["room"],
          recordings: ["rec"]
        })
        assert.strictEqual((yield* running(cluster)).length, 1)

        const rollout = yield* cluster.rollout(...force, "--yes")
        assert.strictEqual((yield* rollout.exited).code, 0, rollout.lines.join("\n"))
        assert.deepInclude(yield* saysJson(rollout, "RecordingsRecovered"), { computed: ["rec"], failed: [] })
        const recording = yield* cluster.call("recording.get", { recordingId: "rec" })
        assert.strictEqual(recording.state, "Computed")
        assert.isAbove(recording.packets, 50)
        assert.strictEqual(yield* cluster.signalsOf(instance), 0)
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "--force evacuate ends the rooms, and waits for their recordings",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        yield* untilTrue(() => room.sender.video.frames() > 50)
        const rollout = yield* cluster.rollout("--to", "v2", "--force", "evacuate", "--yes")
        assert.strictEqual((yield* rollout.exited).code, 0, rollout.lines.join("\n"))
        assert.deepInclude(yield* saysJson(rollout, "InstanceEnded"), { code: 3 })
        assert.strictEqual((yield* cluster.call("recording.get", { recordingId: "rec" })).state, "Computed")
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "stops with 2 at a node that is killed, names its recording; run again it recovers it and goes on",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const [old] = yield* running(cluster)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        yield* untilTrue(() => room.sender.video.frames() > 50)
        const rollout = yield* cluster.rollout("--to", "v2")
        yield* saysJson(rollout, "Waiting")
        assert.strictEqual(old?.state._tag, "Running")
        if (old?.state._tag === "Running") process.kill(old.state.pid, "SIGKILL")
        assert.strictEqual((yield* rollout.exited).code, 2)
        const result = jsonOf(rollout.lines.at(-1) ?? "")
        assert.deepInclude(result, { outcome: "stopped", left: [old?.instance] })
        assert.deepInclude(result["failure"], {
          reason: "Ended",
          instance: old?.instance,
          recordings: ["rec"]
        })

        const again = yield* cluster.rollout("--to", "v2")
        assert.strictEqual((yield* again.exited).code, 0, again.lines.join("\n"))
        assert.strictEqual((yield* cluster.call("recording.get", { recordingId: "rec" })).state, "Computed")
        assert.strictEqual((yield* running(cluster)).length, 1)
      }).pipe(Effect.scoped),
    slow
  )
})

describe("ebb recordings give-up", () => {
  it.live(
    "lets a rollout go on that a recording which can never be computed has stopped",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const [old] = yield* running(cluster)
        const room = yield* liveRoom(cluster, "room", { recordingId: "rec" })
        yield* untilTrue(() => room.sender.video.frames() > 50)
        const recording = cluster.call("recording.get", { recordingId: "rec" })
        const { folder = "" } = yield* recording
        const rollout = cluster.rollout("--to", "v2")
        const first = yield* rollout
        yield* saysJson(first, "Waiting")
        if (old?.state._tag === "Running") process.kill(old.state.pid, "SIGKILL")
        yield* Effect.promise(() => rm(join(folder, "journal.ebbj")))
        assert.strictEqual((yield* first.exited).code, 2)
        const second = yield* rollout
        assert.strictEqual((yield* second.exited).code, 2)
        assert.deepInclude(jsonOf(second.lines.at(-1) ?? "")["failure"], { reason: "RecordingsLeft" })
        yield* until(recording, ({ state }) => state === "Interrupted")

        const giveUp = [
          "recordings",
          "give-up",
          join(cluster.folder, "data"),
          "rec",
          "--state",
          cluster.folder
        ]
        assert.deepInclude(yield* ran(...giveUp, "--reason", "gone", "--json"), { code: 64 })
        const given = yield* ran(...giveUp, "--reason", "gone", "--yes", "--json")
        assert.deepInclude(given, { code: 0 })
        assert.deepInclude(jsonOf(given.lines[0] ?? ""), {
          type: "GivenUp",
          recordingId: "rec",
          reason: "gone"
        })
        const info = yield* recording
        assert.deepInclude(info, { state: "Failed" })
        assert.deepInclude(info.givenUp, { reason: "gone" })
        const listed = yield* ran("recordings", "--state", cluster.folder)
        assert.match(listed.lines.join("\n"), /rec .*Given up .*given up by .*: gone/)

        const third = yield* rollout
        assert.strictEqual((yield* third.exited).code, 0, third.lines.join("\n"))
      }).pipe(Effect.scoped),
    slow
  )
})
