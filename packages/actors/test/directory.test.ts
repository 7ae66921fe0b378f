import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { pack } from "../src/Envelope.ts"
import { makeCluster } from "./cluster.ts"
import { quietly } from "./quietly.ts"

const test = (sentence: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(sentence, () => Effect.scoped(run()).pipe(quietly))

const room = { kind: "room", id: "r1" }

/** Two nodes that have held their leases for a minute, each with its directory. */
const twoNodes = Effect.gen(function* () {
  const cluster = yield* makeCluster
  const [one, two] = [yield* cluster.process("a"), yield* cluster.process("b")]
  const a = { ...one, lease: yield* one.hold("inc-a") }
  const b = { ...two, lease: yield* two.hold("inc-b") }
  yield* TestClock.adjust("1 minute")
  return { ...cluster, a, b }
})

describe("a claim", () => {
  test("registers a name for its owner, with an epoch, for all to look up", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      expect(epoch.registry).toBe(yield* b.directory.registryId)
      const located = yield* b.directory.lookup(room)
      expect(located).toEqual({ entry: { v: 1, ...room, node: "a", inc: "inc-a", at: 60_000 }, epoch })
      expect(yield* b.directory.lookup({ kind: "room", id: "r2" })).toBeUndefined()
      yield* b.directory.claim({ kind: "recording", id: "r1" }, b.lease)
      expect(yield* b.directory.list("room")).toEqual([located])
    }))

  test("of one name by two nodes at once succeeds for one, and tells the other who has it", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoNodes
      const outcomes = yield* Effect.all(
        [a.directory.claim(room, a.lease), b.directory.claim(room, b.lease)].map(Effect.exit),
        { concurrency: "unbounded" }
      )
      expect(outcomes.filter(Exit.isSuccess).length).toBe(1)
      const located = yield* a.directory.lookup(room)
      const loser = located?.entry.node === "a" ? b : a
      expect(yield* Effect.flip(loser.directory.claim(room, loser.lease))).toMatchObject({
        _tag: "AlreadyOwned",
        ...room,
        owner: { node: located?.entry.node, incarnation: located?.entry.inc },
        epoch: located?.epoch
      })
    }))

  test("that is repeated gives the epoch it has", () =>
    Effect.gen(function* () {
      const { a } = yield* twoNodes
      expect(yield* a.directory.claim(room, a.lease)).toEqual(yield* a.directory.claim(room, a.lease))
    }))

  test("whose reply was lost is taken up by the next one, fenced against what may still be on its way", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      yield* registry.loseNextReply("a")
      expect(yield* Effect.flip(a.directory.claim(room, a.lease))).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      const lost = yield* b.directory.lookup(room)
      expect(lost?.entry.inc).toBe("inc-a")
      const epoch = yield* a.directory.claim(room, a.lease)
      expect(epoch.revision).toBeGreaterThan(lost?.epoch.revision ?? Number.POSITIVE_INFINITY)
      // And is not removed later.
      yield* TestClock.adjust("10 seconds")
      expect((yield* b.directory.lookup(room))?.epoch).toEqual(epoch)
    }))

  test("whose outcome stayed unknown and that nobody repeats leaves no entry behind", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      yield* registry.hang
      const claiming = yield* Effect.forkScoped(Effect.flip(a.directory.claim(room, a.lease)))
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(claiming)).toMatchObject({ _tag: "RegistryUnavailable" })
      yield* registry.resume
      expect((yield* b.directory.lookup(room))?.entry.inc).toBe("inc-a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* b.directory.lookup(room)).toBeUndefined()
      expect((yield* b.directory.claim(room, b.lease)).revision).toBeGreaterThan(0)
    }))

  test("that is carried out late, after it was looked for, leaves no entry behind", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      yield* registry.delayNextWrite("a", 1_500)
      expect(yield* Effect.flip(a.directory.claim(room, a.lease))).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      yield* TestClock.adjust(1_600)
      expect((yield* b.directory.lookup(room))?.entry.inc).toBe("inc-a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* b.directory.lookup(room)).toBeUndefined()
    }))

  test("that was interrupted leaves no entry behind", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      yield* registry.hang
      const claiming = yield* Effect.forkScoped(a.directory.claim(room, a.lease), { startImmediately: true })
      yield* Fiber.interrupt(claiming)
      yield* registry.resume
      expect((yield* b.directory.lookup(room))?.entry.inc).toBe("inc-a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* b.directory.lookup(room)).toBeUndefined()
    }))

  test("replaces the entry of a dead owner, under a larger epoch", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      const before = yield* a.directory.claim(room, a.lease)
      yield* bus.disconnect("a")
      yield* TestClock.adjust("13 seconds")
      expect(yield* Effect.flip(b.directory.claim(room, b.lease))).toMatchObject({ _tag: "AlreadyOwned" })
      yield* TestClock.adjust("6 seconds")
      const after = yield* b.directory.claim(room, b.lease)
      expect(after.registry).toBe(before.registry)
      expect(after.revision).toBeGreaterThan(before.revision)
      expect((yield* b.directory.lookup(room))?.entry.node).toBe("b")
    }))

  test("replaces nobody's entry just after an outage, in which every lease ended", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      yield* a.directory.claim(room, a.lease)
      for (const name of ["a", "b"]) yield* bus.disconnect(name)
      yield* TestClock.adjust("5 minutes")
      yield* bus.reconnect("b")
      yield* TestClock.adjust("10 seconds")
      expect(yield* Effect.flip(b.directory.claim(room, b.lease))).toMatchObject({ _tag: "AlreadyOwned" })
    }))

  test("replaces nobody's entry when no lease could be renewed, though reads were answered all along", () =>
    Effect.gen(function* () {
      const { a, b, bus, registry } = yield* twoNodes
      yield* a.directory.claim(room, a.lease)
      yield* registry.refuseWrites(true)
      yield* TestClock.adjust("1 minute")
      yield* bus.disconnect("a")
      yield* registry.refuseWrites(false)
      // B holds its lease again, has watched all along, and misses A's.
      yield* TestClock.adjust("2 seconds")
      expect(yield* b.lease.status).toBe("connected")
      expect(yield* b.leases.deathOf("inc-a")).toBe("missing")
      expect(yield* Effect.flip(b.directory.claim(room, b.lease))).toMatchObject({ _tag: "AlreadyOwned" })
      yield* TestClock.adjust("18 seconds")
      expect((yield* b.directory.claim(room, b.lease)).revision).toBeGreaterThan(0)
    }))

  test("is refused by an isolated node, before anything is written", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoNodes
      yield* a.stopFor(12_000)
      expect(yield* Effect.flip(a.run(a.directory.claim(room, a.lease)))).toMatchObject({
        _tag: "NodeIsolated"
      })
      expect(yield* b.directory.lookup(room)).toBeUndefined()
    }))

  test("by a process that was stopped for 30 s is refused in the moment it goes on, and so is all it held", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoNodes
      yield* a.directory.claim(room, a.lease)
      yield* a.stop
      yield* TestClock.adjust("30 seconds")
      const taken = yield* b.directory.claim(room, b.lease)
      // It believes to be connected, and none of its timers has said how late it is.
      expect(yield* a.lease.status).toBe("connected")
      const other = { kind: "room", id: "r2" }
      for (const attempt of [
        a.lease.assertFresh,
        a.directory.claim(other, a.lease),
        a.directory.claim(room, a.lease),
        a.directory.verify(room, a.lease)
      ]) {
        expect(yield* Effect.flip(a.run(attempt))).toMatchObject({ _tag: "NodeIsolated", nodeId: "a" })
      }
      yield* a.cont
      yield* TestClock.adjust("2 seconds")
      expect(yield* a.lease.status).toBe("connected")
      expect(yield* a.directory.verify(room, a.lease)).toMatchObject({
        _tag: "Superseded",
        by: { node: "b" }
      })
      expect(yield* b.directory.lookup(other)).toBeUndefined()
      expect((yield* b.directory.lookup(room))?.epoch).toEqual(taken)
    }))

  test("does not touch an entry that cannot be read", () =>
    Effect.gen(function* () {
      const { a } = yield* twoNodes
      const bucket = yield* a.bucket("directory")
      yield* bucket.create("room.r1", pack({ v: 9 }))
      expect(yield* Effect.flip(a.directory.claim(room, a.lease))).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      yield* TestClock.adjust("10 seconds")
      expect(yield* bucket.get("room.r1")).toBeDefined()
    }))
})

describe("a release", () => {
  test("removes the entry, and the name can be claimed by another under a larger epoch", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* a.directory.release(room, epoch, a.lease)
      expect(yield* b.directory.lookup(room)).toBeUndefined()
      expect((yield* b.directory.claim(room, b.lease)).revision).toBeGreaterThan(epoch.revision)
    }))

  test("under an epoch that is over removes nothing", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* bus.disconnect("a")
      yield* TestClock.adjust("30 seconds")
      yield* b.directory.claim(room, b.lease)
      yield* bus.reconnect("a")
      yield* TestClock.adjust("10 seconds")
      yield* a.directory.release(room, epoch, a.lease)
      expect((yield* b.directory.lookup(room))?.entry.node).toBe("b")
    }))

  test("while the registry is away is done when it is back", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* bus.disconnect("a")
      yield* a.directory.release(room, epoch, a.lease)
      yield* TestClock.adjust("5 seconds")
      expect(yield* b.directory.lookup(room)).toBeDefined()
      yield* bus.reconnect("a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* b.directory.lookup(room)).toBeUndefined()
    }))

  test("that is still on its way does not remove what was claimed again", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      const first = yield* a.directory.claim(room, a.lease)
      yield* registry.loseNextReply("a")
      yield* a.directory.release(room, first, a.lease)
      const again = yield* a.directory.claim(room, a.lease)
      yield* a.directory.release(room, first, a.lease)
      yield* TestClock.adjust("10 seconds")
      expect((yield* b.directory.lookup(room))?.epoch).toEqual(again)
    }))
})

describe("an owner that was isolated", () => {
  test("finds its entry still its own, and has it under a larger epoch", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      yield* bus.disconnect("a")
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flip(a.directory.verify(room, a.lease))).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      yield* bus.reconnect("a")
      yield* TestClock.adjust("2 seconds")
      const verified = yield* a.directory.verify(room, a.lease)
      expect(verified).toMatchObject({ _tag: "Mine", epoch: { registry: epoch.registry } })
      expect(verified.epoch.revision).toBeGreaterThan(epoch.revision)
      // It is still the same claim.
      expect(yield* b.directory.lookup(room)).toMatchObject({ entry: { at: 60_000 }, epoch: verified.epoch })
    }))

  test("and whoever saw it dead and is about to take its entry: one of them has it, whenever it comes back", () =>
    Effect.gen(function* () {
      const outcomes = new Set<string>()
      const race = Effect.fnUntraced(function* (backAfterMs: number) {
        const { a, b, bus, registry } = yield* twoNodes
        yield* a.directory.claim(room, a.lease)
        yield* bus.disconnect("a")
        // Its lease is tried again every full second: half of one after the claim begins, and so on.
        yield* TestClock.adjust(30_500)
        yield* registry.slowDown("b", [400, 400])
        const claiming = yield* Effect.forkScoped(Effect.exit(b.directory.claim(room, b.lease)))
        yield* TestClock.adjust(backAfterMs)
        yield* bus.reconnect("a")
        const verifying = yield* a.lease.resumed.pipe(
          Stream.runHead,
          Effect.andThen(a.directory.verify(room, a.lease)),
          Effect.forkScoped
        )
        yield* TestClock.adjust("20 seconds")
        const [claimed, verified] = [yield* Fiber.join(claiming), yield* Fiber.join(verifying)]
        expect(Exit.isSuccess(claimed) === (verified._tag === "Superseded")).toBe(true)
        expect((yield* a.directory.lookup(room))?.entry.node).toBe(Exit.isSuccess(claimed) ? "b" : "a")
        outcomes.add(verified._tag)
        yield* registry.slowDown("b", [0, 0])
      }, Effect.scoped)
      for (let backAfterMs = 0; backAfterMs <= 4_000; backAfterMs += 500) yield* race(backAfterMs)
      expect([...outcomes].toSorted()).toEqual(["Mine", "Superseded"])
    }))

  test("is told who took it over", () =>
    Effect.gen(function* () {
      const { a, b, bus } = yield* twoNodes
      yield* a.directory.claim(room, a.lease)
      yield* bus.disconnect("a")
      yield* TestClock.adjust("1 minute")
      const epoch = yield* b.directory.claim(room, b.lease)
      yield* bus.reconnect("a")
      yield* TestClock.adjust("2 seconds")
      const verified = yield* a.directory.verify(room, a.lease)
      expect(verified).toMatchObject({ _tag: "Superseded", by: { node: "b", inc: "inc-b" }, epoch })
    }))

  test("registers again in a registry that lost its store, under an epoch of the new one", () =>
    Effect.gen(function* () {
      const { a, b, bus, registry } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      const lost: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(a.directory.registryLost, (id) => Effect.sync(() => void lost.push(id)))
      )
      yield* Effect.yieldNow
      for (const name of ["a", "b"]) yield* bus.disconnect(name)
      yield* registry.loseStore
      for (const name of ["a", "b"]) yield* bus.reconnect(name)
      yield* TestClock.adjust("5 seconds")
      const id = yield* a.directory.registryId
      expect(id).not.toBe(epoch.registry)
      expect(yield* b.directory.registryId).toBe(id)
      expect(lost).toEqual([id])
      const verified = yield* a.directory.verify(room, a.lease)
      expect(verified).toMatchObject({ _tag: "Retaken", epoch: { registry: id } })
      expect((yield* b.directory.lookup(room))?.entry.inc).toBe("inc-a")
    }))

  test("registers again in a registry that lost its store behind a connection that held", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      const epoch = yield* a.directory.claim(room, a.lease)
      const lost: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(b.directory.registryLost, (id) => Effect.sync(() => void lost.push(id)))
      )
      yield* Effect.yieldNow
      yield* registry.loseStore
      // Nobody has noticed. What is given now is of the new one, and is not taken for the old one's.
      const other = yield* b.directory.claim({ kind: "room", id: "r2" }, b.lease)
      expect(other.registry).not.toBe(epoch.registry)
      expect(yield* a.directory.verify(room, a.lease)).toMatchObject({
        _tag: "Retaken",
        epoch: { registry: other.registry }
      })
      yield* TestClock.adjust(1)
      expect(lost).toEqual([other.registry])
    }))

  test("and whoever only looks it up know within a renewal of a store lost behind a connection that held", () =>
    Effect.gen(function* () {
      const { a, b, registry } = yield* twoNodes
      yield* registry.loseStore
      const { registry: id } = yield* a.directory.claim(room, a.lease)
      yield* TestClock.adjust("4 seconds")
      expect((yield* b.directory.lookup(room))?.epoch.registry).toBe(id)
    }))

  test("never gives a revision of one registry the id of another", () =>
    Effect.gen(function* () {
      const { a, bus, registry } = yield* twoNodes
      yield* registry.hang
      const claiming = yield* Effect.forkScoped(Effect.flip(a.directory.claim(room, a.lease)), {
        startImmediately: true
      })
      yield* bus.disconnect("a")
      yield* registry.loseStore
      yield* bus.reconnect("a")
      yield* registry.resume
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(claiming)).toMatchObject({ _tag: "RegistryUnavailable" })
    }))
})
