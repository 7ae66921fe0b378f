/** What ends an actor while a handler of it is being called: nobody can say yet whether that one will wait. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { type ActorRef, define, message, type Messages, protocol, type Self } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

const Leaf = protocol(message("Die", {}))
const leaf = define("leaf", Leaf, () =>
  Effect.succeed({ Die: () => Effect.die(new Error("a leaf's reason")) })
)

const Parent = protocol(message("StopInBody", { success: Schema.String }), message("KillLeaf", {}))
const parent = define("parent", Parent, (self: Self, log: Array<string>) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push("release")))
    const runSync = Effect.runSyncWith(yield* Effect.context())
    const kid: ActorRef<Messages<typeof Leaf>> = yield* Effect.orDie(
      self.spawn(leaf, "kid", undefined, { onCrash: "escalate" })
    ).pipe(
      Effect.tap(({ started }) => Effect.orDie(started)),
      Effect.map(({ ref }) => ref)
    )
    return {
      StopInBody: () => {
        runSync(self.stop("in its body"))
        return Effect.delay(
          Effect.sync(() => {
            log.push("handled")
            return "answer"
          }),
          "1 second"
        )
      },
      // The leaf dies in this turn, and its parent with it, before the first thing that this waits for.
      KillLeaf: () =>
        Effect.andThen(
          Effect.exit(kid.ask("Die", undefined)),
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("interrupted")))
        )
    }
  })
)

const opened = Effect.gen(function* () {
  const here = yield* system(yield* TestBus.make(), "here")
  const log: Array<string> = []
  const { ref, started } = yield* here.spawn(parent, "p", log)
  yield* started
  return { log, ref }
})

it.effect("an actor that stops itself in the body of a handler ends after that message, and answers it", () =>
  Effect.gen(function* () {
    const { log, ref } = yield* opened
    const asked = yield* Effect.forkChild(ref.ask("StopInBody", undefined), { startImmediately: true })
    expect(log).toEqual([])
    yield* TestClock.adjust("1 second")
    expect(yield* Fiber.join(asked)).toBe("answer")
    expect(yield* ref.terminated).toMatchObject({ by: "itself", detail: "in its body" })
    expect(log).toEqual(["handled", "release"])
  })
)

it.effect(
  "a crash that escalates while a handler is on the stack interrupts that one, too, and awaits it",
  () =>
    Effect.gen(function* () {
      const { log, ref } = yield* opened
      yield* ref.tell("KillLeaf", undefined)
      yield* TestClock.adjust(1)
      expect(yield* ref.terminated).toMatchObject({ by: "crash" })
      expect(log).toEqual(["interrupted", "release"])
    }).pipe(quietly)
)
