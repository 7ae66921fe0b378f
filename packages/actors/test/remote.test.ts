import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import {
  AskTimeout,
  MailboxFull,
  message,
  NodeUnreachable,
  NoSuchActor,
  pack,
  protocol,
  StaleEpoch,
  subjects,
  UnsupportedMessage
} from "../src/index.ts"
import { decodeReply } from "../src/Envelope.ts"
import { TestBus } from "../src/testing/index.ts"
import { Counter, counter, Probe, system, TooMuch } from "./runtime.fixture.ts"

/** An actor in one process, and a reference to it in another. */
const two = Effect.fnUntraced(function* (options?: { readonly capacity?: number }) {
  const bus = yield* TestBus.make()
  const owner = yield* Scope.fork(yield* Effect.scope)
  const here = yield* Scope.provide(system(bus, "here"), owner)
  const away = yield* system(bus, "away")
  const probe = new Probe()
  const { ref: local, started } = yield* here.spawn(counter, "c", probe, options)
  yield* started
  return { away, bus, here, local, owner, probe, ref: away.ref(Counter, local.address) }
})

it.effect("an actor of another process answers with the same types, bytes as bytes", () =>
  Effect.gen(function* () {
    const { ref } = yield* two()
    expect(yield* ref.ask("Add", { by: 2 })).toBe(2)
    yield* ref.tell("Add", { by: 3 })
    expect(yield* ref.ask("Total", undefined)).toBe(5)
    expect(yield* Effect.flip(ref.ask("Add", { by: 101 }))).toEqual(new TooMuch({ limit: 100 }))
    expect(yield* ref.ask("Bytes", { bytes: Uint8Array.of(1, 2, 3) })).toEqual(Uint8Array.of(3, 2, 1))
  })
)

it.effect("what the other side refuses arrives as the error it is", () =>
  Effect.gen(function* () {
    const { away, local, probe, ref } = yield* two({ capacity: 1 })
    const nobody = away.ref(Counter, { ...local.address, id: "nobody" })
    expect(yield* Effect.flip(nobody.ask("Total", undefined))).toEqual(
      new NoSuchActor({ kind: "counter", id: "nobody" })
    )
    const newer = away.ref(protocol(message("Added-later", {})), local.address)
    expect(yield* Effect.flip(newer.ask("Added-later", undefined))).toEqual(
      new UnsupportedMessage({ tag: "Added-later" })
    )
    const other = away.ref(protocol(message("Add", { payload: {} })), local.address)
    expect(yield* Effect.flip(other.ask("Add", {}))).toMatchObject({ _tag: "MalformedMessage" })
    yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }))
    yield* probe.reached("g")
    yield* ref.tell("Add", { by: 1 })
    expect(yield* Effect.flip(ref.ask("Total", undefined))).toEqual(
      new MailboxFull({ kind: "counter", id: "c", capacity: 1 })
    )
    yield* probe.open("g")
  })
)

it.effect("nobody listening is unreachable, not dead; no answer is a timeout of unknown outcome", () =>
  Effect.gen(function* () {
    const { bus, ref } = yield* two()
    yield* bus.disconnect("here")
    expect(yield* Effect.flip(ref.ask("Total", undefined))).toBeInstanceOf(NodeUnreachable)
    yield* bus.reconnect("here")
    expect(yield* ref.ask("Total", undefined)).toBe(0)
    yield* bus.fault({ kind: "answer", drop: 1 })
    const asked = yield* Effect.forkChild(Effect.flip(ref.ask("Add", { by: 1 }, { timeoutMs: 700 })))
    yield* TestClock.adjust(700)
    expect(yield* Fiber.join(asked)).toEqual(new AskTimeout({ tag: "Add", timeoutMs: 700 }))
  })
)

it.effect("this process without a connection fails at once, and says so", () =>
  Effect.gen(function* () {
    const { bus, ref } = yield* two()
    yield* bus.disconnect("away")
    expect(yield* Effect.flip(ref.ask("Total", undefined))).toMatchObject({ _tag: "NodeUnreachable" })
    expect(yield* Effect.flip(ref.tell("Add", { by: 1 }))).toMatchObject({ _tag: "NodeUnreachable" })
  })
)

it.effect("the deadline travels as remaining time: what expired in a far mailbox is not handled", () =>
  Effect.gen(function* () {
    const { here, probe, ref } = yield* two()
    const blocker = yield* Effect.forkChild(ref.ask("Wait", { gate: "g" }, { timeoutMs: 60_000 }))
    yield* probe.reached("g")
    const late = yield* Effect.forkChild(Effect.flip(ref.ask("Add", { by: 1 }, { timeoutMs: 1000 })))
    yield* TestClock.adjust(1000)
    yield* Fiber.join(late)
    yield* probe.open("g")
    yield* Fiber.join(blocker)
    expect(yield* ref.ask("Total", undefined)).toBe(0)
    expect(here.deadLetters.counts).toEqual({ expired: 1 })
  })
)

it.effect(
  "a message for another epoch is refused, from here and from elsewhere; one without an epoch, or for this one, is not",
  () =>
    Effect.gen(function* () {
      const { away, here, local } = yield* two()
      const current = { registry: "r", revision: 5 }
      yield* local.ask("Hold", current)
      for (const from of [here, away]) {
        expect(yield* from.ref(Counter, local.address, current).ask("Total", undefined)).toBe(0)
        expect(yield* from.ref(Counter, local.address).ask("Total", undefined)).toBe(0)
        for (const stale of [
          { ...current, revision: 4 },
          { ...current, registry: "lost" }
        ]) {
          const ref = from.ref(Counter, local.address, stale)
          const refused = new StaleEpoch({ kind: "counter", id: "c", current })
          expect(yield* Effect.flip(ref.ask("Add", { by: 1 }))).toEqual(refused)
          if (from === here) expect(yield* Effect.flip(ref.tell("Add", { by: 1 }))).toEqual(refused)
        }
      }
      expect(here.deadLetters.counts).toEqual({ stale: 6 })
    })
)

it.effect(
  "a message for another epoch is refused, too, when the actor learned of its epoch while it waited",
  () =>
    Effect.gen(function* () {
      const { local, probe, ref: unfenced, away } = yield* two()
      const current = { registry: "r", revision: 5 }
      const busy = yield* Effect.forkChild(unfenced.ask("Wait", { gate: "g" }))
      yield* probe.reached("g")
      const holding = yield* Effect.forkChild(local.ask("Hold", current), { startImmediately: true })
      const stale = away.ref(Counter, local.address, { ...current, revision: 4 })
      const asked = yield* Effect.forkChild(Effect.flip(stale.ask("Add", { by: 1 })), {
        startImmediately: true
      })
      yield* probe.open("g")
      yield* Effect.andThen(Fiber.join(busy), Fiber.join(holding))
      expect(yield* Fiber.join(asked)).toEqual(new StaleEpoch({ kind: "counter", id: "c", current }))
      expect(yield* local.ask("Total", undefined)).toBe(0)
    })
)

it.effect(
  "what waited while its process was paused is refused as never having arrived, asks and tells alike",
  () =>
    Effect.gen(function* () {
      const { away, bus, here, local, ref } = yield* two()
      const there = away.system(here.incarnation)
      const target = { kind: "counter", id: "c" }
      const paused = yield* Scope.fork(yield* Effect.scope)
      yield* bus.fault({ to: "here", stale: true }).pipe(Scope.provide(paused))
      const refused = { _tag: "NodeUnreachable", retry: "safe", reason: expect.stringContaining("paused") }
      expect(yield* Effect.flip(ref.ask("Add", { by: 1 }))).toMatchObject(refused)
      expect(yield* Effect.flip(there.ask("Stop", { ...target, kill: false, detail: "" }))).toMatchObject(
        refused
      )
      yield* ref.tell("Add", { by: 1 })
      yield* TestClock.adjust(1)
      yield* Scope.close(paused, Exit.void)
      expect(yield* ref.ask("Total", undefined)).toBe(0)
      expect(yield* local.ask("Total", undefined)).toBe(0)
      expect(here.deadLetters.counts).toEqual({ paused: 3 })
    })
)

it.effect("a watcher that waited while the actor's process was paused learns who ended it, and why", () =>
  Effect.gen(function* () {
    const { bus, ref } = yield* two()
    const paused = yield* Scope.fork(yield* Effect.scope)
    yield* bus.fault({ to: "here", stale: true }).pipe(Scope.provide(paused))
    const watching = yield* Effect.forkChild(ref.terminated, { startImmediately: true })
    yield* TestClock.adjust(1)
    yield* Scope.close(paused, Exit.void)
    yield* ref.ask("End", { detail: "closed" })
    expect(yield* Fiber.join(watching)).toMatchObject({ by: "itself", detail: "closed" })
  })
)

it.effect("an answer that waited while the asker was paused is an answer", () =>
  Effect.gen(function* () {
    const { bus, ref } = yield* two()
    yield* bus.fault({ to: "away", stale: true })
    expect(yield* ref.ask("Add", { by: 2 })).toBe(2)
  })
)

it.effect("a far watcher learns who ended an actor and why, also when it ended before, or never was", () =>
  Effect.gen(function* () {
    const { away, local, ref } = yield* two()
    const watching = yield* Effect.forkChild(ref.terminated, { startImmediately: true })
    // Longer than one Watch is held open: it is asked again.
    yield* TestClock.adjust(40_000)
    expect(watching.pollUnsafe()).toBeUndefined()
    yield* ref.ask("End", { detail: "closed" })
    expect(yield* Fiber.join(watching)).toMatchObject({ by: "itself", detail: "closed" })
    expect(yield* ref.terminated).toMatchObject({ by: "lost" })
    expect(yield* away.ref(Counter, { ...local.address, id: "never" }).terminated).toMatchObject({
      by: "lost"
    })
  })
)

it.effect("a process that is gone is a death only when the leases say so", () =>
  Effect.gen(function* () {
    const { away, local, owner, ref } = yield* two()
    let dead = false
    away.setDeathOracle((incarnation) => Effect.succeed(dead && incarnation === local.address.incarnation))
    yield* Scope.close(owner, Exit.void)
    const watching = yield* Effect.forkChild(ref.terminated)
    yield* TestClock.adjust(10_000)
    expect(watching.pollUnsafe()).toBeUndefined()
    dead = true
    yield* TestClock.adjust(1000)
    expect(yield* Fiber.join(watching)).toMatchObject({ by: "lost", detail: "its process is dead" })
  })
)

it.effect("any frame on an actor's or the system subject is answered, or counted", () =>
  Effect.gen(function* () {
    const { bus, here, local, ref } = yield* two()
    const transport = yield* bus.connect("away")
    const names = subjects("test")
    const frames = [
      new Uint8Array(0),
      Uint8Array.of(0xc1),
      pack({}),
      pack({ m: 3 }),
      pack([1]),
      pack({ m: "Add", p: {}, d: "x" })
    ]
    for (const subject of [names.actor(local.address), names.system(here.incarnation)]) {
      for (const frame of frames) {
        const answer = decodeReply(yield* transport.request(subject, frame, { timeoutMs: 1000 }))
        expect(Exit.getSuccess(answer)).toMatchObject({
          value: { _tag: "Refused", error: { retry: "never" } }
        })
        yield* transport.publish(subject, frame)
      }
    }
    expect(here.deadLetters.counts.malformed).toBeGreaterThan(0)
    expect(yield* ref.ask("Total", undefined)).toBe(0)
  })
)

it.effect("what a contract's checks refuse is malformed, here as far away, and reaches nobody", () =>
  Effect.gen(function* () {
    const { local, ref } = yield* two()
    for (const to of [local, ref]) {
      const half = { by: 0.5 }
      expect(yield* Effect.flip(to.ask("Add", half))).toMatchObject({
        _tag: "MalformedMessage",
        retry: "never"
      })
      expect(yield* Effect.flip(to.tell("Add", half))).toMatchObject({ _tag: "MalformedMessage" })
    }
    expect(yield* ref.ask("Total", undefined)).toBe(0)
  })
)
