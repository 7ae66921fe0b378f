/** Answers that their contract does not allow: told the same here and far away, and said by their owner. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type ActorRef, define, message, type Messages, protocol } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { observed } from "./observed.ts"
import { system } from "./runtime.fixture.ts"

const Refused = Schema.Struct({ _tag: Schema.Literal("Refused"), by: Schema.Int })

const Shop = protocol(
  message("Count", { success: Schema.Int }),
  message("Buy", { error: Refused }),
  message("Items", { success: Schema.Int, stream: true }),
  message("Broken", { success: Schema.Int, error: Refused, stream: true }),
  message("Dead", { success: Schema.Int, stream: true }),
  message("Ping", { success: Schema.String })
)

const shop = define("shop", Shop, () =>
  Effect.succeed({
    Count: () => Effect.succeed(0.5),
    Buy: () => Effect.fail({ _tag: "Refused", by: 0.5 } as const),
    Items: () => Stream.make(1, 2, 0.5, 4),
    Broken: () => Stream.concat(Stream.make(1), Stream.fail({ _tag: "Refused", by: 0.5 } as const)),
    Dead: () => Stream.concat(Stream.make(1), Stream.die(new Error("no reason"))),
    Ping: () => Effect.succeed("pong")
  })
)

type Ref = ActorRef<Messages<typeof Shop>>

/** What came, and how it ended. */
const collected = Effect.fnUntraced(function* <E>(stream: Stream.Stream<number, E>) {
  const items: Array<number> = []
  const error = yield* Effect.flip(Stream.runForEach(stream, (item) => Effect.sync(() => items.push(item))))
  return { items, error }
})
const asked = <E>(ask: Effect.Effect<unknown, E>) =>
  Effect.map(Effect.flip(ask), (error) => ({ items: [], error }))

const outside: ReadonlyArray<
  readonly [
    string,
    ReadonlyArray<number>,
    (to: Ref) => Effect.Effect<{ items: Array<number>; error: unknown }, unknown>
  ]
> = [
  ["Count", [], (to) => asked(to.ask("Count", undefined))],
  ["Buy", [], (to) => asked(to.ask("Buy", undefined))],
  ["Items", [1, 2], (to) => collected(to.stream("Items", undefined))],
  ["Broken", [1], (to) => collected(to.stream("Broken", undefined))],
  ["Dead", [1], (to) => collected(to.stream("Dead", undefined))]
]

for (const [tag, before, ask] of outside) {
  it.effect(
    `${tag}: an answer outside its contract is the same bug here and far away, and its owner says so`,
    () =>
      Effect.gen(function* () {
        const seen = observed()
        const bus = yield* TestBus.make()
        const here = yield* seen.by(system(bus, "here"))
        const away = yield* system(bus, "away")
        const { ref, started } = yield* here.spawn(shop, "s", undefined)
        yield* started
        const told = {
          items: before,
          error: { _tag: "ActorCrashed", kind: "shop", id: "s", retry: "unknown" }
        }
        const near = yield* ask(ref)
        expect(near).toMatchObject(told)
        const line = `BUG: an answer outside the contract: ${tag}: `
        expect(near.error).toHaveProperty("reason", expect.stringContaining(line))
        expect(seen.lines).toEqual([expect.stringContaining(line)])
        expect(seen.lines[0]).toMatch(/ in shop\/s@/)
        expect(yield* ask(away.ref(Shop, ref.address))).toEqual(near)
        expect(seen.lines[1]).toEqual(seen.lines[0])
        expect(seen.of("ebb_bugs_total")).toEqual({ 'kind="shop"': 2 })
        // What was done is done: the actor is none the worse for it.
        expect(yield* ref.ask("Ping", undefined)).toBe("pong")
      })
  )
}
