/**
 * From a packed release to this build and back, while recorded rooms are live: on a cluster that the release's own `ebb` has started,
 * with its nats-server and its permissions, and with either's command line on the other's state folder.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { readFile } from "node:fs/promises"
import {
  ebb,
  type EbbCluster,
  ebbCluster,
  ebbOf,
  jsonOf,
  nodeCommand,
  ran,
  ranBy,
  saysJson
} from "../deployer/ebbCluster.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { releaseVersions, unpackedRelease } from "../support/release.ts"
import type { Program } from "../support/program.ts"

const slow = 120_000

const versionsIn = (cluster: EbbCluster, command: ReturnType<typeof ranBy>) =>
  Effect.map(command("nodes", "--state", cluster.folder, "--json"), ({ lines }) =>
    lines
      .map(jsonOf)
      .filter(({ type }) => type === "Node")
      .map(({ life, version }) => `${String(life)} ${String(version)}`)
  )

describe.each(releaseVersions)("%s and this build", (version) => {
  const setUp = Effect.gen(function* () {
    const release = yield* unpackedRelease(version)
    const released = ebbOf(release.path("deployer", "dist/bin/ebb.js"))
    const releasedNode = [process.execPath, release.path("media", "dist/bin/ebb-node.js")]
    return { released, commands: { released: releasedNode, current: nodeCommand } }
  })

  /** All nodes are replaced while a recorded room lives on one of them; it loses nothing, and no node is signalled twice. */
  const rolledAround = Effect.fnUntraced(function* (
    cluster: EbbCluster,
    to: string,
    begin: Effect.Effect<Program, never, Scope.Scope>
  ) {
    const old = (yield* cluster.instances).filter(({ state }) => state._tag === "Running")
    const room = yield* liveRoom(cluster, `before-${to}`, { recordingId: `before-${to}` })
    const rollout = yield* begin
    yield* saysJson(rollout, "Waiting", { instance: room.nodeId, life: "Draining" })
    yield* room.receiver.more(25)
    assert.isTrue(rollout.isRunning())
    yield* room.sender.stop
    yield* cluster.call("room.close", { roomId: room.roomId })
    assert.strictEqual((yield* rollout.exited).code, 0, rollout.lines.join("\n"))
    const result = jsonOf(rollout.lines.at(-1) ?? "")
    assert.deepInclude(result, { outcome: "completed", replaced: old.length, of: old.length })
    const info = yield* cluster.call("recording.get", { recordingId: `before-${to}` })
    const check = yield* recordedAgainstSent(info, room.sender)
    assert.deepStrictEqual(check.recorded, check.sent)
    assert.deepInclude(check, { packets: room.sender.packets(), lostPackets: 0, complaints: "" })
    const instances = yield* cluster.instances
    for (const { instance } of old) {
      assert.strictEqual(yield* cluster.signalsOf(instance), 1)
      assert.deepInclude(instances.find((each) => each.instance === instance)?.state, {
        _tag: "Exited",
        code: 0
      })
    }
  })

  it.live(
    "this build's rollout on a cluster of the release, to this build and back, loses nothing, and its `ebb up` takes it over",
    () =>
      Effect.gen(function* () {
        const { commands, released } = yield* setUp
        const cluster = yield* ebbCluster(2, commands, { program: released, version: "released" })
        yield* rolledAround(cluster, "current", cluster.rollout("--to", "current"))
        assert.deepStrictEqual(yield* versionsIn(cluster, ranBy(released)), [
          "Serving current",
          "Serving current"
        ])
        yield* rolledAround(cluster, "released", cluster.rollout("--to", "released"))
        assert.deepStrictEqual(yield* versionsIn(cluster, ran), ["Serving released", "Serving released"])
        yield* cluster.up.signal("SIGKILL")
        yield* cluster.up.exited
        const up = yield* ebb("up", "--state", cluster.folder, "--json", "--nodes", "2")
        yield* saysJson(up, "Ready", { nodes: 2 })
        yield* up.signal("SIGINT")
        assert.strictEqual((yield* up.exited).code, 0)
        for (const { log } of yield* cluster.instances) {
          const text = yield* Effect.promise(() => readFile(log, "utf8"))
          assert.notInclude(text, "BUG")
        }
      }).pipe(Effect.scoped),
    slow
  )

  it.live(
    "the release's command line works on a cluster of this build, and its `ebb up` takes it over",
    () =>
      Effect.gen(function* () {
        const { commands, released } = yield* setUp
        const cluster = yield* ebbCluster(1, commands, { version: "current" })
        const run = (command: string, ...args: ReadonlyArray<string>) =>
          ranBy(released)(command, "--state", cluster.folder, "--json", ...args)
        const [node] = yield* cluster.instances
        const name = node?.instance ?? ""
        yield* cluster.call("room.create", { roomId: "room" })
        for (const command of ["cordon", "drain", "undrain"]) {
          const { code, last } = yield* run(command, name)
          assert.deepInclude(last, { outcome: "ok", nodeId: name }, command)
          assert.strictEqual(code, 0)
        }
        assert.deepInclude((yield* run("rooms")).lines.map(jsonOf).at(0), { type: "Room", roomId: "room" })
        yield* cluster.call("room.close", { roomId: "room" })

        yield* cluster.up.signal("SIGKILL")
        yield* cluster.up.exited
        const up = yield* released("up", "--state", cluster.folder, "--json", "--nodes", "1")
        yield* saysJson(up, "Ready", { nodes: 1 })
        const rollout = yield* run("rollout", "--to", "released")
        assert.strictEqual(rollout.code, 0)
        assert.deepInclude(rollout.last, { outcome: "completed", replaced: 1 })
        assert.deepStrictEqual(yield* versionsIn(cluster, ran), ["Serving released"])
      }).pipe(Effect.scoped),
    slow
  )
})
