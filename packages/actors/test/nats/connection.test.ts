import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Context from "effect/Context"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { Registry } from "../../src/Registry.ts"
import { Transport } from "../../src/Transport.ts"
import * as Nats from "../../src/nats/Nats.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import { quietly } from "../quietly.ts"
import { freePort, natsServer } from "./natsServer.ts"

const connect = (options: Parameters<typeof NatsConnection.layer>[0]) =>
  Layer.build(NatsConnection.layer(options))
const password = Redacted.make("s3cret-word")

describe("NatsConnection", () => {
  it.live("says what to do when no server is there", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const servers = [`nats://someone:${Redacted.value(password)}@127.0.0.1:${port}`]
      const error = yield* Effect.flip(connect({ servers, name: "n1" }))
      expect(error._tag).toBe("NatsUnavailable")
      expect(error.message).toBe(
        `no connection to NATS at nats://127.0.0.1:${port}: nothing listens there; is nats-server running?`
      )
    }).pipe(Effect.scoped, quietly)
  )

  it.live("waits for a server that starts later when told to, and can be interrupted while it waits", () =>
    Effect.gen(function* () {
      const server = yield* natsServer()
      yield* server.kill
      const options = { servers: server.url, name: "n1", firstConnect: "wait" } as const
      expect(yield* Effect.timeoutOption(Effect.scoped(connect(options)), "100 millis")).toMatchObject({
        _tag: "None"
      })
      const waiting = yield* Effect.forkChild(connect(options))
      yield* server.start
      const context = yield* Fiber.join(waiting)
      expect(Context.get(context, NatsConnection).isConnected()).toBe(true)
    }).pipe(Effect.scoped, quietly)
  )

  it.live(
    "says once what it lacks where NATS was configured for an earlier version, and each other refusal",
    () => {
      const lines: Array<string> = []
      const capture = Logger.layer([
        Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${String(message)}`))
      ])
      return Effect.gen(function* () {
        const permissions = `publish: "_INBOX.>", subscribe: "_INBOX_n1.>"`
        const server = yield* natsServer({
          config: `authorization { users: [{ user: n1, password: p, permissions: { ${permissions} } }] }`
        })
        const context = yield* connect({
          servers: server.url,
          name: "n1",
          user: "n1",
          password: Redacted.make("p")
        })
        const { client } = Context.get(context, NatsConnection)
        for (const subject of ["$SRV.*", "$SRV.*.ebb-node", "a.thing"]) {
          client.subscribe(subject, { callback: () => {} })
        }
        for (const subject of ["ebb.v1.live.b.one", "ebb.v1.live.b.two", "ebb.v1.live.a.room.r1.one"]) {
          client.publish(subject)
        }
        yield* Effect.promise(() => client.flush())
        const refused = Effect.sync(() => lines.filter((line) => line.includes("does not allow")))
        yield* Effect.repeat(refused, { until: (said) => said.length >= 4, schedule: Schedule.spaced(10) })
        expect(yield* refused).toEqual([
          "Warn NATS does not allow this process: subscription $SRV.*; NATS tools do not find it as a service",
          "Error NATS does not allow this process: subscription a.thing",
          "Warn NATS does not allow this process: publish ebb.v1.live.b.one; messages go one by one, not several in a frame",
          "Error NATS does not allow this process: publish ebb.v1.live.a.room.r1.one"
        ])
      }).pipe(Effect.scoped, Effect.provide(capture))
    }
  )

  it.live("connects with user and password, is told when they are wrong, and writes them nowhere", () => {
    const lines: Array<string> = []
    const capture = Logger.layer([Logger.make(({ message }) => void lines.push(JSON.stringify(message)))])
    return Effect.gen(function* () {
      const server = yield* natsServer({ user: "ebb", password: Redacted.value(password) })
      const wrong = yield* Effect.flip(
        connect({ servers: server.url, name: "n1", user: "ebb", password: Redacted.make("wrong") })
      )
      expect(wrong).toMatchObject({ _tag: "NatsRefused", retry: "never" })
      expect(wrong.message).toContain("it refuses these credentials")
      const context = yield* connect({ servers: server.url, name: "n1", user: "ebb", password })
      const connection = Context.get(context, NatsConnection)
      yield* server.kill
      yield* Effect.repeat(Effect.sync(connection.isConnected), {
        until: (connected) => !connected,
        schedule: Schedule.spaced(5)
      })
      yield* server.start
      yield* Effect.repeat(connection.connectedSince, {
        until: (since) => since !== undefined,
        schedule: Schedule.spaced(5)
      })
      expect(lines.length).toBeGreaterThanOrEqual(3)
      expect(lines.join()).not.toContain(Redacted.value(password))
    }).pipe(Effect.scoped, Effect.provide(capture))
  })

  it.live("leaves the process as it found it when its scope closes", () =>
    Effect.gen(function* () {
      const server = yield* natsServer()
      const connection = yield* Effect.scoped(
        Effect.map(connect({ servers: server.url, name: "n1" }), Context.get(NatsConnection))
      )
      expect(connection.client.isClosed()).toBe(true)
      expect(connection.isConnected()).toBe(false)
      expect(yield* connection.connectedSince).toBeUndefined()
    }).pipe(Effect.scoped, quietly)
  )

  it.live("says that JetStream has to be switched on when it is not", () =>
    Effect.gen(function* () {
      const server = yield* natsServer({ jetstream: false })
      const context = yield* Layer.build(Nats.layer({ servers: server.url, name: "n1", cluster: "test" }))
      const error = yield* Effect.flip(Context.get(context, Registry).bucket("leases"))
      expect(error.message).toContain("start nats-server with -js")
      expect(yield* Context.get(context, Transport).connectedSince).toBeDefined()
    }).pipe(Effect.scoped, quietly)
  )

  it.live("refuses a bucket that exists with another TTL", () =>
    Effect.gen(function* () {
      const server = yield* natsServer()
      const context = yield* Layer.build(Nats.layer({ servers: server.url, name: "n1", cluster: "test" }))
      const registry = Context.get(context, Registry)
      yield* registry.bucket("leases", { ttlMs: 15_000 })
      const error = yield* Effect.flip(registry.bucket("leases", { ttlMs: 30_000 }))
      expect(error.reason).toContain("its TTL is 15000 ms and not 30000 ms")
    }).pipe(Effect.scoped, quietly)
  )

  it.live(
    "a server that hangs is a RegistryUnavailable in two seconds, and does what it was sent when it goes on",
    () =>
      Effect.gen(function* () {
        const server = yield* natsServer()
        const context = yield* Layer.build(Nats.layer({ servers: server.url, name: "n1", cluster: "test" }))
        const bucket = yield* Context.get(context, Registry).bucket("things")
        yield* Effect.acquireRelease(server.pause, () => server.resume)
        const [took, error] = yield* Effect.timed(Effect.flip(bucket.create("k", new Uint8Array([7]))))
        expect(error._tag).toBe("RegistryUnavailable")
        expect(Duration.toMillis(took)).toBeLessThan(2_500)
        yield* server.resume
        expect([...((yield* bucket.get("k"))?.value ?? [])]).toEqual([7])
      }).pipe(Effect.scoped, quietly)
  )
})

describe("a client of NATS", () => {
  it.live("gets its answers under its own inbox prefix, those of JetStream too", () =>
    Effect.gen(function* () {
      const server = yield* natsServer()
      const context = yield* Layer.build(Nats.layer({ servers: server.url, name: "n1", cluster: "test" }))
      const other = Context.get(yield* connect({ servers: server.url, name: "n2" }), NatsConnection)
      const inboxes = new Set<string>()
      other.client.subscribe("*.>", { callback: (_, message) => void inboxes.add(message.reply ?? "") })
      yield* Effect.promise(() => other.client.flush())
      const transport = Context.get(context, Transport)
      yield* transport.subscribe("x", (frame) => frame.respond?.(frame.data))
      yield* transport.request("x", new Uint8Array(), { timeoutMs: 1_000 })
      const bucket = yield* Context.get(context, Registry).bucket("things")
      yield* bucket.create("k", new Uint8Array())
      yield* bucket.entries
      yield* Effect.promise(() => other.client.flush())
      inboxes.delete("")
      expect(inboxes.size).toBeGreaterThan(2)
      for (const inbox of inboxes) expect(inbox).toMatch(/^(_INBOX_n1\.|\$JS\.)/)
    }).pipe(Effect.scoped, quietly)
  )

  // Under the test's clock, on a real server: what is awaited is the server's answer, what is adjusted the 30 s.
  it.effect("leaves no marker of a removed key in the store", () =>
    Effect.gen(function* () {
      const server = yield* natsServer()
      const context = yield* Layer.build(Nats.layer({ servers: server.url, name: "n1", cluster: "test" }))
      const { client } = Context.get(context, NatsConnection)
      const messages = Effect.promise(async () => {
        const jsm = await client.jetstreamManager()
        return (await jsm.streams.info("KV_ebb_test_things")).state.messages
      })
      const bucket = yield* Context.get(context, Registry).bucket("things")
      const kept = yield* bucket.create("kept", new Uint8Array())
      const revision = yield* bucket.create("k", new Uint8Array())
      yield* bucket.remove("k", revision)
      expect(yield* messages).toBe(2)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.repeat(messages, { until: (count) => count === 1 })
      expect((yield* bucket.get("kept"))?.revision).toBe(kept)
      expect(yield* bucket.create("k", new Uint8Array())).toBeGreaterThan(revision)
    }).pipe(Effect.scoped, quietly)
  )
})
