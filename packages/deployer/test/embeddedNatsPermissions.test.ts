import { readFile, writeFile } from "node:fs/promises"
import path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { natsEndpoint, startNats } from "../src/cluster/embeddedNats.ts"
import type { NatsRole } from "../src/cluster/natsEndpoint.ts"
import { natsRoles } from "../src/cluster/natsEndpoint.ts"
import { connectRaw, publish } from "./rawNats.ts"
import { claimed, clientOf } from "./embeddedNats.fixture.ts"

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
