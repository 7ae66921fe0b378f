import { expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { ActorCrashed, AskTimeout, define, message, protocol } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.Int }) {}

class AtLength extends Schema.TaggedError<AtLength>()("AtLength", { words: Schema.String }) {}

const Feed = protocol(
  message("Count", { payload: { to: Schema.Int }, success: Schema.Int, error: Broken, stream: true }),
  message("Follow", { success: Schema.String, stream: true }),
  message("Large", { payload: { bytes: Schema.Int }, success: Schema.Uint8Array, stream: true }),
  message("FailAtLength", {
    payload: { bytes: Schema.Int },
    success: Schema.Int,
    error: AtLength,
    stream: true
  }),
  message("Ping", { success: Schema.String })
)

const open = Effect.fnUntraced(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const log: Array<string> = []
  const queue = yield* Queue.unbounded<string, Cause.Done>()
  const released = yield* Deferred.make<void>()
  const feed = define("feed", Feed, (self) =>
    Effect.succeed({
      Count: ({ to }: { readonly to: number }) =>
        Stream.range(1, to).pipe(
          Stream.rechunk(1),
          Stream.tap((n) => Effect.sync(() => log.push(`made ${n}`))),
          Stream.concat(to === 3 ? Stream.fail(new Broken({ at: to })) : Stream.empty)
        ),
      Follow: () =>
        Stream.fromQueue(queue).pipe(
          Stream.ensuring(
            Effect.andThen(
              Effect.sync(() => log.push("released")),
              Deferred.succeed(released, undefined)
            )
          )
        ),
      Large: ({ bytes }: { readonly bytes: number }) =>
        Stream.fromIterable([1, 2, 3].map((fill) => new Uint8Array(bytes).fill(fill))),
      FailAtLength: ({ bytes }: { readonly bytes: number }) =>
        Stream.concat(Stream.make(1, 2), Stream.fail(new AtLength({ words: "x".repeat(bytes) }))),
      Ping: () => Effect.as(self.stop("pinged"), "pong")
    })
  )
  const { ref, started } = yield* here.spawn(feed, "f", undefined)
  yield* started
  return { bus, far: away.ref(Feed, ref.address), here, log, queue, ref, released: Deferred.await(released) }
})

/** What a stream gave, and how it ended. */
const collected = <A, E>(stream: Stream.Stream<A, E>) => {
  const items: Array<A> = []
  return Stream.runForEach(stream, (item) => Effect.sync(() => items.push(item))).pipe(
    Effect.exit,
    Effect.map((exit) => ({ items, error: Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined }))
  )
}

for (const where of ["here", "far away"] as const) {
  const opened = Effect.map(open(), (all) => ({ ...all, to: where === "here" ? all.ref : all.far }))

  it.effect(`${where}: all items arrive in order, then the end, or the contract's own error`, () =>
    Effect.gen(function* () {
      const { to } = yield* opened
      const all = yield* collected(to.stream("Count", { to: 1000 }))
      expect(all).toEqual({ items: Array.from({ length: 1000 }, (_, n) => n + 1), error: undefined })
      expect(yield* collected(to.stream("Count", { to: 3 }))).toEqual({
        items: [1, 2, 3],
        error: new Broken({ at: 3 })
      })
      expect(yield* collected(to.stream("Count", { to: 0 }))).toEqual({ items: [], error: undefined })
    })
  )

  it.effect(`${where}: what is made is what is asked for, not more than two frames ahead of it`, () =>
    Effect.gen(function* () {
      const { log, to } = yield* opened
      const gate = yield* Deferred.make<void>()
      const reading = yield* Effect.forkChild(
        Stream.runForEach(to.stream("Count", { to: 10_000 }), () => Deferred.await(gate)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      expect(log.length).toBeGreaterThan(0)
      expect(log.length).toBeLessThanOrEqual(513)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(reading)
      expect(log.length).toBe(10_000)
    })
  )

  it.effect(`${where}: items that come late and one by one arrive as they come`, () =>
    Effect.gen(function* () {
      const { queue, to } = yield* opened
      const items: Array<string> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEach(to.stream("Follow", undefined), (item) => Effect.sync(() => items.push(item))),
        { startImmediately: true }
      )
      for (const item of ["a", "b"]) {
        for (let seconds = 0; seconds < 35; seconds++) yield* TestClock.adjust("1 second")
        yield* Queue.offer(queue, item)
        yield* TestClock.adjust(1)
        expect(items.at(-1)).toBe(item)
      }
      yield* Queue.end(queue)
      yield* TestClock.adjust(1)
      yield* Fiber.join(reading)
    })
  )

  it.effect(`${where}: a reader that stops ends the stream at its actor, and the actor lives on`, () =>
    Effect.gen(function* () {
      const { log, queue, released, to } = yield* opened
      const reading = yield* Effect.forkChild(Stream.runDrain(to.stream("Follow", undefined)), {
        startImmediately: true
      })
      yield* Queue.offer(queue, "a")
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(reading)
      yield* TestClock.adjust(1)
      yield* released
      expect(log).toEqual(["released"])
      expect(yield* to.ask("Ping", undefined)).toBe("pong")
    })
  )

  it.effect(`${where}: an actor that ends ends its streams, and says why`, () =>
    Effect.gen(function* () {
      const { log, queue, ref, to } = yield* opened
      const reading = yield* Effect.forkChild(collected(to.stream("Follow", undefined)), {
        startImmediately: true
      })
      yield* Queue.offer(queue, "a")
      yield* TestClock.adjust(1)
      yield* ref.ask("Ping", undefined)
      yield* ref.terminated
      expect(log).toEqual(["released"])
      yield* TestClock.adjust(1)
      const { error, items } = yield* Fiber.join(reading)
      expect(items).toEqual(["a"])
      expect(error).toEqual(new ActorCrashed({ kind: "feed", id: "f", reason: "pinged" }))
    }).pipe(quietly)
  )
}

it.effect("items are packed into frames by what fits; one that fits into none is refused", () =>
  Effect.gen(function* () {
    const { far } = yield* open()
    const { items } = yield* collected(far.stream("Large", { bytes: 600_000 }))
    expect(items.map((item) => item[0])).toEqual([1, 2, 3])
    const { error } = yield* collected(far.stream("Large", { bytes: 1_100_000 }))
    expect(error).toMatchObject({ _tag: "MalformedMessage" })
  })
)

it.effect(
  "a stream that fails with more than a frame holds ends all the same, with what it gave before",
  () =>
    Effect.gen(function* () {
      const { far } = yield* open()
      const { error, items } = yield* collected(far.stream("FailAtLength", { bytes: 1_100_000 }))
      expect(items).toEqual([1, 2])
      expect(error).toMatchObject({ _tag: "MalformedMessage" })
    })
)

it.effect("a stream whose answers are lost fails at the asker, and is ended at the actor as abandoned", () =>
  Effect.gen(function* () {
    const { bus, far, here, log, queue, released } = yield* open()
    const reading = yield* Effect.forkChild(collected(far.stream("Follow", undefined)), {
      startImmediately: true
    })
    yield* Queue.offer(queue, "a")
    yield* TestClock.adjust(1)
    yield* bus.disconnect("away")
    yield* TestClock.adjust("16 seconds")
    expect((yield* Fiber.join(reading)).error).toEqual(new AskTimeout({ tag: "Follow", timeoutMs: 15_000 }))
    expect(log).toEqual([])
    yield* TestClock.adjust("60 seconds")
    yield* released
    expect(here.deadLetters.counts).toEqual({ abandoned: 1 })
  })
)

it.effect("a consumer that is busy for minutes keeps its stream", () =>
  Effect.gen(function* () {
    const { far, here, queue } = yield* open()
    const items: Array<string> = []
    const reading = yield* Effect.forkChild(
      Stream.runForEach(far.stream("Follow", undefined), (item) =>
        Effect.delay(
          Effect.sync(() => items.push(item)),
          "5 minutes"
        )
      ),
      { startImmediately: true }
    )
    yield* Queue.offerAll(queue, ["a", "b"])
    yield* TestClock.adjust("5 minutes")
    yield* Queue.offer(queue, "c")
    yield* Queue.end(queue)
    yield* TestClock.adjust("15 minutes")
    yield* Fiber.join(reading)
    expect(items).toEqual(["a", "b", "c"])
    expect(here.deadLetters.counts).toEqual({})
  })
)
