/** What a watcher in another process is told of: the end of the one life that it watched, whatever has its name by then. */
import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { ActorSystem, holdLease, Leases } from "../src/index.ts"
import { TestBus, TestRegistry } from "../src/testing/index.ts"
import { body } from "./cluster.ts"
import { quietly } from "./quietly.ts"
import { Counter, counter, Probe, system } from "./runtime.fixture.ts"

const two = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const spawned = Effect.gen(function* () {
    const { ref, started } = yield* here.spawn(counter, "c", new Probe())
    yield* started
    return ref
  })
  return { away, bus, spawned, local: yield* spawned }
})

it.effect(
  "a far watcher hears of the end of the life that it watched, when the name lives again before it asks anew",
  () =>
    Effect.gen(function* () {
      const { away, bus, local, spawned } = yield* two
      const watching = yield* Effect.forkChild(away.ref(Counter, local.address).terminated, {
        startImmediately: true
      })
      yield* TestClock.adjust(1_000)
      // What it would be told of the end is lost.
      const lost = yield* Effect.forkChild(
        Effect.andThen(bus.fault({ from: "here", drop: 1 }), Effect.never).pipe(Effect.scoped)
      )
      yield* Effect.yieldNow
      yield* local.ask("End", { detail: "closed" })
      yield* local.terminated
      const again = yield* spawned
      yield* TestClock.adjust(1_000)
      yield* Fiber.interrupt(lost)
      yield* TestClock.adjust(30_000)
      expect(watching.pollUnsafe()).toMatchObject({
        value: { address: local.address, by: "itself", detail: "closed" }
      })
      expect(yield* again.ask("Total", undefined)).toBe(0)
    }).pipe(quietly)
)

it.effect(
  "a far watcher who knows an actor by its epoch hears of that one's end, though another has the name since",
  () =>
    Effect.gen(function* () {
      const { away, local } = yield* two
      const epochOf = (revision: number) => ({ registry: "r", revision })
      yield* local.ask("Hold", epochOf(5))
      // Verified, it holds its name by a later one: it is the same life.
      yield* local.ask("Hold", epochOf(6))
      const watched = (revision: number) => away.ref(Counter, local.address, epochOf(revision)).terminated
      for (const revision of [5, 6]) {
        const watching = yield* Effect.forkChild(watched(revision), { startImmediately: true })
        yield* TestClock.adjust(20_000)
        expect(watching.pollUnsafe()).toBeUndefined()
      }
      expect(yield* watched(4)).toMatchObject({ by: "lost" })
    }).pipe(quietly)
)

it.effect(
  "a far watcher learns from the leases of its own process that another is dead, and is told nothing of them",
  () =>
    Effect.gen(function* () {
      const bus = yield* TestBus.make()
      const registry = yield* TestRegistry.make(bus)
      const process = Effect.fnUntraced(function* (nodeId: string) {
        const outside = Layer.merge(bus.layer(nodeId), registry.layer(nodeId))
        const services = yield* Layer.mergeAll(
          ActorSystem.layer({ cluster: "test", nodeId }),
          Leases.layer
        ).pipe(Layer.provideMerge(outside), Layer.build)
        return { services, system: Context.get(services, ActorSystem) }
      })
      const [here, away] = [yield* process("here"), yield* process("away")]
      const { incarnation } = here.system
      yield* Effect.provide(holdLease({ nodeId: "here", incarnation, initial: body() }), here.services)
      const { ref, started } = yield* here.system.spawn(counter, "c", new Probe())
      yield* started
      const far = away.system.ref(Counter, ref.address)
      const watching = yield* Effect.forkChild(far.terminated, { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      expect(watching.pollUnsafe()).toBeUndefined()
      yield* bus.disconnect("here")
      // Nobody listens there, which is no death.
      yield* TestClock.adjust("10 seconds")
      expect(watching.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(watching)).toMatchObject({ by: "lost", detail: "its process is dead" })
      yield* bus.reconnect("here")
    }).pipe(Effect.scoped, quietly)
)
