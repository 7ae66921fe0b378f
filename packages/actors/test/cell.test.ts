import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { ActorCrashed, AskTimeout, MailboxFull, NoSuchActor } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { counter, Probe, system, TooMuch } from "./runtime.fixture.ts"

const one = Effect.fnUntraced(function* (options?: { readonly capacity?: number }) {
  const bus = yield* TestBus.make()
  const runtime = yield* system(bus, "a")
  const probe = new Probe()
  const { ref, started } = yield* runtime.spawn(counter, "c", probe, options)
  yield* started
  return { runtime, probe, ref }
})

it.effect("an actor keeps state from message to message and answers with its contract's types", () =>
  Effect.gen(function* () {
    const { ref } = yield* one()
    expect(yield* ref.ask("Add", { by: 2 })).toBe(2)
    yield* ref.tell("Add", { by: 3 })
    expect(yield* ref.ask("Total", undefined)).toBe(5)
    expect(yield* Effect.flip(ref.ask("Add", { by: 101 }))).toEqual(new TooMuch({ limit: 100 }))
  })
)

it.effect("user messages are handled one at a time, unless a handler lets the next go ahead", () =>
  Effect.gen(function* () {
    const { probe, ref } = yield* one()
    const beside = yield* Effect.forkChild(ref.ask("WaitBeside", { gate: "beside" }))
    yield* probe.reached("beside")
    expect(yield* ref.ask("Add", { by: 1 })).toBe(1)
    const blocking = yield* Effect.forkChild(ref.ask("Wait", { gate: "block" }))
    yield* probe.reached("block")
    const behind = yield* Effect.forkChild(ref.ask("Add", { by: 1 }))
    yield* Effect.yieldNow
    expect(behind.pollUnsafe()).toBeUndefined()
    yield* probe.open("block")
    expect(yield* Fiber.join(behind)).toBe(2)
    yield* probe.open("beside")
    yield* Fiber.join(blocking)
    yield* Fiber.join(beside)
  })
)

it.effect("a full mailbox refuses, and neither blocks the sender nor drops in silence", () =>
  Effect.gen(function* () {
    const { probe, ref, runtime } = yield* one({ capacity: 2 })
    const waiting = yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }))
    yield* probe.reached("g")
    yield* ref.tell("Add", { by: 1 })
    yield* ref.tell("Add", { by: 1 })
    const full = new MailboxFull({ kind: "counter", id: "c", capacity: 2 })
    expect(yield* Effect.flip(ref.tell("Add", { by: 1 }))).toEqual(full)
    expect(yield* Effect.flip(ref.ask("Total", undefined))).toEqual(full)
    expect(runtime.deadLetters.counts).toEqual({ full: 2 })
    yield* probe.open("g")
    yield* Fiber.join(waiting)
    expect(yield* ref.ask("Total", undefined)).toBe(2)
  })
)

it.effect("an ask ends at its deadline, and a message that expired while it waited is not handled", () =>
  Effect.gen(function* () {
    const { probe, ref, runtime } = yield* one()
    yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }, { timeoutMs: 60_000 }))
    yield* probe.reached("g")
    const late = yield* Effect.forkChild(Effect.flip(ref.ask("Add", { by: 1 }, { timeoutMs: 1000 })))
    yield* TestClock.adjust(1000)
    expect(yield* Fiber.join(late)).toEqual(new AskTimeout({ tag: "Add", timeoutMs: 1000 }))
    yield* probe.open("g")
    expect(yield* ref.ask("Total", undefined)).toBe(0)
    expect(runtime.deadLetters.counts).toEqual({ cancelled: 1 })
  })
)

it.effect(
  "an actor that dies ends; who waited is told what is known, and what was queued was not executed",
  () =>
    Effect.gen(function* () {
      const { probe, ref } = yield* one()
      yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }))
      yield* probe.reached("g")
      const dying = yield* Effect.forkChild(Effect.flip(ref.ask("Die", undefined)))
      const queued = yield* Effect.forkChild(Effect.flip(ref.ask("Add", { by: 1 })))
      yield* Effect.yieldNow
      yield* probe.open("g")
      expect(yield* Fiber.join(dying)).toBeInstanceOf(ActorCrashed)
      expect(yield* Fiber.join(queued)).toEqual(new NoSuchActor({ kind: "counter", id: "c" }))
      expect(yield* ref.terminated).toMatchObject({ by: "crash" })
      expect(yield* Effect.flip(ref.ask("Total", undefined))).toEqual(
        new NoSuchActor({ kind: "counter", id: "c" })
      )
      expect(probe.log).toEqual(["start c", "release c"])
    })
)

it.effect("an actor that cannot start says why, and is gone", () =>
  Effect.gen(function* () {
    const { runtime } = yield* one()
    const stillborn = yield* runtime.spawn(counter, "stillborn", new Probe())
    expect(yield* Effect.flip(stillborn.started)).toEqual(new TooMuch({ limit: 0 }))
    expect(yield* stillborn.ref.terminated).toMatchObject({ by: "itself" })
  })
)

it.effect("children end before their parent, the latest first, and scopes close behind them", () =>
  Effect.gen(function* () {
    const { probe, ref } = yield* one()
    yield* ref.ask("Spawn", { id: "x" })
    yield* ref.ask("Spawn", { id: "y" })
    yield* ref.ask("End", { detail: "enough" })
    expect(yield* ref.terminated).toMatchObject({ by: "itself", detail: "enough" })
    expect(probe.log).toEqual(["start c", "start x", "start y", "release y", "release x", "release c"])
  })
)

it.effect("a stop lets the running handler finish within its grace, then interrupts it", () =>
  Effect.gen(function* () {
    const { probe, ref, runtime } = yield* one()
    const waiting = yield* Effect.forkChild(
      Effect.flip(ref.ask("Wait", { gate: "never" }, { timeoutMs: 60_000 }))
    )
    yield* probe.reached("never")
    // What waits for a gate goes on within the handler that reached it: the grace begins when that one waits in its turn.
    yield* Effect.yieldNow
    yield* runtime
      .system(runtime.incarnation)
      .ask("Stop", { kind: "counter", id: "c", detail: "told to", kill: false })
    yield* TestClock.adjust(4999)
    expect(waiting.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust(1)
    expect(yield* Fiber.join(waiting)).toEqual(
      new ActorCrashed({ kind: "counter", id: "c", reason: "told to" })
    )
    expect(yield* ref.terminated).toMatchObject({ by: "parent" })
  })
)

it.effect("closing the system's scope ends every actor", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const { probe, ref } = yield* one().pipe(Scope.provide(scope))
    yield* ref.ask("Spawn", { id: "x" })
    yield* Scope.close(scope, Exit.void)
    expect(probe.log).toEqual(["start c", "start x", "release x", "release c"])
  })
)

it.effect("nobody hears of an end before what a start had acquired is released", () =>
  Effect.gen(function* () {
    const { probe, runtime } = yield* one()
    const slow = yield* runtime.spawn(counter, "slow", probe)
    yield* probe.reached("slow start")
    yield* runtime
      .system(runtime.incarnation)
      .ask("Stop", { kind: "counter", id: "slow", detail: "t", kill: false })
    expect(yield* slow.ref.terminated).toMatchObject({ by: "parent" })
    expect(probe.log).toEqual(["start c", "acquired slow", "released slow"])
  })
)

it.effect("askers that come and give up behind a handler that hangs leave nothing behind", () =>
  Effect.gen(function* () {
    const { probe, ref } = yield* one({ capacity: 4 })
    const waiting = yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }, { timeoutMs: 600_000 }))
    yield* probe.reached("g")
    for (let n = 0; n < 200; n++) {
      const asked = yield* Effect.forkChild(Effect.exit(ref.ask("Add", { by: 1 })), {
        startImmediately: true
      })
      yield* Fiber.interrupt(asked)
    }
    yield* probe.open("g")
    yield* Fiber.join(waiting)
    expect(yield* ref.ask("Total", undefined)).toBe(0)
  })
)
