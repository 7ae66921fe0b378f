import { spawn } from "node:child_process"
import { readFile, stat, writeFile } from "node:fs/promises"
import net from "node:net"
import path from "node:path"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { natsEndpoint, startNats } from "../src/cluster/embeddedNats.ts"
import type { NatsRole } from "../src/cluster/natsEndpoint.ts"
import { natsRoles } from "../src/cluster/natsEndpoint.ts"
import type { Cluster } from "../src/cluster/state.ts"
import { claimCluster } from "../src/cluster/state.ts"
import { alive, temporaryFolder, until } from "./fixtures.ts"
import { connectRaw, publish } from "./rawNats.ts"

const claimed = Effect.flatMap(temporaryFolder, (folder) => claimCluster({ folder, name: "test" }))

const clientOf = (cluster: Cluster, role: NatsRole) => Effect.flatMap(natsEndpoint(cluster, role), connectRaw)

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

describe("permissions", () => {
  const root = "ebb.v1.test"

  it.live("let nobody in with a wrong password", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      yield* startNats(cluster)
      const endpoint = yield* natsEndpoint(cluster, "node")
      const client = yield* connectRaw({ ...endpoint, password: Redacted.make("wrong") })
      assert.include(client.greeting, "Authorization Violation")
    })
  )

  it.live("let a control client command rooms and recordings, and nothing else", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      yield* startNats(cluster)
      const control = yield* clientOf(cluster, "control")
      const refusedPublishes = [
        `${root}.ctl.node.drain`,
        `${root}.ctl.node.cordon`,
        `${root}.ctl.>`,
        `${root}.sys.n1`,
        `${root}.a.Room.r1.x`,
        `${root}.rollout.r1`,
        "ebb.v1.other.ctl.status",
        "$JS.API.STREAM.LIST",
        "$KV.leases.n1",
        "_INBOX_node.x",
        "_INBOX_control.x",
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING"
      ]
      for (const subject of refusedPublishes) {
        assert.include(
          yield* control.send(publish(subject, "x")),
          `Permissions Violation for Publish to "${subject}"`
        )
      }
      const refusedSubscriptions = [
        ">",
        `${root}.>`,
        `${root}.ctl.>`,
        "_INBOX_node.>",
        "_INBOX_deployer.>",
        "_INBOX.>"
      ]
      for (const subject of refusedSubscriptions) {
        assert.include(yield* control.send(`SUB ${subject} 9`), "Permissions Violation for Subscription")
      }
      assert.notInclude(yield* control.send("SUB _INBOX_control.mine 1"), "-ERR")
      for (const command of ["room.create", "recording.stop", "node.list"]) {
        assert.notInclude(yield* control.send(publish(`${root}.ctl.${command}`, "x")), "-ERR")
      }
    })
  )

  it.live(
    "let an operator use every command, an observer those that change nothing, and no role remove a bucket",
    () =>
      Effect.gen(function* () {
        const cluster = yield* claimed
        yield* startNats(cluster)
        const may: Partial<Record<NatsRole, ReadonlyArray<string>>> = {
          operator: [`${root}.ctl.node.drain`, `${root}.ctl.room.create`, "$SRV.STATS"],
          observer: [`${root}.ctl.node.status`, `${root}.ctl.recording.get`, "$SRV.PING.ebb-node"],
          deployer: [`${root}.rollout.r1`, "$SRV.INFO"]
        }
        const mayNot: Record<NatsRole, ReadonlyArray<string>> = {
          node: [`${root}.rollout.r1`, "$SRV.PING", "$JS.API.STREAM.UPDATE.KV_x"],
          deployer: ["$KV.ebb_test_leases.n1", "$JS.API.STREAM.MSG.DELETE.KV_ebb_test_leases"],
          operator: [`${root}.sys.n1`, `${root}.a.room.r1.x`, `${root}.rollout.r1`, "$KV.ebb_test_leases.n1"],
          control: [`${root}.ctl.node.undrain`],
          observer: [`${root}.ctl.room.create`, `${root}.ctl.node.drain`, `${root}.sys.n1`]
        }
        for (const role of natsRoles) {
          const client = yield* clientOf(cluster, role)
          for (const subject of may[role] ?? []) {
            assert.notInclude(yield* client.send(publish(subject, "x")), "-ERR", `${role} on ${subject}`)
          }
          for (const subject of [
            ...mayNot[role],
            "$JS.API.STREAM.DELETE.KV_x",
            "$JS.API.STREAM.PURGE.KV_x",
            "$JS.API.META.LEADER.STEPDOWN"
          ]) {
            assert.include(
              yield* client.send(publish(subject, "x")),
              `Permissions Violation for Publish to "${subject}"`,
              role
            )
          }
          for (const other of natsRoles) {
            const answer = yield* client.send(`SUB _INBOX_${other}.> 9`)
            assert.strictEqual(
              answer.includes("Permissions Violation"),
              other !== role,
              `${role} at ${other}`
            )
          }
        }
      })
  )

  it.live("come with a server of this release only, where the folder is of one that knew fewer roles", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      const file = path.join(cluster.folder, "nats", "credentials.json")
      const first = yield* startNats(cluster)
      const { serverId, passwords } = JSON.parse(yield* Effect.promise(() => readFile(file, "utf8")))
      const { control, deployer, node } = passwords
      const old = JSON.stringify({ serverId, passwords: { control, deployer, node } })
      yield* Effect.promise(() => writeFile(file, old))
      // Adopted: it knows the users that it was started with.
      assert.isTrue((yield* startNats(cluster)).adopted)
      const error = yield* Effect.flip(natsEndpoint(cluster, "operator"))
      assert.include(error.message, "stop `ebb up` and start it again")
      yield* first.stop
      yield* startNats(cluster)
      assert.include((yield* clientOf(cluster, "operator")).greeting, "PONG")
      assert.strictEqual(Redacted.value((yield* natsEndpoint(cluster, "node")).password), node)
    })
  )

  it.live("let a node answer a control client, but not write to it unasked", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      yield* startNats(cluster)
      const control = yield* clientOf(cluster, "control")
      const node = yield* clientOf(cluster, "node")
      yield* node.send(`SUB ${root}.ctl.> nodes 1`)
      yield* control.send("SUB _INBOX_control.mine 1")
      assert.include(yield* node.send(publish("_INBOX_control.mine", "unasked")), "Permissions Violation")
      yield* control.send(publish(`${root}.ctl.room.list`, "ask", "_INBOX_control.mine"))
      yield* node.receive("ask")
      assert.notInclude(yield* node.send(publish("_INBOX_control.mine", "answer")), "-ERR")
      yield* control.receive("answer")
      const second = yield* node.send(publish("_INBOX_control.mine", "again"))
      assert.include(second, "Permissions Violation")
    })
  )

  it.live("let nodes talk to each other and to the deployer, and use JetStream", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      yield* startNats(cluster)
      const node = yield* clientOf(cluster, "node")
      const deployer = yield* clientOf(cluster, "deployer")
      const nodeMay = [
        `${root}.a.Room.r1.x`,
        `${root}.sys.n1.x`,
        `${root}.ctl.room.list`,
        "$KV.leases.n1",
        "_INBOX_deployer.x"
      ]
      for (const subject of nodeMay) assert.notInclude(yield* node.send(publish(subject, "x")), "-ERR")
      const deployerMay = [
        `${root}.a.Room.r1.x`,
        `${root}.sys.n1.x`,
        `${root}.ctl.room.list`,
        `${root}.rollout.r1`,
        "_INBOX_node.x"
      ]
      for (const subject of deployerMay)
        assert.notInclude(yield* deployer.send(publish(subject, "x")), "-ERR")
      assert.include(yield* node.send("SUB _INBOX_deployer.> 1"), "Permissions Violation")
      assert.include(yield* deployer.send("SUB _INBOX_node.> 1"), "Permissions Violation")
      assert.include(yield* node.send(publish("ebb.v1.other.sys.n1.x", "x")), "Permissions Violation")
    })
  )

  it.live("close a message over a mebibyte out", () =>
    Effect.gen(function* () {
      const cluster = yield* claimed
      yield* startNats(cluster)
      const node = yield* clientOf(cluster, "node")
      assert.include(
        yield* node.send(publish(`${root}.ctl.room.list`, "x".repeat(1024 ** 2 + 1))),
        "Maximum Payload Violation"
      )
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
