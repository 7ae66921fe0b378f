import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { ActorCrashed, define, message, protocol, type SpawnOptions } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

const Fragile = protocol(
  message("Add", { success: Schema.Int }),
  message("Die", {}),
  message("Hang", {}),
  message("SpawnChild", { payload: { id: Schema.String } })
)

interface World {
  readonly log: Array<string>
  /** Called at each start: what it gives decides how the start goes. */
  readonly onStart?: (run: number) => Effect.Effect<void>
  readonly child?: SpawnOptions
}

const fragile = define("fragile", Fragile, (self, world: World) =>
  Effect.gen(function* () {
    const name = self.address.id
    const run = world.log.filter((line) => line === `start ${name}`).length + 1
    world.log.push(`start ${name}`)
    yield* Effect.addFinalizer(() => Effect.sync(() => world.log.push(`release ${name}`)))
    if (world.onStart !== undefined) yield* world.onStart(run)
    let total = 0
    return {
      Add: () => Effect.sync(() => ++total),
      Die: () => Effect.die(new Error("no reason")),
      Hang: () => Effect.uninterruptible(Effect.never),
      SpawnChild: ({ id }) =>
        Effect.asVoid(Effect.orDie(self.spawn(leaf, id, { log: world.log }, world.child)))
    }
  })
)

const leaf = define("leaf", Fragile, (self, world: World) =>
  Effect.gen(function* () {
    const name = self.address.id
    yield* Effect.addFinalizer(() => Effect.sync(() => world.log.push(`release ${name}`)))
    return {
      Add: () => Effect.succeed(1),
      Die: () => Effect.die(new Error("a leaf's reason")),
      Hang: () => Effect.never,
      SpawnChild: () => Effect.void
    }
  })
)

const spawned = Effect.fnUntraced(function* (options: SpawnOptions, world: Omit<World, "log"> = {}) {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const log: Array<string> = []
  const { ref, started } = yield* here.spawn(fragile, "f", { log, ...world }, options)
  return { here, log, ref, started, far: away.ref(Fragile, ref.address) }
})

const restart = { restart: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 })) }
const crashed = (reason: string) => new ActorCrashed({ kind: "fragile", id: "f", reason })

it.effect("by default a crash ends the actor, and its watchers are told of which life and why", () =>
  Effect.gen(function* () {
    const { far, here, log, ref } = yield* spawned({})
    expect(yield* Effect.flip(ref.ask("Die", undefined))).toEqual(crashed("Error: no reason"))
    const { address, by, detail } = yield* ref.terminated
    expect({ address, by, detail }).toEqual({
      address: { kind: "fragile", id: "f", incarnation: here.incarnation },
      by: "crash",
      detail: "Error: no reason"
    })
    expect(yield* far.terminated).toMatchObject({ address: ref.address, by: "lost" })
    expect(log).toEqual(["start f", "release f"])
  }).pipe(quietly)
)

it.effect("restarted after a delay it has lost its state, and kept its references and what waited", () =>
  Effect.gen(function* () {
    const { far, log, ref } = yield* spawned({ onCrash: restart })
    expect(yield* ref.ask("Add", undefined)).toBe(1)
    yield* ref.ask("SpawnChild", { id: "child" })
    expect(yield* Effect.flip(ref.ask("Die", undefined))).toBeInstanceOf(ActorCrashed)
    const waited = yield* Effect.forkChild(far.ask("Add", undefined), { startImmediately: true })
    yield* TestClock.adjust(999)
    expect(waited.pollUnsafe()).toBeUndefined()
    expect(log).toEqual(["start f", "release child", "release f"])
    yield* TestClock.adjust(1)
    expect(yield* Fiber.join(waited)).toBe(1)
    expect(yield* ref.ask("Add", undefined)).toBe(2)
  }).pipe(quietly)
)

it.effect("a start that fails at a restart counts as a crash; when the schedule is over it ends", () =>
  Effect.gen(function* () {
    const onStart = (run: number) => (run === 1 ? Effect.void : Effect.die(new Error("still broken")))
    const { log, ref } = yield* spawned({ onCrash: restart }, { onStart })
    yield* Effect.flip(ref.ask("Die", undefined))
    yield* TestClock.adjust(1000)
    yield* TestClock.adjust(2000)
    expect(yield* ref.terminated).toMatchObject({
      by: "crash",
      detail: "could not start: Error: still broken"
    })
    expect(log.filter((line) => line === "start f").length).toBe(3)
  }).pipe(quietly)
)

it.effect(
  "one that waits to be restarted ends at once when it is stopped, drained or its system closes",
  () =>
    Effect.gen(function* () {
      const first = yield* spawned({ onCrash: restart })
      yield* Effect.flip(first.ref.ask("Die", undefined))
      yield* first.here
        .system(first.here.incarnation)
        .ask("Stop", { kind: "fragile", id: "f", detail: "enough", kill: false })
      expect(yield* first.ref.terminated).toMatchObject({ by: "parent", detail: "enough" })

      const second = yield* spawned({ onCrash: restart })
      yield* Effect.flip(second.ref.ask("Die", undefined))
      const cause = { by: "test", reason: "test" }
      const request = { ...cause, reversible: true, evacuate: false, deadlines: {} }
      expect(yield* second.here.drain("fragile", "f", request)).toEqual({ _tag: "Drained" })
      expect(second.log).toEqual(["start f", "release f"])
    }).pipe(quietly)
)

it.effect(
  "one that crashes while it drains ends: what it served is gone, and nobody waits for a restart",
  () =>
    Effect.gen(function* () {
      const { here, log, ref } = yield* spawned({ onCrash: restart })
      yield* ref.ask("SpawnChild", { id: "child" })
      const request = { by: "test", reason: "test", reversible: true, evacuate: false, deadlines: {} }
      const drained = yield* Effect.forkChild(here.drain("fragile", "f", request), { startImmediately: true })
      yield* Effect.flip(ref.ask("Die", undefined))
      expect(yield* Fiber.join(drained)).toEqual({ _tag: "Ended", by: "crash" })
      expect(log).toEqual(["start f", "release child", "release f"])
    }).pipe(quietly)
)

it.effect("a crash escalates to the parent, and with it to what the parent's own rule says", () =>
  Effect.gen(function* () {
    const { here, log, ref } = yield* spawned({ onCrash: restart }, { child: { onCrash: "escalate" } })
    yield* ref.ask("SpawnChild", { id: "one" })
    yield* ref.ask("SpawnChild", { id: "two" })
    const child = here.local(Fragile, "leaf", "one")
    yield* Effect.flip(child?.ask("Die", undefined) ?? Effect.void)
    yield* TestClock.adjust(1000)
    expect(log).toEqual(["start f", "release one", "release two", "release f", "start f"])
    expect(yield* ref.ask("Add", undefined)).toBe(1)
  }).pipe(quietly)
)

it.effect(
  "each finalizer has its own time limit: one that hangs holds up the others no longer than that",
  () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const hung = yield* Deferred.make<void>()
      const definition = define("hanging", protocol(message("Ping", {})), () =>
        Effect.gen(function* () {
          const release = (name: string, effect: Effect.Effect<unknown> = Effect.void) =>
            Effect.addFinalizer(() =>
              Effect.andThen(
                effect,
                Effect.sync(() => log.push(name))
              )
            )
          yield* release("first")
          yield* release("hangs", Effect.andThen(Deferred.succeed(hung, undefined), Effect.never))
          yield* release("slow", Effect.sleep(900))
          yield* release("last")
          return { Ping: () => Effect.void }
        })
      )
      const here = yield* system(yield* TestBus.make(), "here")
      const { ref, started } = yield* here.spawn(definition, "h", undefined, { finalizerMs: 1000 })
      yield* started
      yield* here
        .system(here.incarnation)
        .ask("Stop", { kind: "hanging", id: "h", detail: "enough", kill: false })
      yield* TestClock.adjust(900)
      yield* Deferred.await(hung)
      yield* TestClock.adjust(999)
      expect(log).toEqual(["last", "slow"])
      yield* TestClock.adjust(1)
      expect(yield* ref.terminated).toMatchObject({ by: "parent" })
      expect(log).toEqual(["last", "slow", "first"])
    }).pipe(quietly)
)

it.effect(
  "a handler that cannot be interrupted holds up the end for its grace and its limit, no longer",
  () =>
    Effect.gen(function* () {
      const { here, log, ref } = yield* spawned({ stopGraceMs: 1000, finalizerMs: 2000 })
      yield* ref.tell("Hang", undefined)
      yield* here
        .system(here.incarnation)
        .ask("Stop", { kind: "fragile", id: "f", detail: "enough", kill: false })
      yield* TestClock.adjust(2999)
      expect(log).toEqual(["start f"])
      yield* TestClock.adjust(1)
      expect(yield* ref.terminated).toMatchObject({ by: "parent" })
      expect(log).toEqual(["start f", "release f"])
    }).pipe(quietly)
)
