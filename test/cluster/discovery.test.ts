/** Nodes as NATS micro services, asked as the standard tools ask: who is there, what they are, how they stand, what they have done. */
import { decode, encode } from "@msgpack/msgpack"
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { connect, type NatsConnection } from "nats"
import { startEbbNode } from "../support/ebbNode.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"
import { type ConfiguredNats, type Login, natsOfPage, natsOfUp } from "./configuredNats.ts"

const clientOf = ({ address }: ConfiguredNats, { inboxPrefix, password, user }: Login) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      connect({ servers: address, user, pass: password, inboxPrefix, noAsyncTraces: true })
    ),
    (client) => Effect.promise(() => client.close())
  )

interface Said {
  readonly type: string
  readonly name: string
  readonly id: string
  readonly version: string
  readonly metadata: Readonly<Record<string, string>>
  readonly started?: string
  readonly endpoints?: ReadonlyArray<{
    readonly name: string
    readonly subject: string
    readonly queue_group: string
    readonly num_requests?: number
    readonly num_errors?: number
    readonly last_error?: string
    readonly processing_time?: number
    readonly average_processing_time?: number
  }>
}

/** Everything that is answered within the time that `nats micro` waits. */
const all = (client: NatsConnection, subject: string) =>
  Effect.promise(async () => {
    const answers: Array<Said> = []
    try {
      for await (const answer of await client.requestMany(subject, "", { maxWait: 500 }))
        answers.push(answer.json())
    } catch (cause) {
      // Nobody of that name.
      if (!(cause instanceof Error && "code" in cause && cause.code === "503")) throw cause
    }
    return answers.toSorted((a, b) => ((a.metadata["node"] ?? "") < (b.metadata["node"] ?? "") ? -1 : 1))
  })

const command = (client: NatsConnection, name: string, payload: object) =>
  Effect.promise(async () => {
    const answer = await client.request(`ebb.v1.live.ctl.${name}`, encode(payload), { timeout: 5_000 })
    return decode(answer.data) as { readonly ok?: unknown; readonly error?: { readonly _tag: string } }
  })

const node = Effect.fnUntraced(function* ({ address, logins }: ConfiguredNats, nodeId: string) {
  return yield* startEbbNode({
    nodeId,
    cluster: "live",
    nats: address,
    dataDir: join(yield* temporaryFolder, "data"),
    args: ["--release", "2026-11"],
    env: {
      EBB_NATS_USER: logins.node.user,
      EBB_NATS_PASSWORD: logins.node.password,
      EBB_NATS_INBOX: `${logins.node.inboxPrefix}.${nodeId}`
    }
  })
})

describe("a node as a NATS micro service", () => {
  it.live(
    "is listed, described and counted, as it stands at that moment, and answers each command once",
    () =>
      Effect.gen(function* () {
        const nats = yield* natsOfUp
        const operator = yield* clientOf(nats, nats.logins.operator)
        const nodes = [yield* node(nats, "a"), yield* node(nats, "b")]

        const pings = yield* all(operator, "$SRV.PING")
        expect(pings).toEqual(
          nodes.map(({ incarnation, nodeId }) => ({
            type: "io.nats.micro.v1.ping_response",
            name: "ebb-node",
            id: incarnation,
            version: expect.stringMatching(/^\d+\.\d+\.\d+/),
            metadata: {
              cluster: "live",
              node: nodeId,
              incarnation,
              release: "2026-11",
              life: "Serving",
              admission: "open",
              control: "connected",
              host: expect.any(String),
              pid: expect.any(String),
              rooms: "0",
              recordings: "0"
            }
          }))
        )
        const [a] = nodes
        const ofOne = (verb: string) => all(operator, `$SRV.${verb}.ebb-node.${a?.incarnation}`)
        expect((yield* all(operator, "$SRV.PING.ebb-node")).length).toBe(2)
        expect((yield* ofOne("PING")).map(({ id }) => id)).toEqual([a?.incarnation])
        expect(yield* all(operator, "$SRV.PING.other")).toEqual([])
        expect(yield* all(operator, "$SRV.SCHEMA")).toEqual([])

        const [info] = yield* ofOne("INFO")
        expect(info).toMatchObject({
          type: "io.nats.micro.v1.info_response",
          description: expect.any(String)
        })
        expect(info?.endpoints).toContainEqual({
          name: "room-create",
          subject: "ebb.v1.live.ctl.room.create",
          queue_group: "control"
        })
        for (const { name } of info?.endpoints ?? []) expect(name).toMatch(/^[A-Za-z0-9_-]+$/)

        // Answered by one node, once, however often it is listed.
        const inbox = `${nats.logins.operator.inboxPrefix}.once`
        let answers = 0
        operator.subscribe(`${inbox}.*`, { callback: () => void answers++ })
        for (let n = 0; n < 20; n++)
          operator.publish("ebb.v1.live.ctl.node.list", encode({}), { reply: `${inbox}.${n}` })
        expect((yield* command(operator, "room.get", { roomId: "nowhere" })).error?._tag).toBe("NotFound")
        yield* until(
          Effect.sync(() => answers),
          (count) => count >= 20
        )
        const stats = yield* all(operator, "$SRV.STATS.ebb-node")
        expect(answers).toBe(20)
        const counts = (name: string) =>
          stats.map(({ endpoints }) => endpoints?.find((endpoint) => endpoint.name === name))
        const sum = (name: string, of: "num_requests" | "num_errors") =>
          counts(name).reduce((total, each) => total + (each?.[of] ?? 0), 0)
        expect([sum("node-list", "num_requests"), sum("node-list", "num_errors")]).toEqual([20, 0])
        expect([sum("room-get", "num_requests"), sum("room-get", "num_errors")]).toEqual([1, 1])
        expect(counts("room-get").map((each) => each?.last_error)).toContain("NotFound")
        for (const each of counts("node-list")) {
          if (each?.num_requests === 0) continue
          expect(each?.processing_time).toBeGreaterThan(1_000)
          expect(each?.average_processing_time).toBe(
            Math.round((each?.processing_time ?? 0) / (each?.num_requests ?? 1))
          )
        }
        expect((yield* Clock.currentTimeMillis) - Date.parse(stats[0]?.started ?? "")).toBeLessThan(60_000)

        // As it stands now; and gone with its process.
        const room = yield* command(operator, "room.create", { roomId: "r1" })
        const isOnA = (room.ok as { readonly nodeId: string }).nodeId === "a"
        const [home, other] = isOnA ? (["a", "b"] as const) : (["b", "a"] as const)
        yield* command(operator, "node.cordon", { nodeId: other })
        yield* command(operator, "node.drain", { nodeId: home })
        const standing = yield* until(all(operator, "$SRV.PING"), (pings) =>
          pings.some(({ metadata }) => metadata["rooms"] === "1")
        )
        expect(
          Object.fromEntries(
            standing.map(({ metadata }) => [metadata["node"], `${metadata["life"]} ${metadata["admission"]}`])
          )
        ).toEqual({ [home]: "Draining closed", [other]: "Serving cordoned" })
        yield* command(operator, "room.close", { roomId: "r1" })
        for (const each of nodes) if (each.nodeId === home) expect((yield* each.exited).code).toBe(0)
        expect((yield* all(operator, "$SRV.PING")).map(({ metadata }) => metadata["node"])).toEqual([other])
      })
  )

  it.live("can be asked by observers, not by backends, and also from another account", () =>
    Effect.gen(function* () {
      for (const nats of [yield* natsOfUp, yield* natsOfPage("accounts")]) {
        yield* node(nats, "a")
        const observer = yield* clientOf(nats, nats.logins.observer)
        expect((yield* all(observer, "$SRV.PING")).map(({ metadata }) => metadata["node"])).toEqual(["a"])
        const backend = yield* clientOf(nats, nats.logins.backend)
        backend.publish("$SRV.PING", "", { reply: `${nats.logins.backend.inboxPrefix}.x` })
        let heard = 0
        backend.subscribe(`${nats.logins.backend.inboxPrefix}.x`, { callback: () => void heard++ })
        expect((yield* command(backend, "room.list", {})).ok).toBeDefined()
        expect(heard).toBe(0)
      }
    })
  )

  it.live("serves where NATS does not let it be found, and says so", () =>
    Effect.gen(function* () {
      const nats = yield* natsOfPage("users", (config) =>
        config.replace(
          `subscribe: ["ebb.v1.live.>", "$SRV.>", "_INBOX_node.>"]`,
          `subscribe: ["ebb.v1.live.>", "_INBOX_node.>"]`
        )
      )
      const a = yield* node(nats, "a")
      yield* a.says(/NATS does not allow this process: subscription \$SRV\.\*/)
      const operator = yield* clientOf(nats, nats.logins.operator)
      expect((yield* command(operator, "room.create", { roomId: "r1" })).ok).toMatchObject({ created: true })
      yield* command(operator, "room.close", { roomId: "r1" })
      yield* a.signal("SIGTERM")
      expect((yield* a.exited).code).toBe(0)
    })
  )
})
