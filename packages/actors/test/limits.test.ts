/** What anybody may ask of an actor has a limit, and who meets it is told which. */
import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  Concurrency,
  define,
  Idempotent,
  MailboxFull,
  MalformedMessage,
  message,
  protocol,
  subjects
} from "../src/index.ts"
import { decodeReply, encodeFollowUp, encodeRequest } from "../src/Envelope.ts"
import { askTimeoutMs } from "../src/internal/timeouts.ts"
import { TestBus } from "../src/testing/index.ts"
import { system } from "./runtime.fixture.ts"

const Shop = protocol(
  message("Order", { payload: { order: Schema.String }, success: Schema.Int })
    .annotate(Idempotent, { key: ({ order }: { readonly order: string }) => order })
    .annotate(Concurrency, Number.POSITIVE_INFINITY),
  message("Wait", {}),
  message("Follow", { success: Schema.Int, stream: true })
)

const capacity = 4

const open = Effect.fnUntraced(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const gate = yield* Deferred.make<void>()
  let orders = 0
  let following = 0
  const shop = define("shop", Shop, () =>
    Effect.succeed({
      Order: () =>
        Effect.andThen(
          Deferred.await(gate),
          Effect.sync(() => ++orders)
        ),
      Wait: () => Deferred.await(gate),
      Follow: () =>
        Stream.never.pipe(
          Stream.onStart(Effect.sync(() => following++)),
          Stream.ensuring(Effect.sync(() => following--))
        )
    })
  )
  const { ref, started } = yield* here.spawn(shop, "s", undefined, { capacity })
  yield* started
  const wire = yield* bus.connect("by hand")
  const byHand = (frame: Uint8Array) =>
    Effect.flatMap(wire.request(subjects("test").actor(ref.address), frame, { timeoutMs: 5000 }), (reply) =>
      decodeReply(reply)
    )
  return { byHand, far: away.ref(Shop, ref.address), following: () => following, gate, here, ref, shop }
})

const forked = <A, E, R>(ask: Effect.Effect<A, E, R>) => Effect.forkChild(ask, { startImmediately: true })

for (const where of ["here", "far away"] as const) {
  const opened = Effect.map(open(), (all) => ({ ...all, to: where === "here" ? all.ref : all.far }))

  it.effect(`from ${where}: of a message in work as many repeats wait as its mailbox holds, no more`, () =>
    Effect.gen(function* () {
      const { gate, here, to } = yield* opened
      const order = Effect.exit(to.ask("Order", { order: "a" }))
      const asked = yield* Effect.forEach(Array.from({ length: 1 + capacity + 2 }), () => forked(order))
      for (let turn = 0; turn < 10; turn++) yield* TestClock.adjust(1)
      yield* Deferred.succeed(gate, undefined)
      for (let turn = 0; turn < 10; turn++) yield* TestClock.adjust(1)
      const full = Exit.fail(new MailboxFull({ kind: "shop", id: "s", capacity }))
      expect(yield* Fiber.joinAll(asked)).toEqual([
        ...Array.from({ length: 1 + capacity }, () => Exit.succeed(1)),
        full,
        full
      ])
      expect(here.deadLetters.counts).toEqual({ full: 2 })
      // Those that waited have gone: others may.
      expect(yield* to.ask("Order", { order: "a" })).toBe(1)
    })
  )

  it.effect(`from ${where}: a key of more than 1024 characters is malformed`, () =>
    Effect.gen(function* () {
      const { gate, here, to } = yield* opened
      yield* Deferred.succeed(gate, undefined)
      expect(yield* to.ask("Order", { order: "x".repeat(1024) })).toBe(1)
      expect(yield* Effect.flip(to.ask("Order", { order: "x".repeat(1025) }))).toEqual(
        new MalformedMessage({ problem: "the key of Order has 1025 characters, more than 1024" })
      )
      expect(here.deadLetters.counts).toEqual({ malformed: 1 })
    })
  )

  it.effect(`from ${where}: a time-out of NaN is malformed, and one that is too long is the longest`, () =>
    Effect.gen(function* () {
      const { gate, to } = yield* opened
      const problem = (tag: string) => new MalformedMessage({ problem: `${tag}: timeoutMs is NaN` })
      const notOne = { timeoutMs: Number.NaN }
      expect(yield* Effect.flip(to.ask("Wait", undefined, notOne))).toEqual(problem("Wait"))
      expect(yield* Effect.flip(Stream.runDrain(to.stream("Follow", undefined, notOne)))).toEqual(
        problem("Follow")
      )
      const none = yield* forked(Effect.flip(to.ask("Wait", undefined, { timeoutMs: -1 })))
      yield* TestClock.adjust(1)
      expect(none.pollUnsafe()).toMatchObject({ value: { _tag: "AskTimeout" } })
      // 24.8 days, which no test waits for.
      const longest = Exit.succeed(2 ** 31 - 1)
      for (const timeoutMs of [2 ** 31, 1e300, Number.POSITIVE_INFINITY]) {
        expect(askTimeoutMs("Wait", { timeoutMs })).toEqual(longest)
        const asked = yield* forked(to.ask("Wait", undefined, { timeoutMs }))
        yield* TestClock.adjust("1 minute")
        expect(asked.pollUnsafe()).toBeUndefined()
        yield* Fiber.interrupt(asked)
      }
      yield* Deferred.succeed(gate, undefined)
    })
  )
}

it.effect("a process gives others 1024 streams at once; one more is refused until one of them ends", () =>
  Effect.gen(function* () {
    const { byHand, following, here } = yield* open()
    const follow = (id: number) =>
      byHand(
        encodeRequest({ tag: "Follow", payload: undefined, remainingMs: 5000, from: "inc", id, credit: 0 })
      )
    for (let id = 0; id < 1024; id++) expect(yield* follow(id)).toEqual({ _tag: "Batch", items: [] })
    expect(yield* follow(1024)).toEqual({
      _tag: "Refused",
      error: new MailboxFull({ kind: "shop", id: "s", capacity: 1024 })
    })
    expect(here.deadLetters.counts).toEqual({ full: 1 })
    expect(following()).toBe(0)
    yield* Effect.forkChild(byHand(encodeFollowUp({ from: "inc", id: 7 })))
    yield* TestClock.adjust(1)
    expect(yield* follow(1024)).toEqual({ _tag: "Batch", items: [] })
  })
)

it.effect("who asks for more of a stream that is not there is told so, and it is counted", () =>
  Effect.gen(function* () {
    const { byHand, here } = yield* open()
    expect(yield* byHand(encodeFollowUp({ from: "inc", id: 7, credit: 8, remainingMs: 500 }))).toMatchObject({
      _tag: "Refused",
      error: { _tag: "ActorCrashed", reason: "the stream is no longer there" }
    })
    expect(here.deadLetters.counts).toEqual({ noStream: 1 })
  })
)

it.effect("nobody is spawned by what is no id: nobody far away could name it", () =>
  Effect.gen(function* () {
    const { here, shop } = yield* open()
    for (const id of ["", "a b", "a.b", "ä", "x".repeat(65)]) {
      expect(yield* Effect.flip(here.spawn(shop, id, undefined))).toMatchObject({
        _tag: "MalformedMessage",
        retry: "never",
        problem: expect.stringContaining(`${JSON.stringify(id.slice(0, 64))} is no id`)
      })
    }
    const odd = define("odd kind", Shop, shop.behaviour)
    expect(yield* Effect.flip(here.spawn(odd, "s", undefined))).toMatchObject({ _tag: "MalformedMessage" })
  })
)
