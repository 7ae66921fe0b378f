import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { encodeNodeLease } from "../src/NodeLease.ts"
import { body, makeCluster, type Process } from "./cluster.ts"
import { quietly } from "./quietly.ts"

const test = (sentence: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(sentence, () => Effect.scoped(run()).pipe(quietly))

const names = (process: Process) => Effect.map(process.leases.current, (all) => all.map(({ node }) => node))
const isDead = (process: Process, incarnation: string) => process.run(process.leases.isDead(incarnation))

/** Two nodes with leases, and an observer that has watched them for a minute. */
const watched = Effect.gen(function* () {
  const cluster = yield* makeCluster
  const observer = yield* cluster.process("observer")
  const [a, b] = [yield* cluster.process("a"), yield* cluster.process("b")]
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const lease = yield* a.hold("inc-a").pipe(Scope.provide(scope))
  yield* b.hold("inc-b")
  yield* TestClock.adjust("1 minute")
  return { ...cluster, observer, lease, end: Scope.close(scope, Exit.void) }
})

describe("the view of all leases", () => {
  test("shows each node, what it publishes, and its end", () =>
    Effect.gen(function* () {
      const { observer, lease, end } = yield* watched
      expect(yield* names(observer)).toEqual(["a", "b"])
      yield* lease.publish(body({ life: "Draining", rooms: 3 }))
      yield* TestClock.adjust(100)
      expect(yield* observer.leases.node("a")).toMatchObject({ inc: "inc-a", life: "Draining", rooms: 3 })
      expect(yield* observer.leases.incarnation("inc-b")).toMatchObject({ node: "b" })
      yield* end
      yield* TestClock.adjust(100)
      expect(yield* names(observer)).toEqual(["b"])
      expect(yield* isDead(observer, "inc-a")).toBe(true)
      expect(yield* observer.leases.deathOf("inc-a")).toBe("ended")
    }))

  test("tells of what is new, not of every renewal", () =>
    Effect.gen(function* () {
      const { observer, lease } = yield* watched
      const seen: Array<ReadonlyArray<string>> = []
      yield* Effect.forkScoped(
        Stream.runForEach(observer.leases.changes, (all) =>
          Effect.sync(() => void seen.push(all.map(({ life }) => life)))
        )
      )
      yield* TestClock.adjust("1 minute")
      yield* lease.publish(body({ life: "Sealing" }))
      yield* TestClock.adjust("1 minute")
      expect(seen).toEqual([
        ["Serving", "Serving"],
        ["Sealing", "Serving"]
      ])
    }))

  test("is there as soon as it is made", () =>
    Effect.gen(function* () {
      const { process } = yield* watched
      expect(yield* names(yield* process("late"))).toEqual(["a", "b"])
    }))
})

describe("a death", () => {
  test("is a lease that an attentive observer missed for its TTL and a margin", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      yield* bus.disconnect("a")
      yield* TestClock.adjust(13_000)
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* TestClock.adjust(6_000)
      expect(yield* isDead(observer, "inc-a")).toBe(true)
      expect(yield* observer.leases.deathOf("inc-a")).toBe("missing")
      expect(yield* names(observer)).toEqual(["b"])
      expect(yield* isDead(observer, "inc-b")).toBe(false)
    }))

  test("is taken back when the node is there again", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      yield* bus.disconnect("a")
      yield* TestClock.adjust("30 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(true)
      yield* bus.reconnect("a")
      yield* TestClock.adjust("2 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      expect(yield* names(observer)).toEqual(["a", "b"])
    }))

  test("is not seen by someone who was away", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      for (const name of ["observer", "a", "b"]) yield* bus.disconnect(name)
      yield* TestClock.adjust("2 minutes")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      expect(yield* names(observer)).toEqual(["a", "b"])
      // The observer is back first, and every lease is gone.
      yield* bus.reconnect("observer")
      yield* TestClock.adjust("10 seconds")
      expect(yield* (yield* observer.bucket("leases")).entries).toEqual([])
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      expect(yield* isDead(observer, "inc-b")).toBe(false)
      expect(yield* names(observer)).toEqual(["a", "b"])
      yield* bus.reconnect("b")
      yield* TestClock.adjust("12 seconds")
      expect(yield* isDead(observer, "inc-b")).toBe(false)
      expect(yield* isDead(observer, "inc-a")).toBe(true)
      expect(yield* names(observer)).toEqual(["b"])
    }))

  test("is not seen by someone who has only just come", () =>
    Effect.gen(function* () {
      const { process } = yield* watched
      const late = yield* process("late")
      yield* TestClock.adjust("17 seconds")
      expect(yield* isDead(late, "inc-of-long-ago")).toBe(false)
      yield* TestClock.adjust("2 seconds")
      expect(yield* isDead(late, "inc-of-long-ago")).toBe(true)
    }))

  test("is not seen when the registry hung, though the connection looked alive", () =>
    Effect.gen(function* () {
      const { observer, registry } = yield* watched
      yield* registry.hang
      yield* TestClock.adjust("20 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      // What hung is done; the leases have expired under it all the same, and are not yet there again.
      yield* registry.loseNextReply("a")
      yield* registry.resume
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* TestClock.adjust("30 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      expect(yield* names(observer)).toEqual(["a", "b"])
    }))

  test("is not seen by a process that was stopped", () =>
    Effect.gen(function* () {
      const { observer } = yield* watched
      const views: Array<ReadonlyArray<string>> = []
      yield* Effect.forkScoped(
        Stream.runForEach(observer.leases.changes, (all) =>
          Effect.sync(() => void views.push(all.map(({ node }) => node)))
        )
      )
      yield* observer.stopFor(3_600_000)
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* TestClock.adjust("1 minute")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      expect(views).toEqual([["a", "b"]])
    }))

  test("is not seen in the moment after a reconnect, before the watch knows that it broke", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      yield* bus.disconnect("a")
      yield* TestClock.adjust("30 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(true)
      yield* bus.disconnect("observer")
      yield* bus.reconnect("observer")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
    }))

  test("is not read out of a watch that lags behind the registry", () =>
    Effect.gen(function* () {
      const { observer, process, registry, end } = yield* watched
      yield* end
      yield* registry.lagWatches(true)
      const again = yield* process("a")
      yield* again.hold("inc-a2")
      yield* (yield* process("c")).hold("inc-c")
      expect(yield* observer.leases.incarnation("inc-a2")).toBeUndefined()
      expect(yield* isDead(observer, "inc-a2")).toBe(false)
      expect(yield* isDead(observer, "inc-c")).toBe(false)
      yield* registry.lagWatches(false)
      yield* TestClock.adjust(100)
      expect(yield* names(observer)).toEqual(["a", "b", "c"])
    }))

  test("is taken back, too, by who hears of it late: the watch lags, and the registry is asked", () =>
    Effect.gen(function* () {
      const { bus, observer, registry } = yield* watched
      yield* bus.disconnect("a")
      yield* TestClock.adjust("30 seconds")
      expect(yield* observer.leases.deathOf("inc-a")).toBe("missing")
      yield* registry.lagWatches(true)
      yield* bus.reconnect("a")
      yield* TestClock.adjust("2 seconds")
      expect(yield* observer.leases.deathOf("inc-a")).toBeUndefined()
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* registry.lagWatches(false)
    }))

  test("is not read out of an answer that waited while its reader was stopped", () =>
    Effect.gen(function* () {
      const { bus, observer, registry } = yield* watched
      yield* bus.disconnect("a")
      yield* TestClock.adjust("30 seconds")
      for (const stoppedMs of [4_000, 30_000]) {
        yield* registry.slowDown("observer", [400, 400])
        const verdict = yield* Effect.forkScoped(observer.run(observer.leases.deathOf("inc-a")))
        yield* TestClock.adjust(500)
        // The registry has answered: it is not there.
        yield* observer.stop
        yield* bus.reconnect("a")
        yield* TestClock.adjust(stoppedMs)
        yield* observer.cont
        yield* registry.slowDown("observer", [0, 0])
        yield* TestClock.adjust(1)
        expect(yield* Fiber.join(verdict)).toBeUndefined()
        yield* bus.disconnect("a")
        yield* TestClock.adjust("40 seconds")
      }
      expect(yield* observer.leases.deathOf("inc-a")).toBe("missing")
    }))

  test("of an incarnation is certain when another one has its node id", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      const leases = yield* observer.bucket("leases")
      yield* bus.disconnect("a")
      yield* TestClock.adjust("16 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* leases.create("a", encodeNodeLease({ ...body(), v: 1, node: "a", inc: "inc-a2" }))
      yield* TestClock.adjust(100)
      expect(yield* observer.leases.deathOf("inc-a")).toBe("ended")
      expect(yield* isDead(observer, "inc-a2")).toBe(false)
    }))

  test("is certain of nobody while a lease cannot be read", () =>
    Effect.gen(function* () {
      const { observer, bus } = yield* watched
      const leases = yield* observer.bucket("leases")
      yield* bus.disconnect("a")
      yield* TestClock.adjust("10 seconds")
      yield* leases.create("c", new Uint8Array([0xc1]))
      yield* TestClock.adjust("10 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(false)
      yield* TestClock.adjust("10 seconds")
      expect(yield* isDead(observer, "inc-a")).toBe(true)
    }))
})
