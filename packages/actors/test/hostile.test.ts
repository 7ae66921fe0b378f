import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  type ActorRef,
  define,
  Idempotent,
  maxFrameBytes,
  message,
  type Messages,
  pack,
  protocol,
  subjects
} from "../src/index.ts"
import { decodeReply, encodeFollowUp, encodeRequest } from "../src/Envelope.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

const Shop = protocol(
  message("Ping", { success: Schema.String }),
  message("Keyed", { payload: { id: Schema.String }, success: Schema.String }).annotate(Idempotent, {
    key: ({ id }: { readonly id: string }) => decodeURIComponent(id)
  }),
  message("Unsayable", { payload: { laterMs: Schema.Int }, success: Schema.Unknown }),
  message("Large", { success: Schema.Uint8Array }),
  message("DieOddly", {}),
  message("Follow", { success: Schema.Int, stream: true })
)

const names = subjects("test")

const open = Effect.fnUntraced(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const log: Array<string> = []
  const shop = define("shop", Shop, () =>
    Effect.succeed({
      Ping: () => Effect.succeed("pong"),
      Keyed: ({ id }: { readonly id: string }) => Effect.succeed(id),
      Unsayable: ({ laterMs }: { readonly laterMs: number }) => {
        const answer = Effect.succeed({ count: 1n })
        return laterMs > 0 ? Effect.delay(answer, laterMs) : answer
      },
      Large: () => Effect.succeed(new Uint8Array(maxFrameBytes)),
      DieOddly: () => Effect.die(Object.create(null)),
      Follow: () =>
        Stream.range(1, 10_000).pipe(
          Stream.rechunk(1),
          Stream.onStart(Effect.sync(() => log.push("opened"))),
          Stream.ensuring(Effect.sync(() => log.push("released")))
        )
    })
  )
  const { ref, started } = yield* here.spawn(shop, "s", undefined)
  yield* started
  const other = yield* here.spawn(shop, "other", undefined)
  yield* other.started
  return { away, bus, far: away.ref(Shop, ref.address), here, log, other: other.ref, ref }
})

const answered = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const asked = yield* Effect.forkChild(Effect.exit(effect), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    expect(asked.pollUnsafe(), "no answer").toBeDefined()
    return yield* yield* Fiber.join(asked)
  })

for (const where of ["here", "far away"] as const) {
  it.effect(`from ${where}, a message whose key cannot be made is malformed, and the next is answered`, () =>
    Effect.gen(function* () {
      const { far, here, ref } = yield* open()
      const to = where === "here" ? ref : far
      expect(yield* answered(Effect.flip(to.ask("Keyed", { id: "%" })))).toMatchObject({
        _tag: "MalformedMessage",
        problem: "Keyed has no key: URIError: URI malformed"
      })
      expect(here.deadLetters.counts).toEqual({ malformed: 1 })
      expect(yield* answered(to.ask("Keyed", { id: "%61" }))).toBe("%61")
    })
  )

  it.effect(`from ${where}, a defect that cannot be described is a crash like any other`, () =>
    Effect.gen(function* () {
      const { far, ref } = yield* open()
      const to = where === "here" ? ref : far
      const reason = "a defect that cannot be described"
      expect(yield* answered(Effect.flip(to.ask("DieOddly", undefined)))).toMatchObject({
        _tag: "ActorCrashed",
        reason
      })
      expect(yield* answered(ref.terminated)).toMatchObject({ by: "crash", detail: reason })
    }).pipe(quietly)
  )
}

type FarShop = ActorRef<Messages<typeof Shop>>

for (const [what, ask] of [
  ["not by MessagePack, at once", (far: FarShop) => far.ask("Unsayable", { laterMs: 0 })],
  ["not by MessagePack, later", (far: FarShop) => far.ask("Unsayable", { laterMs: 10 })],
  ["not in one frame", (far: FarShop) => far.ask("Large", undefined)]
] as const) {
  it.effect(`an answer that cannot be said (${what}) is told as a bug, and its actor answers the next`, () =>
    Effect.gen(function* () {
      const { far } = yield* open()
      expect(yield* answered(Effect.flip<unknown, unknown, never>(ask(far)))).toMatchObject({
        _tag: "ActorCrashed",
        reason: expect.stringMatching(/^BUG: an answer /)
      })
      expect(yield* answered(far.ask("Ping", undefined))).toBe("pong")
    })
  )
}

/** What one who writes frames by hand does with a stream of an actor. */
const byHand = Effect.fnUntraced(function* ({ away, bus, ref }: Effect.Success<ReturnType<typeof open>>) {
  const wire = yield* bus.connect("by hand")
  const of = { from: away.incarnation, id: 1 }
  const asked = (subject: string, frame: Uint8Array) =>
    Effect.flatMap(answered(wire.request(subject, frame, { timeoutMs: 5000 })), (reply) => decodeReply(reply))
  const subject = names.actor(ref.address)
  return {
    open: asked(
      subject,
      encodeRequest({ ...of, tag: "Follow", payload: undefined, remainingMs: 5000, credit: 1 })
    ),
    next: (by = subject) => asked(by, encodeFollowUp({ ...of, credit: 1, remainingMs: 500 })),
    cancel: (by = subject) => Effect.andThen(wire.publish(by, encodeFollowUp(of)), TestClock.adjust(1))
  }
})

it.effect("a stream that is asked for by a number of before ends the one of before", () =>
  Effect.gen(function* () {
    const all = yield* open()
    const stream = yield* byHand(all)
    yield* stream.open
    yield* stream.next()
    yield* stream.open
    expect(all.log).toEqual(["opened", "released", "opened"])
    yield* stream.cancel()
    expect(all.log).toEqual(["opened", "released", "opened", "released"])
  })
)

it.effect("nobody reads or ends a stream through the subject of another actor", () =>
  Effect.gen(function* () {
    const all = yield* open()
    const stream = yield* byHand(all)
    const elsewhere = names.actor(all.other.address)
    expect(yield* stream.open).toMatchObject({ items: [1] })
    expect(yield* stream.next(elsewhere)).toMatchObject({ _tag: "Refused", error: { _tag: "ActorCrashed" } })
    yield* stream.cancel(elsewhere)
    expect(all.log).toEqual(["opened"])
    expect(yield* stream.next()).toMatchObject({ items: [2] })
  })
)

it.effect("what wants no answer and is not done is counted, by its reason", () =>
  Effect.gen(function* () {
    const { bus, here, ref } = yield* open()
    const wire = yield* bus.connect("by hand")
    const told = (subject: string, frame: unknown) =>
      Effect.andThen(wire.publish(subject, pack(frame)), TestClock.adjust(1))
    yield* told(names.actor(ref.address), { m: "NoSuchTag" })
    yield* told(names.system(here.incarnation), { m: "NoSuchTag" })
    expect(here.deadLetters.counts).toEqual({ unsupported: 2 })
    yield* told(names.system(here.incarnation), { m: "Stop", p: { kind: 3 } })
    yield* told(names.system(here.incarnation), {
      m: "Stop",
      p: { kind: "shop", id: "nobody", detail: "", kill: true }
    })
    expect(here.deadLetters.counts).toEqual({ unsupported: 2, malformed: 1, noActor: 1 })
  })
)
