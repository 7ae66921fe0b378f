/** What is said of a request after it was sent (the next items, no more of it): its sender alone is heard. */
import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { define, Interruptible, message, protocol, subjects, unpack } from "../src/index.ts"
import { decodeReply, encodeFollowUp, encodeRequest } from "../src/Envelope.ts"
import { randomWord } from "../src/internal/randomWord.ts"
import { TestBus } from "../src/testing/index.ts"
import { system } from "./runtime.fixture.ts"

const Feed = protocol(
  message("Work", { success: Schema.String }).annotate(Interruptible, true),
  message("Later", { success: Schema.String }),
  message("Follow", { success: Schema.Int, stream: true })
)

/** More than an asker here has asked for. */
const numbers = Array.from({ length: 20 }, (_, id) => id)

const open = Effect.fnUntraced(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const log: Array<string> = []
  const items = yield* Queue.unbounded<number>()
  const gate = yield* Deferred.make<void>()
  const feed = define("feed", Feed, () =>
    Effect.succeed({
      Work: () =>
        Deferred.await(gate).pipe(
          Effect.as("worked"),
          Effect.onInterrupt(() => Effect.sync(() => log.push("interrupted")))
        ),
      Later: () => Effect.succeed("later"),
      Follow: () => Stream.fromQueue(items).pipe(Stream.ensuring(Effect.sync(() => log.push("released"))))
    })
  )
  const { ref, started } = yield* here.spawn(feed, "f", undefined)
  yield* started
  const wire = yield* bus.connect("another")
  const subject = subjects("test").actor(ref.address)
  /** All that one may say who knows the asker's incarnation and how it counts, and not its words. */
  const saidByAnother = (credit?: number) =>
    Effect.forEach(numbers, (id) =>
      Effect.forEach([undefined, "", randomWord()], (word) =>
        // One frame a turn: each has arrived before the next is sent.
        Effect.andThen(
          wire.publish(subject, encodeFollowUp({ from: away.incarnation, id, word, credit })),
          TestClock.adjust(1)
        )
      )
    )
  const askedByAnother = (frame: Uint8Array) =>
    Effect.gen(function* () {
      const asked = yield* Effect.forkChild(wire.request(subject, frame, { timeoutMs: 5000 }))
      yield* TestClock.adjust("1 second")
      return yield* decodeReply(yield* Fiber.join(asked))
    })
  return { askedByAnother, away, far: away.ref(Feed, ref.address), gate, here, items, log, saidByAnother }
})

/** One who reads the stream, and what came. */
const reader = Effect.fnUntraced(function* ({ far }: Effect.Success<ReturnType<typeof open>>) {
  const read: Array<number> = []
  const reading = yield* Effect.forkChild(
    Stream.runForEach(far.stream("Follow", undefined), (item) => Effect.sync(() => read.push(item))),
    { startImmediately: true }
  )
  yield* TestClock.adjust(1)
  return { read, reading }
})

it.effect("nobody else reads a stream, keeps it or ends it, by whatever numbers", () =>
  Effect.gen(function* () {
    const all = yield* open()
    const { read, reading } = yield* reader(all)
    for (const said of [undefined, 0, 256]) yield* all.saidByAnother(said)
    yield* Queue.offerAll(all.items, [1, 2, 3])
    for (let seconds = 0; seconds < 15; seconds++) yield* TestClock.adjust("1 second")
    expect(read).toEqual([1, 2, 3])
    expect(all.log).toEqual([])
    // The one it has does end it.
    yield* Fiber.interrupt(reading)
    yield* TestClock.adjust(1)
    expect(all.log).toEqual(["released"])
  })
)

it.effect("who asks for a stream by another's numbers has one of its own", () =>
  Effect.gen(function* () {
    const all = yield* open()
    const { read } = yield* reader(all)
    for (const id of numbers) {
      const frame = { tag: "Follow", payload: undefined, from: all.away.incarnation, remainingMs: 500, id }
      expect(yield* all.askedByAnother(encodeRequest({ ...frame, credit: 0 }))).toMatchObject({ items: [] })
    }
    yield* Queue.offer(all.items, 1)
    for (let seconds = 0; seconds < 15; seconds++) yield* TestClock.adjust("1 second")
    expect(read).toEqual([1])
    expect(all.log).toEqual([])
  })
)

it.effect("nobody else takes an ask back: neither one that is handled, nor one that waits", () =>
  Effect.gen(function* () {
    const all = yield* open()
    const handled = yield* Effect.forkChild(all.far.ask("Work", undefined), { startImmediately: true })
    const waits = yield* Effect.forkChild(all.far.ask("Later", undefined), { startImmediately: true })
    yield* TestClock.adjust(1)
    yield* all.saidByAnother()
    expect(all.log).toEqual([])
    expect(all.here.deadLetters.counts).toEqual({})
    yield* Deferred.succeed(all.gate, undefined)
    yield* TestClock.adjust(1)
    expect([yield* Fiber.join(handled), yield* Fiber.join(waits)]).toEqual(["worked", "later"])
  })
)

it("words are of 128 bits, and no two are the same", () => {
  const words = Array.from({ length: 10_000 }, randomWord)
  expect(new Set(words).size).toBe(words.length)
  for (const word of words) expect(Buffer.from(word, "base64url").length).toBe(16)
})

it("each request has a word of its own on the wire", () => {
  const frame = encodeRequest({ tag: "Work", payload: undefined, from: "inc", id: 1, word: randomWord() })
  expect(Exit.getSuccess(unpack(frame))).toMatchObject({ value: { w: expect.stringMatching(/^[\w-]{22}$/) } })
})
