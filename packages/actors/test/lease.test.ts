import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { pack } from "../src/Envelope.ts"
import type { HeldLease } from "../src/Lease.ts"
import { decodeNodeLease, encodeNodeLease } from "../src/NodeLease.ts"
import { body, makeCluster, type Process } from "./cluster.ts"
import { quietly } from "./quietly.ts"

const test = (sentence: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(sentence, () => Effect.scoped(run()).pipe(quietly))

const stored = (process: Process, nodeId = process.name) =>
  Effect.gen(function* () {
    const entry = yield* (yield* process.bucket("leases")).get(nodeId)
    return entry && { revision: entry.revision, lease: Option.getOrThrow(decodeNodeLease(entry.value)) }
  })

/** What a stream has given so far, from when this is called. */
const gather = <A>(stream: Stream.Stream<A>) =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    yield* Effect.forkScoped(Stream.runForEach(stream, (a) => Effect.sync(() => void seen.push(a))))
    yield* Effect.yieldNow
    return seen
  })

const isFresh = (lease: HeldLease) => Effect.isSuccess(lease.assertFresh)

describe("a held lease", () => {
  test("is renewed for as long as its scope is open, and gone with it", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const scope = yield* Scope.make()
      const lease = yield* a.hold("inc-a").pipe(Scope.provide(scope))
      const first = yield* stored(a)
      yield* TestClock.adjust("10 minutes")
      const later = yield* stored(a)
      expect(later?.lease).toMatchObject({ v: 1, node: "a", inc: "inc-a", life: "Serving" })
      expect(later?.revision).toBe((first?.revision ?? 0) + 150)
      expect(yield* lease.epoch).toEqual({
        registry: yield* a.directory.registryId,
        revision: first?.revision
      })
      yield* Scope.close(scope, Exit.void)
      expect(yield* stored(a)).toBeUndefined()
    }))

  test("is written at once when what it says changes, several changes in one", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      const before = (yield* stored(a))?.revision ?? 0
      for (const rooms of [1, 2, 3]) {
        yield* lease.publish(body({ rooms }))
        yield* TestClock.adjust(10)
      }
      const done = yield* Effect.forkScoped(lease.published)
      yield* TestClock.adjust(100)
      yield* Fiber.join(done)
      expect(yield* stored(a)).toMatchObject({ revision: before + 1, lease: { rooms: 3 } })
    }))

  test("keeps fields that its node added, and those of others that it does not know", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      yield* lease.publish(body({ ports: { rtp: [40_000, 40_100] } }))
      yield* TestClock.adjust(100)
      expect((yield* stored(a))?.lease).toMatchObject({ ports: { rtp: [40_000, 40_100] } })
    }))

  test("is not lost with the reply to a renewal", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      const epoch = yield* lease.epoch
      const resumed = yield* gather(lease.resumed)
      yield* cluster.registry.loseNextReply("a")
      yield* TestClock.adjust("30 seconds")
      expect(yield* lease.status).toBe("connected")
      expect(yield* isFresh(lease)).toBe(true)
      expect(yield* lease.epoch).toEqual(epoch)
      expect(resumed).toEqual([])
    }))

  test("counts as fresh from when its renewal was sent, not from when it was answered", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      yield* TestClock.adjust(3_999)
      yield* cluster.registry.hang
      yield* TestClock.adjust(1_901)
      yield* cluster.registry.resume
      yield* cluster.bus.disconnect("a")
      yield* TestClock.adjust(4_000 + 11_999 - 5_900)
      expect(yield* isFresh(lease)).toBe(true)
      yield* TestClock.adjust(1)
      expect(yield* isFresh(lease)).toBe(false)
    }))

  test("isolates its node before it ends, when it is not renewed", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      const states = yield* gather(lease.statusChanges)
      yield* cluster.bus.disconnect("a")
      yield* TestClock.adjust(11_999)
      expect(yield* isFresh(lease)).toBe(true)
      expect(states).toEqual(["connected"])
      yield* TestClock.adjust(1)
      expect(states).toEqual(["connected", "isolated"])
      expect(yield* Effect.flip(lease.assertFresh)).toMatchObject({ _tag: "NodeIsolated", nodeId: "a" })
      expect(yield* lease.unbrokenSince).toBeUndefined()
    }))

  test("is created again after an outage, and says that it resumed, under a larger epoch", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      const epoch = yield* lease.epoch
      const resumed = yield* gather(lease.resumed)
      yield* cluster.bus.disconnect("a")
      yield* TestClock.adjust("1 minute")
      expect(yield* stored(yield* cluster.process("other"), "a")).toBeUndefined()
      yield* cluster.bus.reconnect("a")
      yield* TestClock.adjust("1 second")
      expect(yield* lease.status).toBe("connected")
      expect(yield* isFresh(lease)).toBe(true)
      expect(resumed).toEqual([yield* lease.epoch])
      expect((yield* lease.epoch).registry).toBe(epoch.registry)
      expect((yield* lease.epoch).revision).toBeGreaterThan(epoch.revision)
    }))

  test("is not fresh in a process that was just stopped, before any of its timers has fired", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      expect(yield* isFresh(lease)).toBe(true)
      yield* a.stopFor(12_000)
      expect(yield* a.run(isFresh(lease))).toBe(false)
      expect(yield* lease.status).toBe("isolated")
    }))

  test("resumes in a process that was stopped, also when a renewal is the first thing it does", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      const resumed = yield* gather(lease.resumed)
      yield* a.stopFor(13_000)
      yield* TestClock.adjust("4 seconds")
      expect(yield* a.run(isFresh(lease))).toBe(true)
      expect(resumed.length).toBe(1)
    }))

  test("is superseded only by another incarnation in its key, and leaves that one alone", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const scope = yield* Scope.make()
      const lease = yield* a.hold("inc-1").pipe(Scope.provide(scope))
      const superseded = yield* Effect.forkScoped(lease.superseded)
      yield* cluster.bus.disconnect("a")
      yield* TestClock.adjust("20 seconds")
      const again = yield* cluster.process("again")
      const leases = yield* again.bucket("leases")
      yield* leases.create("a", encodeNodeLease({ ...body({ pid: 2 }), v: 1, node: "a", inc: "inc-2" }))
      yield* cluster.bus.reconnect("a")
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(superseded)).toMatchObject({
        _tag: "Superseded",
        kind: "node",
        id: "a",
        by: { node: "a", incarnation: "inc-2" }
      })
      expect(yield* isFresh(lease)).toBe(false)
      yield* Scope.close(scope, Exit.void)
      expect((yield* stored(again, "a"))?.lease.inc).toBe("inc-2")
    }))

  test("is written again where something that cannot be read has replaced it: isolated meanwhile, and not superseded", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold("inc-a")
      const observer = yield* cluster.process("observer")
      const superseded = yield* Effect.forkScoped(lease.superseded)
      const states = yield* gather(lease.statusChanges)
      const resumed = yield* gather(lease.resumed)
      const epoch = yield* lease.epoch
      const leases = yield* observer.bucket("leases")
      for (const junk of [new Uint8Array([0xc1]), pack({ v: 1, node: "a", inc: "no id!" })]) {
        yield* leases.update("a", junk, (yield* leases.get("a"))?.revision ?? 0)
        yield* TestClock.adjust("4 seconds")
        expect(yield* Effect.flip(lease.assertFresh)).toMatchObject({ _tag: "NodeIsolated" })
        yield* TestClock.adjust("1 second")
        expect(yield* isFresh(lease)).toBe(true)
        expect((yield* stored(observer, "a"))?.lease.inc).toBe("inc-a")
      }
      expect(states).toEqual(["connected", "isolated", "connected", "isolated", "connected"])
      expect(resumed.length).toBe(2)
      expect((yield* lease.epoch).revision).toBeGreaterThan(epoch.revision)
      expect(superseded.pollUnsafe()).toBeUndefined()
      expect(yield* observer.leases.isDead("inc-a")).toBe(false)
      expect((yield* observer.leases.node("a"))?.inc).toBe("inc-a")
    }))

  test("is not fought over for ever with somebody who writes there again and again, and comes back after him", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold("inc-a")
      const superseded = yield* Effect.forkScoped(lease.superseded)
      const junk = new Uint8Array([0xc1])
      const leases = yield* (yield* cluster.process("junk")).bucket("leases")
      let replaced = 0
      for (let round = 0; round < 20; round++) {
        const found = yield* leases.get("a")
        if (found !== undefined && found.value.length > 1) replaced += 1
        yield* leases.update("a", junk, found?.revision ?? 0)
        yield* TestClock.adjust("5 seconds")
      }
      // The one that it held at the start, and five.
      expect(replaced).toBe(6)
      expect(yield* lease.status).toBe("isolated")
      expect(superseded.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("20 seconds")
      expect(yield* isFresh(lease)).toBe(true)
      expect((yield* stored(a))?.lease.inc).toBe("inc-a")
    }))

  test("leaves what cannot be read alone when it ends", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const scope = yield* Scope.make()
      yield* a.hold("inc-a").pipe(Scope.provide(scope))
      const leases = yield* a.bucket("leases")
      const revision = yield* leases.update(
        "a",
        new Uint8Array([0xc1]),
        (yield* leases.get("a"))?.revision ?? 0
      )
      yield* Scope.close(scope, Exit.void)
      expect((yield* leases.get("a"))?.revision).toBe(revision)
    }))

  test("notices a registry that lost its store within a renewal, and has an epoch of the new one", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      yield* TestClock.adjust("1 minute")
      const epoch = yield* lease.epoch
      const resumed = yield* gather(lease.resumed)
      yield* cluster.bus.disconnect("a")
      yield* cluster.registry.loseStore
      yield* cluster.bus.reconnect("a")
      yield* TestClock.adjust("4 seconds")
      expect(resumed).toEqual([yield* lease.epoch])
      expect((yield* lease.epoch).registry).not.toBe(epoch.registry)
      expect((yield* lease.epoch).registry).toBe(yield* a.directory.registryId)
    }))

  test("is isolated by a registry that hangs, and resumes when it goes on", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const lease = yield* a.hold()
      yield* cluster.registry.hang
      yield* TestClock.adjust("20 seconds")
      expect(yield* lease.status).toBe("isolated")
      yield* cluster.registry.resume
      yield* TestClock.adjust("2 seconds")
      expect(yield* lease.status).toBe("connected")
      expect((yield* stored(a))?.lease.inc).toBe(lease.incarnation)
    }))
})

describe("a node id", () => {
  test("that a living process holds is refused with NodeIdHeld", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      yield* a.hold("inc-1")
      const second = yield* Effect.forkScoped(Effect.flip(a.hold("inc-2")))
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(second)).toMatchObject({
        _tag: "NodeIdHeld",
        nodeId: "a",
        incarnation: "inc-1",
        host: "host-a",
        pid: 4711
      })
    }))

  test("of a killed process is waited for until its lease ends", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      const leases = yield* a.bucket("leases")
      yield* leases.create("a", encodeNodeLease({ ...body(), v: 1, node: "a", inc: "killed" }))
      const second = yield* Effect.forkScoped(a.hold("inc-2"))
      yield* TestClock.adjust("14 seconds")
      expect((yield* stored(a))?.lease.inc).toBe("killed")
      yield* TestClock.adjust("2 seconds")
      expect((yield* Fiber.join(second)).incarnation).toBe("inc-2")
      expect((yield* stored(a))?.lease.inc).toBe("inc-2")
    }))

  test("under which lies what cannot be read is taken once that has expired", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      yield* (yield* a.bucket("leases")).create("a", new Uint8Array([0xc1]))
      const taking = yield* Effect.forkScoped(a.hold("inc-a"))
      yield* TestClock.adjust("14 seconds")
      expect(taking.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("2 seconds")
      expect((yield* Fiber.join(taking)).incarnation).toBe("inc-a")
    }))

  test("whose creation lost its reply is not mistaken for somebody else's", () =>
    Effect.gen(function* () {
      const cluster = yield* makeCluster
      const a = yield* cluster.process("a")
      yield* cluster.registry.loseNextReply("a")
      expect(yield* Effect.flip(a.hold("inc-1"))).toMatchObject({ _tag: "RegistryUnavailable" })
      expect((yield* stored(a))?.lease.inc).toBe("inc-1")
      expect((yield* a.hold("inc-1")).incarnation).toBe("inc-1")
    }))
})

describe("the record of a lease", () => {
  const golden =
    "8ca17601a46e6f6465a26e31a3696e63a26931a570726f746f920101a776657273696f6ea27631a46c696665a753657276696e67" +
    "a961646d697373696f6ea46f70656ea4686f7374a6686f73742d61a3706964cd1267a9737461727465644174cf0000019e70448800" +
    "a5726f6f6d7302aa7265636f7264696e677301"

  it("is these bytes", () => {
    const lease = { v: 1, node: "n1", inc: "i1", ...body({ rooms: 2, recordings: 1 }) }
    expect(Buffer.from(encodeNodeLease(lease)).toString("hex")).toBe(golden)
    expect(Option.getOrThrow(decodeNodeLease(Buffer.from(golden, "hex")))).toEqual(lease)
  })

  it("of a later version can be read: unknown literals as Unknown, unknown fields kept, missing ones at their defaults", () => {
    const later = pack({
      v: 1,
      node: "n1",
      inc: "i1",
      life: "Hibernating",
      admission: "invited",
      zone: "b",
      pid: 7
    })
    expect(Option.getOrThrow(decodeNodeLease(later))).toEqual({
      v: 1,
      node: "n1",
      inc: "i1",
      life: "Unknown",
      admission: "Unknown",
      zone: "b",
      pid: 7,
      proto: [0, 0],
      version: "",
      host: "",
      startedAt: 0,
      rooms: 0,
      recordings: 0
    })
  })

  it("is not made of anything else", () => {
    for (const bytes of [
      new Uint8Array(),
      new Uint8Array([0xc1]),
      pack("text"),
      pack({ v: 1, node: "n.1", inc: "i1" })
    ]) {
      expect(Option.isNone(decodeNodeLease(bytes))).toBe(true)
    }
  })
})
