/** One client that only reads, and too much: what it takes from those who look after the cluster. */
import { Directory, holdLease, layerNats, Leases, makeIncarnation } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { describe, expect, it } from "@effect/vitest"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { floodWithLists, statsOf } from "./readFlood.ts"

/** Rooms by name alone: a list knows no more of them. */
const enterRooms = Effect.fnUntraced(function* (cluster: TestCluster, count: number) {
  const nats = layerNats({ servers: cluster.nats.address, name: "filler", cluster: cluster.name })
  const services = yield* Directory.layer.pipe(
    Layer.provideMerge(Leases.layer),
    Layer.provideMerge(nats),
    Layer.build,
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
  yield* Effect.gen(function* () {
    const directory = yield* Directory
    const lease = yield* holdLease({
      nodeId: "filler",
      incarnation: makeIncarnation(),
      initial: {
        proto: [1, 1],
        version: "v1",
        life: "Draining",
        admission: "closed",
        host: "h",
        pid: 1,
        startedAt: 0,
        rooms: count,
        recordings: 0
      }
    })
    const ids = Array.from({ length: count }, (_, n) => `room-${n}`)
    yield* Effect.forEach(ids, (id) => directory.claim({ kind: "room", id }, lease), { concurrency: 64 })
  }).pipe(Effect.provide(services))
})

const isolations = (lines: ReadonlyArray<string>) =>
  lines.filter((line) => line.includes("is isolated") || line.includes("connection lost"))

describe("a reader that asks for lists without end", () => {
  it.live("gets them, and takes neither its lease from a node nor an answer from its operator", () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const node = yield* cluster.node("a")
      yield* enterRooms(cluster, 1_900)
      const seen = yield* floodWithLists({
        nats: cluster.nats.address,
        cluster: cluster.name,
        nodeId: "a",
        atOnce: 1,
        perSecond: 60,
        operatorAsks: 100
      })
      expect(seen.operatorRefused).toEqual([])
      // On a machine that is busy with other things some may be too much.
      expect(Object.keys(seen.refused).filter((tag) => tag !== "MailboxFull")).toEqual([])
      expect(seen.lists).toBeGreaterThan(0)
      expect(isolations(node.lines)).toEqual([])
    })
  )

  it.live(
    "is refused what is too much, safe to ask again and counted as what it was, and nobody else is",
    () =>
      Effect.gen(function* () {
        const cluster = yield* testCluster
        const node = yield* cluster.node("a")
        yield* enterRooms(cluster, 1_000)
        const seen = yield* floodWithLists({
          nats: cluster.nats.address,
          cluster: cluster.name,
          nodeId: "a",
          atOnce: 200,
          perSecond: 5,
          operatorAsks: 40
        })
        expect(seen.operatorRefused).toEqual([])
        expect(Object.keys(seen.refused)).toEqual(["MailboxFull"])
        expect(isolations(node.lines)).toEqual([])
        expect(yield* statsOf(cluster.nats.address, "room.list")).toMatchObject({
          num_requests: seen.lists + (seen.refused["MailboxFull"] ?? 0),
          num_errors: seen.refused["MailboxFull"],
          last_error: "MailboxFull"
        })
      })
  )
})
