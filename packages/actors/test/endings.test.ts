import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  ActorCrashed,
  type ActorSystem,
  define,
  message,
  protocol,
  type Self,
  UndrainRefused
} from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { quietly } from "./quietly.ts"
import { system } from "./runtime.fixture.ts"

const Parent = protocol(
  message("Ping", {}),
  message("Die", {}),
  message("Work", {}),
  message("Ticks", { success: Schema.Int, stream: true })
)

interface World {
  readonly log: Array<string>
  /** Called at its start, in its scope. */
  readonly onStart: (self: Self) => Effect.Effect<unknown, never, Scope.Scope>
}

const parent = define("parent", Parent, (self, { log, onStart }: World) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push("release parent")))
    yield* onStart(self)
    const runSync = Effect.runSyncWith(yield* Effect.context())
    return {
      Ping: () => Effect.void,
      Die: () => Effect.die(new Error("no reason")),
      Work: () => Effect.sleep("4 seconds"),
      // It ends in the handler's own body: the stream that it gives is begun, if at all, after that.
      Ticks: () => {
        runSync(self.stop("in its handler"))
        return Stream.fromEffectRepeat(
          Effect.delay(
            Effect.sync(() => log.push("tick")),
            "1 second"
          )
        )
      }
    }
  })
)

const Leaf = protocol(message("Die", {}))
const leaf = define("leaf", Leaf, (self, log: Array<string>) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`release ${self.address.id}`)))
    return { Die: () => Effect.die(new Error("a leaf's reason")) }
  })
)

const spawned = Effect.fnUntraced(function* (
  onStart: (self: Self, log: Array<string>) => Effect.Effect<unknown, never, Scope.Scope> = () => Effect.void
) {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const log: Array<string> = []
  const { ref, started } = yield* here.spawn(parent, "p", { log, onStart: (self) => onStart(self, log) })
  yield* started
  return { far: away.ref(Parent, ref.address), here, log, ref }
})

const request = { by: "test", reason: "test", reversible: true, evacuate: false, deadlines: {} }

const stop = (here: ActorSystem["Service"], kill = false) =>
  here.system(here.incarnation).ask("Stop", { kind: "parent", id: "p", detail: "enough", kill })

for (const how of ["stop", "kill", "crash"] as const) {
  it.effect(`by a ${how} children end before their parent, the latest first`, () =>
    Effect.gen(function* () {
      const { here, log, ref } = yield* spawned((self, all) =>
        Effect.forEach(["a", "b", "c"], (id) => Effect.orDie(self.spawn(leaf, id, all)))
      )
      if (how === "crash") yield* Effect.flip(ref.ask("Die", undefined))
      else yield* stop(here, how === "kill")
      yield* ref.terminated
      expect(log).toEqual(["release c", "release b", "release a", "release parent"])
    }).pipe(quietly)
  )
}

it.effect("a draining parent that crashes with its last child has not drained", () =>
  Effect.gen(function* () {
    const { here, ref } = yield* spawned((self, log) =>
      Effect.orDie(self.spawn(leaf, "kid", log, { onCrash: "escalate" }))
    )
    const drained = yield* Effect.forkChild(here.drain("parent", "p", request), { startImmediately: true })
    yield* Effect.flip(here.local(Leaf, "leaf", "kid")?.ask("Die", undefined) ?? Effect.void)
    expect(yield* Fiber.join(drained)).toEqual({ _tag: "Ended", by: "crash" })
    expect(yield* ref.terminated).toMatchObject({ by: "crash" })
  }).pipe(quietly)
)

it.effect(
  "a state listener that throws does not keep its actor from ending, nor other listeners from hearing",
  () =>
    Effect.gen(function* () {
      const heard: Array<string> = []
      const { here, log, ref } = yield* spawned((self) =>
        Effect.sync(() => {
          self.onStateChange(() => {
            throw new Error("a listener's reason")
          })
          self.onStateChange(({ life }) => heard.push(life))
        })
      )
      const over = yield* Effect.forkChild(ref.terminated, { startImmediately: true })
      yield* stop(here)
      yield* TestClock.adjust("1 minute")
      expect(over.pollUnsafe()).toMatchObject({ value: { by: "parent", detail: "enough" } })
      expect(log).toEqual(["release parent"])
      expect(heard).toEqual(["Serving", "Stopped"])
    }).pipe(quietly)
)

it.effect("a drain whose actor's end has begun cannot be taken back", () =>
  Effect.gen(function* () {
    const { here, ref } = yield* spawned((self, log) => Effect.orDie(self.spawn(leaf, "kid", log)))
    const cause = { kind: "parent", id: "p", by: "test", reason: "second thoughts" }
    yield* ref.tell("Work", undefined)
    const drained = yield* Effect.forkChild(here.drain("parent", "p", request), { startImmediately: true })
    yield* stop(here)
    const undrained = yield* Effect.exit(here.system(here.incarnation).ask("Undrain", cause))
    yield* TestClock.adjust("4 seconds")
    expect(yield* Effect.flip(undrained)).toEqual(
      new UndrainRefused({ nodeId: "here", reason: "its end has begun" })
    )
    expect(yield* Fiber.join(drained)).toEqual({ _tag: "Ended", by: "parent" })
  }).pipe(quietly)
)

it.effect("what dies when it is told of an end that its actor watched is that actor's crash", () =>
  Effect.gen(function* () {
    const here = yield* system(yield* TestBus.make(), "here")
    const log: Array<string> = []
    const watched = yield* here.spawn(leaf, "watched", log)
    const watcher = yield* here.spawn(parent, "p", {
      log,
      onStart: (self) => self.watch(watched.ref, () => Effect.die(new Error("in a watch")))
    })
    yield* watcher.started
    const over = yield* Effect.forkChild(watcher.ref.terminated, { startImmediately: true })
    yield* Effect.flip(watched.ref.ask("Die", undefined))
    yield* TestClock.adjust(1)
    expect(over.pollUnsafe()).toMatchObject({ value: { by: "crash", detail: "Error: in a watch" } })
    expect(log).toEqual(["release watched", "release parent"])
  }).pipe(quietly)
)

for (const where of ["here", "far away"] as const) {
  it.effect(`${where}: a stream whose actor ended in the handler that gave it ends, and says why`, () =>
    Effect.gen(function* () {
      const { far, log, ref } = yield* spawned()
      const to = where === "here" ? ref : far
      const reading = yield* Effect.forkChild(Effect.flip(Stream.runDrain(to.stream("Ticks", undefined))), {
        startImmediately: true
      })
      for (let seconds = 0; seconds < 5; seconds++) yield* TestClock.adjust("1 second")
      expect(log).toEqual(["release parent"])
      expect(reading.pollUnsafe()).toBeDefined()
      expect(yield* Fiber.join(reading)).toEqual(
        new ActorCrashed({ kind: "parent", id: "p", reason: "in its handler" })
      )
    }).pipe(quietly)
  )
}
