/** What hung at an end was left behind; when it dies later, its log and its metrics say so all the same. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import { concurrently, define, message, protocol, type SpawnOptions } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { observed } from "./observed.ts"
import { system } from "./runtime.fixture.ts"

const Slow = protocol(message("Ping", {}), message("Die", {}), message("Work", {}))

const diesLate = Effect.andThen(Effect.sleep("5 seconds"), Effect.die(new Error("too late")))

const slow = define("slow", Slow, (_, hangs: "a finalizer" | "a handler") =>
  Effect.gen(function* () {
    if (hangs === "a finalizer") yield* Effect.addFinalizer(() => diesLate)
    return {
      Ping: () => Effect.void,
      Die: () => Effect.die(new Error("no reason")),
      Work: () => concurrently(Effect.uninterruptible(diesLate))
    }
  })
)

const opened = Effect.fnUntraced(function* (hangs: "a finalizer" | "a handler", options: SpawnOptions) {
  const seen = observed()
  const here = yield* seen.by(system(yield* TestBus.make(), "here"))
  const { ref, started } = yield* here.spawn(slow, "s", hangs, {
    finalizerMs: 1000,
    stopGraceMs: 1000,
    ...options
  })
  yield* started
  const stop = here
    .system(here.incarnation)
    .ask("Stop", { kind: "slow", id: "s", detail: "enough", kill: false })
  return { ref, seen, stop }
})

const seconds = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => TestClock.adjust("1 second"))

it.effect("a finalizer that was left behind and dies is told", () =>
  Effect.gen(function* () {
    const { ref, seen, stop } = yield* opened("a finalizer", {})
    yield* stop
    yield* seconds(1)
    expect(yield* ref.terminated).toMatchObject({ by: "parent" })
    expect(seen.lines).toEqual([expect.stringMatching(/^a finalizer did not end in 1000 ms; .* slow\/s@/)])
    yield* seconds(4)
    expect(seen.lines.slice(1)).toEqual([
      expect.stringMatching(/^BUG: a finalizer that was left behind died in slow\/s@/)
    ])
    expect(seen.of("ebb_bugs_total")).toEqual({ 'kind="slow"': 1 })
  })
)

it.effect(
  "a handler that was left behind by a run before and dies is told, and harms the next run in nothing",
  () =>
    Effect.gen(function* () {
      const { ref, seen } = yield* opened("a handler", { onCrash: { restart: Schedule.recurs(1) } })
      yield* ref.tell("Work", undefined)
      yield* Effect.flip(ref.ask("Die", undefined))
      // Its grace, its limit, and the next run.
      yield* seconds(3)
      expect(yield* ref.ask("Ping", undefined)).toBe(undefined)
      expect(seen.lines).toEqual([
        expect.stringMatching(/^BUG: the handler of Die died in slow\/s@/),
        expect.stringMatching(/^a handler did not end in 1000 ms; /)
      ])
      yield* seconds(2)
      expect(seen.lines.slice(2)).toEqual([
        expect.stringMatching(/^BUG: the handler of Work that was left behind died in slow\/s@/)
      ])
      expect(seen.of("ebb_bugs_total")).toEqual({ 'kind="slow"': 2 })
      expect(yield* ref.ask("Ping", undefined)).toBe(undefined)
    })
)
