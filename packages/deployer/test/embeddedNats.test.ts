import { spawn } from "node:child_process"
import { readFile, stat, writeFile } from "node:fs/promises"
import net from "node:net"
import path from "node:path"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { natsEndpoint, startNats } from "../src/cluster/embeddedNats.ts"
import { natsRoles } from "../src/cluster/natsEndpoint.ts"
import type { Cluster } from "../src/cluster/state.ts"
import { claimCluster } from "../src/cluster/state.ts"
import { alive, temporaryFolder, until } from "./fixtures.ts"
import { connectRaw, publish } from "./rawNats.ts"
import { claimed, clientOf } from "./embeddedNats.fixture.ts"

const createStream = Effect.fnUntraced(function* (cluster: Cluster) {
  const client = yield* clientOf(cluster, "deployer")
  const config = JSON.stringify({ name: "T", subjects: ["ebb.v1.test.rollout.>"], storage: "file" })
  yield* client.send(
    "SUB _INBOX_deployer.x 1",
    publish("$JS.API.STREAM.CREATE.T", config, "_INBOX_deployer.x")
  )
  return yield* client.receive(`"did_create"`)
})

const streamState = Effect.fnUntraced(function* (cluster: Cluster) {
  const client = yield* clientOf(cluster, "deployer")
  yield* client.send("SUB _INBOX_deployer.x 1", publish("$JS.API.STREAM.INFO.T", "", "_INBOX_deployer.x"))
  return yield* client.receive(`"messages"`)
})

/** `up.ts` in a process of its own, as far as its first line. */
const upElsewhere = Effect.fnUntraced(function* (folder: string) {
  const program = path.join(import.meta.dirname, "programs", "up.ts")
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, folder, "test"], { stdio: ["ignore", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk))
  yield* until(
    Effect.sync(() => output),
    (text) => text.endsWith("\n")
  )
  const kill = Effect.callback<void>((resume) => {
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
  const said: Record<string, unknown> = JSON.parse(output)
  return { said, kill, pid: child.pid }
})

describe("the embedded nats-server", () => {
  it.live("takes JetStream requests as soon as it is said to be ready", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const server = yield* startNats(cluster)
      assert.isFalse(server.adopted)
      assert.include(yield* createStream(cluster), `"did_create":true`)
    })
  )

  it.live("keeps passwords in files of its owner, and nowhere else", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const server = yield* startNats(cluster)
      const run = path.join(cluster.folder, "nats", "runs", "1")
      for (const file of [
        path.join(cluster.folder, "nats", "credentials.json"),
        path.join(run, "nats.conf")
      ]) {
        assert.strictEqual((yield* Effect.promise(() => stat(file))).mode & 0o777, 0o600)
      }
      assert.strictEqual((yield* Effect.promise(() => stat(cluster.folder))).mode & 0o077, 0)
      const shown = [`/proc/${server.pid}/cmdline`, `/proc/${server.pid}/environ`, server.log]
      for (const role of natsRoles) {
        const endpoint = yield* natsEndpoint(cluster, role)
        const client = yield* connectRaw(endpoint)
        assert.include(client.greeting, "PONG")
        assert.notInclude(JSON.stringify(endpoint), Redacted.value(endpoint.password))
        for (const file of shown) {
          assert.notInclude(
            yield* Effect.promise(() => readFile(file, "utf8")),
            Redacted.value(endpoint.password)
          )
        }
      }
    })
  )

  it.live("listens on loopback alone", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const { port } = yield* startNats(cluster)
      const table = yield* Effect.promise(() => readFile("/proc/net/tcp", "utf8"))
      const hex = port.toString(16).toUpperCase().padStart(4, "0")
      const listening = table.split("\n").filter((line) => line.includes(`:${hex} 00000000:0000 0A`))
      assert.strictEqual(listening.length, 1)
      assert.include(listening[0], `0100007F:${hex}`)
      const table6 = yield* Effect.promise(() => readFile("/proc/net/tcp6", "utf8"))
      assert.notInclude(table6, `:${hex} 00000000000000000000000000000000:0000 0A`)
    })
  )

  it.live("comes back on its port with its store, whether it was stopped or killed", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const first = yield* startNats(cluster)
      yield* createStream(cluster)
      const client = yield* clientOf(cluster, "deployer")
      yield* client.send(
        "SUB _INBOX_deployer.x 1",
        publish("ebb.v1.test.rollout.a", "hello", "_INBOX_deployer.x")
      )
      yield* client.receive(`"seq":1`)
      assert.deepStrictEqual(yield* first.stop, yield* first.stop)
      assert.isFalse(alive(first.pid))

      const second = yield* startNats(cluster)
      assert.strictEqual(second.port, first.port)
      assert.include(yield* streamState(cluster), `"messages":1`)
      process.kill(second.pid, "SIGKILL")
      assert.strictEqual((yield* second.ended)._tag, "Exited")

      const third = yield* startNats(cluster)
      assert.strictEqual(third.port, first.port)
      assert.isFalse(third.adopted)
      assert.include(yield* streamState(cluster), `"messages":1`)
    })
  )

  it.live("moves to another port when a stranger has taken its own", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const first = yield* startNats(cluster)
      yield* first.stop
      const stranger = yield* Effect.acquireRelease(
        Effect.sync(() => net.createServer().listen(first.port, "127.0.0.1")),
        (server) => Effect.sync(() => server.close())
      )
      yield* until(
        Effect.sync(() => stranger.listening),
        (is) => is
      )
      const second = yield* startNats(cluster)
      assert.notStrictEqual(second.port, first.port)
      assert.deepStrictEqual((yield* natsEndpoint(cluster, "node")).servers, [`127.0.0.1:${second.port}`])
    })
  )

  it.live("outlives an `ebb up` that is killed, and is adopted by the next", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const first = yield* upElsewhere(folder)
      yield* first.kill
      const cluster = yield* claimCluster({ folder, name: "test" })
      const server = yield* startNats(cluster)
      assert.deepStrictEqual(
        { pid: server.pid, port: server.port, adopted: server.adopted },
        { ...first.said, adopted: true }
      )
      yield* server.stop
      assert.isFalse(alive(server.pid))
    })
  )

  it.live("never runs twice on one store, even when the record of the first is wrong", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const first = yield* startNats(cluster)
      const record = path.join(cluster.folder, "nats", "runs", "1", "pid.json")
      const original = yield* Effect.promise(() => readFile(record, "utf8"))
      yield* Effect.acquireRelease(
        Effect.promise(() => writeFile(record, original.replace(/"bootId":"[^"]*"/, `"bootId":"other"`))),
        // Else it would not be found again, and not be ended.
        () => Effect.promise(() => writeFile(record, original))
      )
      const error = yield* Effect.flip(startNats(cluster))
      assert.strictEqual(error._tag, "NatsServerFailed")
      assert.include(error.message, "holds its store")
      assert.isTrue(alive(first.pid))
      assert.include((yield* clientOf(cluster, "node")).greeting, "PONG")
    })
  )

  it.live("says how to install it when it is missing", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const error = yield* Effect.flip(startNats(cluster, "/nowhere/nats-server"))
      assert.strictEqual(error._tag, "NatsServerMissing")
      assert.include(error.message, "apt-get install nats-server")
    })
  )

  it.live("says what it said when it ends at its start", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const error = yield* Effect.flip(startNats(cluster, "false"))
      assert.strictEqual(error._tag, "NatsServerFailed")
      assert.include(error.message, "ended with 1")
      assert.include(error.message, path.join(cluster.folder, "nats", "runs"))
    })
  )
})

describe("the state folder", () => {
  it.live("is one process's at a time, and names that process", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const first = yield* upElsewhere(folder)
      const error = yield* Effect.flip(claimCluster({ folder, name: "test" }))
      assert.strictEqual(error._tag, "ClusterClaimed")
      assert.include(error.message, `process ${first.pid}`)
      // Also while that process is stopped.
      if (first.pid !== undefined) process.kill(first.pid, "SIGSTOP")
      assert.strictEqual((yield* Effect.flip(claimCluster({ folder, name: "test" })))._tag, "ClusterClaimed")
      yield* first.kill
      yield* claimCluster({ folder, name: "test" })
    })
  )
})
