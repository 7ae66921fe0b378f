/** What the control client makes of answers that do not come, or come twice: a node that answers by a script, on the bus in memory. */
import { expect, it } from "@effect/vitest"
import { AskTimeout, NodeIsolated, pack, subjects, Transport } from "@ebb/actors"
import { TestBus } from "@ebb/actors/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { ControlError } from "../../src/protocol/Control.ts"
import { NotFound } from "../../src/protocol/Common.ts"
import { makeControlClient } from "../../src/protocol/ControlClient.ts"

type Answer = "silence" | ControlError | { readonly afterMs: number; readonly error: ControlError }

const gone = new NotFound({ entity: "room", id: "r" })

const encodeError = Schema.encodeSync(ControlError)

/** Answers the nth time it is asked by the nth answer. */
const clientOf = Effect.fnUntraced(function* (answers: ReadonlyArray<Answer>) {
  const bus = yield* TestBus.make()
  const node = yield* bus.connect("node")
  const askedAtMs: Array<number> = []
  const later = yield* FiberSet.makeRuntime<never>()
  const clock = yield* TestClock.testClockWith(Effect.succeed)
  yield* node.subscribe(subjects("test").controlAll, (frame) => {
    const answer = answers[askedAtMs.length] ?? "silence"
    askedAtMs.push(clock.currentTimeMillisUnsafe())
    if (answer === "silence") return
    const { afterMs, error } = "afterMs" in answer ? answer : { afterMs: 0, error: answer }
    const respond = () => frame.respond?.(pack({ error: encodeError(error) }))
    if (afterMs === 0) respond()
    else later(Effect.delay(Effect.sync(respond), afterMs))
  })
  const { call } = yield* Effect.provideService(
    makeControlClient("test"),
    Transport,
    yield* bus.connect("client")
  )
  return { call, askedAtMs }
})

const close = (answers: ReadonlyArray<Answer>) =>
  Effect.gen(function* () {
    const { askedAtMs, call } = yield* clientOf(answers)
    const closing = yield* Effect.forkChild(Effect.result(call("room.close", { roomId: "r" })), {
      startImmediately: true
    })
    yield* TestClock.adjust(40_000)
    return { result: yield* Fiber.join(closing), askedAtMs }
  })

const done = { _tag: "Success" }
const notFound = { _tag: "Failure", failure: { _tag: "NotFound" } }

it.effect("a room that is not there, asked for once, is not found", () =>
  Effect.gen(function* () {
    expect((yield* close([gone])).result).toMatchObject(notFound)
  })
)

it.effect("a room that is not there, after a try that was refused, is not found", () =>
  Effect.gen(function* () {
    expect((yield* close([new NodeIsolated({ nodeId: "a" }), gone])).result).toMatchObject(notFound)
  })
)

it.effect("a close that is sent again because its outcome was unknown is done when nothing is found", () =>
  Effect.gen(function* () {
    expect((yield* close([new AskTimeout({ tag: "Close", timeoutMs: 5000 }), gone])).result).toMatchObject(
      done
    )
  })
)

it.effect("a close that another node is asked for, too, is done when that one finds nothing", () =>
  Effect.gen(function* () {
    const { askedAtMs, result } = yield* close(["silence", gone])
    expect(result).toMatchObject(done)
    // A placement has by then tried one candidate that is stopped, and answered from the next.
    expect(askedAtMs.map((ms) => ms - (askedAtMs[0] ?? 0))).toEqual([0, 2500])
  })
)

it.effect("a node that wakes and refuses does not end what another has begun", () =>
  Effect.gen(function* () {
    const woken = { afterMs: 2600, error: new NodeIsolated({ nodeId: "a" }) }
    const { askedAtMs, result } = yield* close([woken, { afterMs: 1000, error: gone }])
    expect(result).toMatchObject(done)
    expect(askedAtMs.length).toBe(2)
  })
)

it.effect("what only reads is not found, however often it was asked", () =>
  Effect.gen(function* () {
    const { call } = yield* clientOf(["silence", gone])
    const getting = yield* Effect.forkChild(Effect.result(call("room.get", { roomId: "r" })), {
      startImmediately: true
    })
    yield* TestClock.adjust(40_000)
    expect(yield* Fiber.join(getting)).toMatchObject(notFound)
  })
)
