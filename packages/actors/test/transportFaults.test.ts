/** The faults of the bus in memory: what tests that use it rely on. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type { Fault } from "../src/testing/TestBus.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)

/** Two processes; what `there` hears on `s` and on `t`, in order. */
const twoProcesses = (seed = 1) =>
  Effect.gen(function* () {
    const bus = yield* TestBus.make({ seed })
    const [here, there] = [yield* bus.connect("here"), yield* bus.connect("there")]
    const heard: Array<string> = []
    yield* there.subscribe("s", (frame) => {
      heard.push(text(frame.data))
      frame.respond?.(bytes(`re ${text(frame.data)}`))
    })
    return { bus, here, there, heard }
  })

const ask = { timeoutMs: 1_000 }

describe("the bus in memory", () => {
  it.effect("drops what it is told to, until the fault's scope closes", () =>
    Effect.gen(function* () {
      const { bus, here, heard } = yield* twoProcesses()
      const scope = yield* Scope.make()
      yield* bus.fault({ from: "here", to: "there", drop: 1 }).pipe(Scope.provide(scope))
      yield* here.publish("s", bytes("lost"))
      yield* Scope.close(scope, Exit.void)
      yield* here.publish("s", bytes("kept"))
      yield* TestClock.adjust(1)
      expect(heard).toEqual(["kept"])
    })
  )

  it.effect("loses answers without losing what was asked: the outcome is unknown, and it was done", () =>
    Effect.gen(function* () {
      const { bus, here, heard } = yield* twoProcesses()
      yield* bus.fault({ kind: "answer", subject: /^s$/, drop: 1 })
      const asking = yield* Effect.forkScoped(Effect.flip(here.request("s", bytes("x"), ask)))
      yield* TestClock.adjust(1_000)
      expect((yield* Fiber.join(asking)).reason).toBe("Timeout")
      expect(heard).toEqual(["x"])
    })
  )

  it.effect("keeps the order of a sender's frames, whatever their delays", () =>
    Effect.gen(function* () {
      const { bus, here, heard } = yield* twoProcesses()
      yield* bus.fault({ delayMs: [0, 100] })
      const sent = Array.from({ length: 20 }, (_, n) => String(n))
      for (const n of sent) yield* here.publish("s", bytes(n))
      expect(heard).toEqual([])
      yield* TestClock.adjust(100)
      expect(heard).toEqual(sent)
    })
  )

  it.effect("delivers twice when told to, and takes one answer", () =>
    Effect.gen(function* () {
      const { bus, here, heard } = yield* twoProcesses()
      yield* bus.fault({ kind: "request", duplicate: 1 })
      expect(text(yield* here.request("s", bytes("x"), ask))).toBe("re x")
      yield* TestClock.adjust(1)
      expect(heard).toEqual(["x", "x"])
    })
  )

  it.effect("marks frames as having waited for a pause to end, until the fault's scope closes", () =>
    Effect.gen(function* () {
      const { bus, here, there } = yield* twoProcesses()
      const stale: Array<boolean> = []
      yield* there.subscribe("t", (frame) => {
        stale.push(frame.stale)
        frame.respond?.(frame.data)
      })
      const scope = yield* Scope.make()
      yield* bus.fault({ to: "there", stale: true }).pipe(Scope.provide(scope))
      yield* here.publish("t", bytes("x"))
      yield* here.request("t", bytes("x"), ask)
      yield* Scope.close(scope, Exit.void)
      yield* here.request("t", bytes("x"), ask)
      expect(stale).toEqual([true, true, false])
    })
  )

  it.effect("answers for nobody when told to", () =>
    Effect.gen(function* () {
      const { bus, here, heard } = yield* twoProcesses()
      yield* bus.fault({ subject: /^s$/, noListener: true })
      expect((yield* Effect.flip(here.request("s", bytes("x"), ask))).reason).toBe("NoListener")
      expect(heard).toEqual([])
    })
  )

  it.effect("cuts off one process and not the others; what was on its way to it is lost", () =>
    Effect.gen(function* () {
      const { bus, here, there, heard } = yield* twoProcesses()
      yield* bus.fault({ delayMs: [10, 10] })
      yield* here.publish("s", bytes("on its way"))
      yield* bus.disconnect("there")
      yield* TestClock.adjust(20)
      expect((yield* Effect.flip(here.request("s", bytes(""), ask))).reason).toBe("NoListener")
      expect((yield* Effect.flip(there.publish("s", bytes("")))).reason).toBe("Disconnected")
      yield* bus.reconnect("there")
      yield* here.publish("s", bytes("again"))
      yield* TestClock.adjust(20)
      expect(heard).toEqual(["again"])
    })
  )

  it.effect("holds what reaches a paused process, and hands it over in order, before what answers it", () =>
    Effect.gen(function* () {
      const { bus, here, there } = yield* twoProcesses()
      const heard: Array<string> = []
      const run = Effect.runForkWith(yield* Effect.context())
      yield* there.subscribe("t", (frame) => {
        heard.push(text(frame.data))
        if (heard.length === 1) run(here.publish("t", bytes("because of the first")))
      })
      yield* bus.pause("there")
      for (const word of ["first", "second"]) yield* here.publish("t", bytes(word))
      const asking = yield* Effect.forkScoped(here.request("s", bytes("x"), ask))
      yield* TestClock.adjust(900)
      expect(heard).toEqual([])
      yield* bus.resume("there")
      yield* TestClock.adjust(1)
      expect(heard).toEqual(["first", "second", "because of the first"])
      expect(text(yield* Fiber.join(asking))).toBe("re x")
    })
  )

  it.effect(
    "tells a paused process of its connection when it goes on; until then what it sends is lost",
    () =>
      Effect.gen(function* () {
        const { bus, there } = yield* twoProcesses()
        const before = yield* there.connectedSince
        yield* bus.pause("there")
        yield* bus.disconnect("there")
        yield* bus.reconnect("there")
        yield* TestClock.adjust(1)
        expect([bus.isConnected("there"), bus.isOnline("there")]).toEqual([true, false])
        expect(yield* there.connectedSince).toBe(before)
        const asking = yield* Effect.forkScoped(Effect.flip(there.request("nobody", bytes(""), ask)), {
          startImmediately: true
        })
        yield* bus.resume("there")
        expect([bus.isConnected("there"), bus.isOnline("there")]).toEqual([true, true])
        expect(yield* there.connectedSince).toBeGreaterThan(before ?? Number.POSITIVE_INFINITY)
        yield* TestClock.adjust(1_000)
        expect((yield* Fiber.join(asking)).reason).toBe("Timeout")
      })
  )

  it.effect("marks what waited for over a second as stale", () =>
    Effect.gen(function* () {
      const { bus, here, there } = yield* twoProcesses()
      const stale: Array<boolean> = []
      yield* there.subscribe("t", (frame) => void stale.push(frame.stale))
      for (const pauseMs of [1_000, 1_001]) {
        yield* bus.pause("there")
        yield* here.publish("t", bytes("x"))
        yield* TestClock.adjust(pauseMs)
        yield* bus.resume("there")
      }
      yield* here.publish("t", bytes("x"))
      yield* TestClock.adjust(1)
      expect(stale).toEqual([false, true, false])
    })
  )

  it.effect("has the same faults from the same seed, and others from another", () =>
    Effect.gen(function* () {
      const run = (seed: number) =>
        Effect.gen(function* () {
          const { bus, here, heard } = yield* twoProcesses(seed)
          const fault: Fault = { drop: 0.3, duplicate: 0.3, delayMs: [0, 50] }
          yield* bus.fault(fault)
          for (let n = 0; n < 50; n++) yield* here.publish("s", bytes(String(n)))
          yield* TestClock.adjust(100)
          return heard.join()
        }).pipe(Effect.scoped)
      expect(yield* run(7)).toBe(yield* run(7))
      expect(yield* run(7)).not.toBe(yield* run(8))
    }).pipe(quietly)
  )
})
