import { expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import {
  type ActorRef,
  concurrently,
  define,
  message,
  type Messages,
  protocol,
  type Self
} from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

const Fragile = protocol(
  message("Ping", { success: Schema.String }),
  message("Die", {}),
  message("DieInterrupted", {}),
  message("Work", {})
)

interface World {
  readonly log: Array<string>
  /** Called at each start, in the actor's scope. */
  readonly onStart?: (self: Self, run: number) => Effect.Effect<unknown, never, Scope.Scope>
  readonly work?: (run: number) => Effect.Effect<void>
}

const fragile = define("fragile", Fragile, (self, world: World) =>
  Effect.gen(function* () {
    const run = world.log.filter((line) => line.startsWith("start")).length + 1
    world.log.push(`start ${run}`)
    yield* Effect.addFinalizer(() => Effect.sync(() => world.log.push(`release ${run}`)))
    if (world.onStart !== undefined) yield* world.onStart(self, run)
    return {
      Ping: () => Effect.succeed(`run ${run}`),
      Die: () => Effect.die(new Error("no reason")),
      DieInterrupted: () =>
        concurrently(Effect.onInterrupt(Effect.never, () => Effect.die(new Error("a second one")))),
      Work: () => world.work?.(run) ?? Effect.void
    }
  })
)

const Leaf = protocol(message("Die", {}))
const leaf = define("leaf", Leaf, () =>
  Effect.succeed({ Die: () => Effect.die(new Error("a leaf's reason")) })
)

const spawned = Effect.fnUntraced(function* (world: Omit<World, "log"> = {}) {
  const here = yield* system(yield* TestBus.make(), "here")
  const log: Array<string> = []
  const { ref, started } = yield* here.spawn(
    fragile,
    "f",
    { log, ...world },
    { onCrash: { restart: Schedule.spaced("10 seconds") }, stopGraceMs: 1000, finalizerMs: 1000 }
  )
  return {
    log,
    ref,
    started,
    isThere: () => here.local(Fragile, "fragile", "f") !== undefined,
    stop: here
      .system(here.incarnation)
      .ask("Stop", { kind: "fragile", id: "f", detail: "enough", kill: false }),
    killLeaf: Effect.suspend(
      () => here.local(Leaf, "leaf", "kid")?.ask("Die", undefined) ?? Effect.void
    ).pipe(Effect.exit)
  }
})

const pinged = (ref: ActorRef<Messages<typeof Fragile>>, timeoutMs: number) =>
  Effect.forkChild(ref.ask("Ping", undefined, { timeoutMs }), { startImmediately: true })

it.effect("two handlers that die together are one crash: one run is begun, and none beside it", () =>
  Effect.gen(function* () {
    const { log, ref } = yield* spawned()
    yield* ref.tell("DieInterrupted", undefined)
    yield* Effect.flip(ref.ask("Die", undefined))
    yield* TestClock.adjust("10 seconds")
    yield* TestClock.adjust("10 seconds")
    expect(yield* ref.ask("Ping", undefined)).toBe("run 2")
    expect(log).toEqual(["start 1", "release 1", "start 2"])
  }).pipe(quietly)
)

it.effect("one that is stopped while what it held is released is not begun anew", () =>
  Effect.gen(function* () {
    const { isThere, log, ref } = yield* spawned({
      onStart: (self) => Effect.addFinalizer(() => self.stop("enough"))
    })
    yield* Effect.flip(ref.ask("Die", undefined))
    expect(yield* ref.terminated).toMatchObject({ by: "itself", detail: "enough" })
    yield* TestClock.adjust("10 seconds")
    expect(log).toEqual(["start 1", "release 1"])
    expect(isThere()).toBe(false)
  }).pipe(quietly)
)

it.effect("one whose child's crash is its own while it starts serves nobody before its next run", () =>
  Effect.gen(function* () {
    const { killLeaf, log, ref, started } = yield* spawned({
      onStart: (self, run) =>
        run === 1
          ? Effect.andThen(
              Effect.orDie(self.spawn(leaf, "kid", undefined, { onCrash: "escalate" })),
              Effect.sleep(500)
            )
          : Effect.void
    })
    const born = yield* Effect.forkChild(started, { startImmediately: true })
    const waits = yield* pinged(ref, 60_000)
    yield* TestClock.adjust(100)
    yield* killLeaf
    // Its start is not waited for.
    yield* TestClock.adjust(1)
    expect(log).toEqual(["start 1", "release 1"])
    yield* TestClock.adjust("9 seconds")
    expect(log).toEqual(["start 1", "release 1"])
    expect(born.pollUnsafe()).toBeUndefined()
    expect(waits.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust("10 seconds")
    expect(yield* Fiber.join(waits)).toBe("run 2")
    yield* Fiber.join(born)
    expect(log).toEqual(["start 1", "release 1", "start 2"])
  }).pipe(quietly)
)

it.effect("a handler that was left behind touches nothing of the next run: not its turn, not its life", () =>
  Effect.gen(function* () {
    const late = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const { killLeaf, log, ref } = yield* spawned({
      onStart: (self, run) =>
        run === 1 ? Effect.orDie(self.spawn(leaf, "kid", undefined, { onCrash: "escalate" })) : Effect.void,
      work: (run) =>
        run === 1
          ? Effect.uninterruptible(Effect.andThen(Deferred.await(late), Effect.die(new Error("too late"))))
          : Deferred.await(gate)
    })
    yield* ref.tell("Work", undefined)
    yield* killLeaf
    // Its grace, its limit, the delay.
    for (let seconds = 0; seconds < 15; seconds++) yield* TestClock.adjust("1 second")
    expect(log).toEqual(["start 1", "release 1", "start 2"])
    const first = yield* pinged(ref, 1000)
    yield* TestClock.adjust("1 second")
    expect(yield* Fiber.join(first)).toBe("run 2")

    yield* ref.tell("Work", undefined)
    const behind = yield* pinged(ref, 60_000)
    yield* Deferred.succeed(late, undefined)
    yield* TestClock.adjust("15 seconds")
    expect(behind.pollUnsafe()).toBeUndefined()
    yield* Deferred.succeed(gate, undefined)
    expect(yield* Fiber.join(behind)).toBe("run 2")
    expect(log).toEqual(["start 1", "release 1", "start 2"])
  }).pipe(quietly)
)

it.effect("a handler that was left behind does not hold up the end of the next run", () =>
  Effect.gen(function* () {
    const { killLeaf, log, ref, stop } = yield* spawned({
      onStart: (self, run) =>
        run === 1 ? Effect.orDie(self.spawn(leaf, "kid", undefined, { onCrash: "escalate" })) : Effect.void,
      work: () => Effect.uninterruptible(Effect.never)
    })
    yield* ref.tell("Work", undefined)
    yield* killLeaf
    for (let seconds = 0; seconds < 15; seconds++) yield* TestClock.adjust("1 second")
    const over = yield* Effect.forkChild(ref.terminated, { startImmediately: true })
    yield* stop
    yield* TestClock.adjust(1)
    expect(over.pollUnsafe()).toMatchObject({ value: { by: "parent" } })
    expect(log).toEqual(["start 1", "release 1", "start 2", "release 2"])
  }).pipe(quietly)
)

it.effect("no child is taken between a crash and the next run, which takes the name itself", () =>
  Effect.gen(function* () {
    const taken: Array<string> = []
    const { ref } = yield* spawned({
      onStart: (self, run) => {
        const take = (when: string) =>
          Effect.match(self.spawn(leaf, "kid", undefined), {
            onSuccess: () => taken.push(`${when} ${run}: taken`),
            onFailure: ({ _tag }) => taken.push(`${when} ${run}: ${_tag}`)
          })
        return Effect.andThen(
          take("start"),
          Effect.addFinalizer(() => take("release"))
        )
      }
    })
    yield* Effect.flip(ref.ask("Die", undefined))
    yield* TestClock.adjust("10 seconds")
    expect(yield* ref.ask("Ping", undefined)).toBe("run 2")
    expect(taken).toEqual(["start 1: taken", "release 1: NodeDraining", "start 2: taken"])
  }).pipe(quietly)
)
