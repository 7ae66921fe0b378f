/** A NATS that is away, or whose process is stopped: who waits for it, for how long, and what is said. */
import { assert, describe, it } from "@effect/vitest"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"
import { ebbCluster, type EbbCluster, jsonOf, ran, saysJson, serverOf } from "./ebbCluster.ts"

/** Stopped while it runs. */
const whileStopped = <A, E, R>(pid: number, run: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => process.kill(pid, "SIGSTOP")),
    () => run,
    () => Effect.sync(() => process.kill(pid, "SIGCONT"))
  )

const logOf = ({ folder }: EbbCluster, instance: string) =>
  Effect.tryPromise(() => readFile(join(folder, "instances", instance, "log"), "utf8"))

/** With nobody at the port it is told. */
const lonelyNode = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const dataDir = yield* temporaryFolder
  const options = { nodeId: "a", cluster: "c", nats: "127.0.0.1:9", dataDir, args }
  return yield* startProgram(process.execPath, ebbNodeArgs(options))
})

describe("a nats-server that is stopped", () => {
  it.live(
    "while a rollout starts a node is waited for by that node, and the rollout completes",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(1)
        const pid = yield* serverOf(cluster.folder)
        const rollout = yield* cluster.rollout("--to", "v2")
        const { instance } = yield* saysJson(rollout, "StartIntended")
        yield* whileStopped(
          pid,
          until(logOf(cluster, String(instance)), (log) => log.includes("waiting for NATS"))
        )
        assert.strictEqual((yield* rollout.exited).code, 0, rollout.lines.join("\n"))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live("is not called dead: its pid and log are said", () =>
    Effect.gen(function* () {
      const cluster = yield* ebbCluster(1)
      const pid = yield* serverOf(cluster.folder)
      const nodes = yield* whileStopped(pid, ran("nodes", "--state", cluster.folder))
      assert.strictEqual(nodes.code, 1)
      assert.notInclude(nodes.lines.join("\n"), "not running")
      assert.include(nodes.lines.join("\n"), `process ${pid}`)
      assert.include(nodes.lines.join("\n"), join(cluster.folder, "nats/runs/1/log"))
    }).pipe(Effect.scoped)
  )
})

describe("ebb-node --nats-wait", () => {
  it.live("waits so long for NATS, says so at growing distances, and fails", () =>
    Effect.gen(function* () {
      const node = yield* lonelyNode("--nats-wait=4")
      assert.strictEqual((yield* node.exited).code, 1)
      // After the first, second and fourth of five tries.
      assert.strictEqual(node.lines.filter((line) => line.includes("waiting for NATS")).length, 3)
    }).pipe(Effect.scoped)
  )

  it.live("ends with 0 at a SIGTERM meanwhile: it has served nothing", () =>
    Effect.gen(function* () {
      const node = yield* lonelyNode("--nats-wait=60")
      yield* node.says(/waiting for NATS/)
      yield* node.signal("SIGTERM")
      assert.strictEqual((yield* node.exited).code, 0)
    }).pipe(Effect.scoped)
  )
})

describe("ebb rollout", () => {
  it.live("says when it stops where the log of the instance is", () =>
    Effect.gen(function* () {
      const cluster = yield* ebbCluster(1, { v2: ["sh", "-c", "exit 5"] })
      const rollout = yield* cluster.rollout("--to", "v2")
      assert.strictEqual((yield* rollout.exited).code, 2)
      const result = jsonOf(rollout.lines.at(-1) ?? "")
      const { instance } = yield* saysJson(rollout, "StartIntended")
      assert.strictEqual(result["log"], join(cluster.folder, "instances", String(instance), "log"))
      const again = yield* ran("rollout", "--state", cluster.folder, "--to", "v2")
      assert.match(again.lines.join("\n"), /its log: \/.*\/instances\/[\w-]+\/log/)
    }).pipe(Effect.scoped)
  )
})
