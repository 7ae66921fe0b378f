import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  type ActorRef,
  Concurrency,
  define,
  Idempotent,
  Interruptible,
  message,
  type Messages,
  protocol,
  Traced
} from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { system } from "./runtime.fixture.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { by: Schema.Int }) {}

const Shop = protocol(
  message("Look", { payload: { id: Schema.Int }, success: Schema.Int }).annotate(Concurrency, 2),
  message("Order", { payload: { order: Schema.String }, success: Schema.Int, error: Refused }).annotate(
    Idempotent,
    { key: ({ order }: { readonly order: string }) => order, keepMs: 60_000, keep: 3 }
  ),
  message("Wait", {}),
  message("WaitInterruptibly", {}).annotate(Interruptible, true),
  message("OrderOrNot", { success: Schema.Int })
    .annotate(Idempotent, { key: () => "one" })
    .annotate(Interruptible, true),
  message("Spans", { success: Schema.Array(Schema.String) }),
  message("SpansUntraced", { success: Schema.Array(Schema.String) }).annotate(Traced, false)
)

const open = Effect.fnUntraced(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const gate = yield* Deferred.make<void>()
  const seen: Array<string> = []
  let running = 0
  let atOnce = 0
  const spans = Effect.map(Effect.exit(Effect.currentSpan), (span) =>
    span._tag === "Success"
      ? [
          span.value.name,
          span.value.traceId,
          span.value.parent._tag === "Some" ? span.value.parent.value.spanId : ""
        ]
      : []
  )
  const shop = define("shop", Shop, () =>
    Effect.succeed({
      Look: ({ id }: { readonly id: number }) =>
        Effect.gen(function* () {
          seen.push(`look ${id}`)
          atOnce = Math.max(atOnce, ++running)
          yield* Deferred.await(gate)
          running--
          return id
        }),
      Order: ({ order }: { readonly order: string }) =>
        Effect.gen(function* () {
          seen.push(`order ${order}`)
          yield* Effect.sleep(100)
          return order === "bad" ? yield* new Refused({ by: seen.length }) : seen.length
        }),
      Wait: () => Effect.onInterrupt(Deferred.await(gate), () => Effect.sync(() => seen.push("interrupted"))),
      WaitInterruptibly: () =>
        Effect.onInterrupt(Deferred.await(gate), () => Effect.sync(() => seen.push("interrupted"))),
      OrderOrNot: () =>
        Effect.gen(function* () {
          seen.push("order")
          yield* Effect.sleep(100)
          return seen.length
        }),
      Spans: () => spans,
      SpansUntraced: () => spans
    })
  )
  const { ref, started } = yield* here.spawn(shop, "s", undefined)
  yield* started
  const far: ActorRef<Messages<typeof Shop>> = away.ref(Shop, ref.address)
  return { far, gate, here, ref, seen, atOnce: () => atOnce }
})

it.effect("a message of concurrency 2 is handled twice at once, and what comes behind keeps its place", () =>
  Effect.gen(function* () {
    const { atOnce, far, gate, seen } = yield* open()
    const looks = yield* Effect.forEach([1, 2, 3], (id) =>
      Effect.forkChild(far.ask("Look", { id }), { startImmediately: true })
    )
    const behind = yield* Effect.forkChild(far.ask("Order", { order: "a" }), { startImmediately: true })
    for (let turn = 0; turn < 10; turn++) yield* TestClock.adjust(1)
    expect(seen).toEqual(["look 1", "look 2"])
    yield* Deferred.succeed(gate, undefined)
    yield* TestClock.adjust(100)
    expect(yield* Fiber.joinAll(looks)).toEqual([1, 2, 3])
    yield* Fiber.join(behind)
    expect(seen).toEqual(["look 1", "look 2", "look 3", "order a"])
    expect(atOnce()).toBe(2)
  })
)

for (const where of ["here", "far away"] as const) {
  it.effect(`an idempotent message asked again from ${where} gets the first answer, and is done once`, () =>
    Effect.gen(function* () {
      const { far, ref, seen } = yield* open()
      const to = where === "here" ? ref : far
      const both = yield* Effect.forkChild(
        Effect.all([to.ask("Order", { order: "a" }), to.ask("Order", { order: "a" })], { concurrency: 2 })
      )
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(both)).toEqual([1, 1])
      const bad = yield* Effect.forkChild(Effect.flip(to.ask("Order", { order: "bad" })))
      yield* TestClock.adjust(100)
      const refused = yield* Fiber.join(bad)
      expect(yield* Effect.flip(to.ask("Order", { order: "bad" }))).toEqual(refused)
      expect(yield* to.ask("Order", { order: "a" })).toBe(1)
      expect(seen).toEqual(["order a", "order bad"])
    })
  )
}

it.effect("answers are kept for their time, and as many as the contract says, the oldest going first", () =>
  Effect.gen(function* () {
    const { ref, seen } = yield* open()
    const order = (name: string) =>
      Effect.gen(function* () {
        const asked = yield* Effect.forkChild(ref.ask("Order", { order: name }), { startImmediately: true })
        yield* TestClock.adjust(100)
        return yield* Fiber.join(asked)
      })
    for (const name of ["a", "b", "c", "d"]) yield* order(name)
    yield* order("b")
    expect(seen.length).toBe(4)
    yield* order("a")
    expect(seen.length).toBe(5)
    yield* TestClock.adjust(60_000)
    yield* order("d")
    expect(seen.length).toBe(6)
  })
)

it.effect("an asker far away that gives up takes back what waits; what is handled goes on", () =>
  Effect.gen(function* () {
    const { far, gate, here, seen } = yield* open()
    const handled = yield* Effect.forkChild(far.ask("Wait", undefined), { startImmediately: true })
    const queued = yield* Effect.forkChild(far.ask("Order", { order: "a" }), { startImmediately: true })
    yield* TestClock.adjust(1)
    yield* Fiber.interrupt(queued)
    yield* Fiber.interrupt(handled)
    yield* TestClock.adjust(1)
    expect(here.deadLetters.counts).toEqual({ cancelled: 1 })
    yield* Deferred.succeed(gate, undefined)
    yield* TestClock.adjust(100)
    expect(seen).toEqual([])
  })
)

it.effect("a handler whose contract says so is interrupted with its asker, here and far away", () =>
  Effect.gen(function* () {
    const { far, ref, seen } = yield* open()
    for (const to of [ref, far]) {
      const asked = yield* Effect.forkChild(to.ask("WaitInterruptibly", undefined), {
        startImmediately: true
      })
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(asked)
      yield* TestClock.adjust(1)
    }
    expect(seen).toEqual(["interrupted", "interrupted"])
  })
)

it.effect("a time-out interrupts such a handler, too, here and far away", () =>
  Effect.gen(function* () {
    const { far, ref, seen } = yield* open()
    for (const to of [ref, far]) {
      const asked = yield* Effect.forkChild(
        Effect.flip(to.ask("WaitInterruptibly", undefined, { timeoutMs: 100 })),
        { startImmediately: true }
      )
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(asked)).toMatchObject({ _tag: "AskTimeout" })
      yield* TestClock.adjust(1)
    }
    expect(seen).toEqual(["interrupted", "interrupted"])
  })
)

it.effect("a message that was interrupted has no answer to be kept: asked again it is done", () =>
  Effect.gen(function* () {
    const { ref, seen } = yield* open()
    const first = yield* Effect.forkChild(ref.ask("OrderOrNot", undefined), { startImmediately: true })
    yield* TestClock.adjust(1)
    yield* Fiber.interrupt(first)
    const second = yield* Effect.forkChild(ref.ask("OrderOrNot", undefined), { startImmediately: true })
    yield* TestClock.adjust(100)
    expect(yield* Fiber.join(second)).toBe(2)
    expect(seen).toEqual(["order", "order"])
  })
)

it.effect(
  "the span of an asker is the parent of its message's, here and far away; without one there is none",
  () =>
    Effect.gen(function* () {
      const { far, ref } = yield* open()
      for (const to of [ref, far]) {
        expect(yield* to.ask("Spans", undefined)).toEqual([])
        const [asker, spans, untraced] = yield* Effect.gen(function* () {
          return [
            yield* Effect.currentSpan,
            yield* to.ask("Spans", undefined),
            yield* to.ask("SpansUntraced", undefined)
          ] as const
        }).pipe(Effect.withSpan("asker"))
        expect(spans).toEqual(["shop.Spans", asker.traceId, asker.spanId])
        expect(untraced).toEqual([])
      }
    })
)

it.effect("dead letters are told as they fall, with their reason and whom they were for", () =>
  Effect.gen(function* () {
    const { far, gate, here } = yield* open()
    const letters = yield* Effect.forkChild(Stream.runCollect(Stream.take(here.deadLetters.stream, 1)), {
      startImmediately: true
    })
    yield* TestClock.adjust(1)
    const stopped = yield* Effect.forkChild(far.ask("Wait", undefined), { startImmediately: true })
    const queued = yield* Effect.forkChild(far.ask("Order", { order: "a" }), { startImmediately: true })
    yield* TestClock.adjust(1)
    yield* Fiber.interrupt(queued)
    yield* TestClock.adjust(1)
    expect(yield* Fiber.join(letters)).toEqual([{ reason: "cancelled", kind: "shop", id: "s", tag: "Order" }])
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(stopped)
  })
)
