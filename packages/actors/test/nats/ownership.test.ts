/** Leases and the directory on a real nats-server that is killed, loses its store, or hangs. Lease times are a tenth. */
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { makeIncarnation } from "../../src/Address.ts"
import { Directory } from "../../src/Directory.ts"
import { hold } from "../../src/Lease.ts"
import { Leases } from "../../src/Leases.ts"
import * as Nats from "../../src/nats/Nats.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import { LeaseTimes } from "../../src/NodeLease.ts"
import { Registry } from "../../src/Registry.ts"
import { body } from "../cluster.ts"
import { quietly } from "../quietly.ts"
import { type NatsServer, natsServer } from "./natsServer.ts"

const times: LeaseTimes = { ttlMs: 1_500, renewMs: 400, marginMs: 300 }
const room = { kind: "room", id: "r1" }

const test = (
  sentence: string,
  run: (server: NatsServer) => Effect.Effect<void, unknown, Scope.Scope>,
  timeout = 30_000
) =>
  it.live(
    sentence,
    () =>
      Effect.scoped(Effect.flatMap(natsServer(), run)).pipe(
        Effect.provideService(LeaseTimes, times),
        quietly
      ),
    timeout
  )

const node = Effect.fnUntraced(function* (server: NatsServer, name: string) {
  const context = yield* Layer.build(
    Directory.layer.pipe(
      Layer.provideMerge(Leases.layer),
      Layer.provideMerge(Nats.layer({ servers: server.url, name, cluster: "test" }))
    )
  )
  const lease = yield* hold({ nodeId: name, incarnation: makeIncarnation(), initial: body() }).pipe(
    Effect.provide(context)
  )
  const resumed = yield* Queue.unbounded<unknown>()
  yield* Effect.forkScoped(Stream.runForEach(lease.resumed, (epoch) => Queue.offer(resumed, epoch)))
  yield* Effect.yieldNow
  return {
    lease,
    resumed: Queue.take(resumed),
    leases: Context.get(context, Leases),
    directory: Context.get(context, Directory),
    connection: Context.get(context, NatsConnection),
    registry: Context.get(context, Registry)
  }
})

const leaseHolder = Effect.fnUntraced(function* (server: NatsServer) {
  const words = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const program = fileURLToPath(new URL("leaseHolder.ts", import.meta.url))
      const args = [program, server.url, JSON.stringify(times)]
      return spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  createInterface({ input: child.stdout }).on("line", (word) => Queue.offerUnsafe(words, word))
  return { child, heard: Queue.take(words), ask: () => child.stdin.write("?\n") }
})

const until = <A, E>(effect: Effect.Effect<A, E>, accept: (a: A) => boolean) =>
  Effect.repeat(effect, { until: accept, schedule: Schedule.spaced(20) })

/** How long it takes until nobody who watches could still be mistaken. */
const longEnough = Effect.sleep(2 * (times.ttlMs + times.marginMs))

describe("on a real nats-server", () => {
  test("a node that ends is known at once, one that vanishes after its lease, and its names can be taken over", (server) =>
    Effect.gen(function* () {
      const a = yield* node(server, "a")
      const vanishing = yield* Scope.make()
      const b = yield* Effect.scoped(node(server, "b"))
      yield* until(a.leases.deathOf(b.lease.incarnation), (death) => death === "ended")
      const c = yield* node(server, "c").pipe(Scope.provide(vanishing))
      const epoch = yield* c.directory.claim(room, c.lease)
      expect(yield* Effect.flip(a.directory.claim(room, a.lease))).toMatchObject({ owner: { node: "c" } })
      // As a kill: nothing is said any more.
      yield* Effect.promise(() => c.connection.client.close())
      const taken = yield* Effect.retry(a.directory.claim(room, a.lease), Schedule.spaced(20))
      expect(taken.revision).toBeGreaterThan(epoch.revision)
      expect(yield* a.leases.deathOf(c.lease.incarnation)).toBe("missing")
      yield* Scope.close(vanishing, Exit.void)
    }))

  test("killed for longer than a lease and started with its store: nobody is dead, every entry is still its owner's", (server) =>
    Effect.gen(function* () {
      const [a, b] = [yield* node(server, "a"), yield* node(server, "b")]
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* longEnough
      yield* server.kill
      yield* until(a.lease.status, (status) => status === "isolated")
      expect(yield* Effect.flip(a.lease.assertFresh)).toMatchObject({ _tag: "NodeIsolated" })
      yield* longEnough
      const verdicts = yield* Effect.forkScoped(
        Effect.forever(
          Effect.flatMap(b.leases.isDead(a.lease.incarnation), (dead) =>
            dead ? Effect.die(new Error("called dead")) : Effect.sleep(5)
          )
        )
      )
      yield* server.start
      yield* a.resumed
      yield* b.resumed
      expect(yield* a.directory.verify(room, a.lease)).toMatchObject({
        _tag: "Mine",
        epoch: { registry: epoch.registry }
      })
      yield* longEnough
      expect(verdicts.pollUnsafe()).toBeUndefined()
      expect((yield* b.leases.current).map(({ node }) => node)).toEqual(["a", "b"])
      expect(yield* Effect.flip(b.directory.claim(room, b.lease))).toMatchObject({ _tag: "AlreadyOwned" })
    }))

  test("killed and started with its store lost: every entry is registered again, under epochs of another registry", (server) =>
    Effect.gen(function* () {
      const [a, b] = [yield* node(server, "a"), yield* node(server, "b")]
      const epoch = yield* a.directory.claim(room, a.lease)
      const lost = yield* Effect.forkScoped(Stream.runHead(a.directory.registryLost))
      yield* server.kill
      yield* server.loseStore
      yield* server.start
      yield* a.resumed
      const verified = yield* a.directory.verify(room, a.lease)
      expect(verified._tag).toBe("Retaken")
      expect(verified.epoch.registry).not.toBe(epoch.registry)
      expect(yield* Fiber.join(lost)).toMatchObject({ value: verified.epoch.registry })
      yield* b.resumed
      expect(yield* b.directory.lookup(room)).toMatchObject({
        entry: { node: "a", inc: a.lease.incarnation },
        epoch: verified.epoch
      })
    }))

  test("stopped for longer than a lease and continued: isolated meanwhile, nobody dead after", (server) =>
    Effect.gen(function* () {
      const [a, b] = [yield* node(server, "a"), yield* node(server, "b")]
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* longEnough
      yield* Effect.acquireRelease(server.pause, () => server.resume)
      yield* until(a.lease.status, (status) => status === "isolated")
      yield* longEnough
      expect(yield* b.leases.isDead(a.lease.incarnation)).toBe(false)
      yield* server.resume
      yield* a.resumed
      yield* b.resumed
      for (let look = 0; look < 50; look++) {
        expect(yield* b.leases.isDead(a.lease.incarnation)).toBe(false)
        yield* Effect.sleep(times.ttlMs / 25)
      }
      expect(yield* a.directory.verify(room, a.lease)).toMatchObject({
        _tag: "Mine",
        epoch: { registry: epoch.registry }
      })
    }))

  test("a process that was stopped for longer than its lease knows it at its first look", (server) =>
    Effect.gen(function* () {
      const observer = yield* node(server, "observer")
      const holder = yield* leaseHolder(server)
      expect(yield* holder.heard).toBe("held")
      holder.ask()
      expect(yield* holder.heard).toBe("fresh")
      holder.child.kill("SIGSTOP")
      yield* until(observer.leases.isDead("inc-1"), (dead) => dead)
      holder.ask()
      holder.child.kill("SIGCONT")
      expect(yield* holder.heard).toBe("isolated")
      expect(yield* holder.heard).toBe("resumed")
      holder.ask()
      expect(yield* holder.heard).toBe("fresh")
      yield* until(observer.leases.isDead("inc-1"), (dead) => !dead)
    }))

  test("a claim cut off by a server that hangs leaves no entry behind", (server) =>
    Effect.gen(function* () {
      const [a, b] = [yield* node(server, "a"), yield* node(server, "b")]
      yield* Effect.acquireRelease(server.pause, () => server.resume)
      expect(yield* Effect.flip(a.directory.claim(room, a.lease))).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      yield* server.resume
      yield* a.resumed
      yield* until(
        Effect.orElseSucceed(b.directory.lookup(room), () => undefined),
        (located) => located === undefined
      )
      yield* Effect.retry(b.directory.claim(room, b.lease), Schedule.spaced(50))
    }))
})
