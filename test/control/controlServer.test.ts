/** What a cluster grown large, and a process that was stopped for long, make of control commands. */
import { layerNats } from "@ebb/actors"
import { makeControlClient } from "@ebb/media/protocol"
import { encode } from "@msgpack/msgpack"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { describe, expect, it } from "@effect/vitest"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { rawClient } from "./rawClient.ts"

const clientOf = (cluster: TestCluster) =>
  Layer.build(layerNats({ servers: cluster.nats.address, name: "pager", cluster: cluster.name })).pipe(
    Effect.flatMap((services) => Effect.provideContext(makeControlClient(cluster.name), services)),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )

describe("lists", () => {
  it.live("come in pages by id, each room in one of them", () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* cluster.node("a")
      // More than a page has when nobody says how many.
      const ids = Array.from({ length: 501 }, (_, n) => `room-${String(n).padStart(3, "0")}`)
      yield* Effect.forEach(ids, (roomId) => call("room.create", { roomId }), { concurrency: 32 })

      const first = yield* call("room.list", {})
      expect({ rooms: first.rooms.length, next: first.next }).toEqual({ rooms: 500, next: "room-499" })
      expect(yield* call("room.list", { after: "room-499" })).toEqual({
        rooms: [{ roomId: "room-500", nodeId: "a", lost: false }]
      })
      expect(yield* call("room.list", { after: "room-009", limit: 2 })).toMatchObject({
        rooms: [{ roomId: "room-010" }, { roomId: "room-011" }],
        next: "room-011"
      })
      expect(yield* call("room.list", { after: "room-500" })).toEqual({ rooms: [] })
      const client = yield* clientOf(cluster)
      expect((yield* client.rooms).map(({ roomId }) => roomId)).toEqual(ids)
    })
  )

  it.live("that do not fit into an answer are cut, and go on where they were cut", () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      // Each recording names its journal's folder: 400 of them make an answer of more than 1 MiB.
      const dataDir = join(yield* temporaryFolder, ...Array.from({ length: 14 }, () => "d".repeat(200)))
      mkdirSync(dataDir, { recursive: true })
      yield* cluster.node("a", { dataDir })
      yield* call("room.create", { roomId: "r" })
      const ids = Array.from({ length: 400 }, (_, n) => `rec-${String(n).padStart(3, "0")}`)
      yield* Effect.forEach(ids, (recordingId) => call("recording.start", { recordingId, roomId: "r" }), {
        concurrency: 16
      })
      const first = yield* call("recording.list", { limit: 400 })
      expect(first.recordings.length).toBeLessThan(400)
      expect(first.next).toBe(first.recordings.at(-1)?.recordingId)
      const client = yield* clientOf(cluster)
      expect((yield* client.recordings).map(({ recordingId }) => recordingId)).toEqual(ids)
    })
  )
})

describe("a process that was stopped for longer than its lease lets it act", () => {
  it.live(
    "changes nothing with the commands that it finds waiting, answers what only reads, and obeys again after",
    () =>
      Effect.gen(function* () {
        const cluster = yield* testCluster
        const { call } = cluster
        const a = yield* cluster.node("a")
        const raw = yield* rawClient(cluster.nats.address, 30_000)
        yield* call("room.create", { roomId: "there" })

        yield* a.signal("SIGSTOP")
        const ask = (command: string, payload: object) =>
          Effect.forkChild(raw.ask(`ebb.v1.test.ctl.${command}`, encode(payload)))
        const create = yield* ask("room.create", { roomId: "late" })
        const close = yield* ask("room.close", { roomId: "there" })
        const drain = yield* ask("node.drain", { nodeId: "a" })
        const list = yield* ask("node.list", {})
        // The lease lets it act for 12 s after its last renewal.
        yield* Effect.sleep(13_000)
        yield* a.signal("SIGCONT")

        for (const changing of [create, close, drain]) {
          expect(yield* Fiber.join(changing)).toMatchObject({
            error: { _tag: "NodeIsolated", nodeId: "a", retry: "safe" }
          })
        }
        expect(Object.keys(yield* Fiber.join(list))).toEqual(["ok"])
        expect(yield* call("room.create", { roomId: "new" })).toMatchObject({ created: true })
        const { rooms } = yield* call("room.list", {})
        expect(rooms.map(({ roomId }) => roomId)).toEqual(["new", "there"])
        expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({
          life: "Serving",
          control: "connected"
        })
      })
  )
})
