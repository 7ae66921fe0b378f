/** Ours in one process: an actor that adds, its asker, and a parent with any number of idle ones. */
import type { Self, Spawned } from "@ebb/actors"
import { ActorSystem, define, message, type Messages, protocol } from "@ebb/actors"
import { TestBus } from "@ebb/actors/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type { Figures, Task } from "../Task.ts"
import {
  type Adder,
  askWithEffect,
  Handled,
  heapBytes,
  newAdder,
  stopwatch,
  tellWithEffect
} from "./loops.ts"
import { serve } from "./serve.ts"

const Counter = protocol(
  message("Add", { payload: { by: Schema.Int }, success: Schema.Int }),
  message("End", {})
)

/** Counts into what it is given: the teller's, or one of its own. */
const counter = define("counter", Counter, (self: Self, given: Adder | undefined) =>
  Effect.sync(() => {
    const adder = given ?? newAdder()
    return {
      Add: ({ by }) => Effect.sync(() => adder.add(by)),
      End: () => self.stop("asked to")
    }
  })
)

/** Hands out its own view of itself, for whoever spawns its children. */
const parent = define("parent", protocol(), (self: Self, show: (self: Self) => void) =>
  Effect.sync(() => {
    show(self)
    return {}
  })
)

// Nothing is asked of the network here; the bus is the least there is.
const bus = Layer.unwrap(Effect.map(TestBus.make(), (made) => made.layer("bench")))
const runtime = ManagedRuntime.make(
  ActorSystem.layer({ cluster: "bench", nodeId: "bench" }).pipe(
    Layer.provide(bus),
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Error"))
  )
)
const system = await runtime.runPromise(ActorSystem)

const handled = new Handled()
const { ref } = await runtime.runPromise(system.spawn(counter, "one", handled))
let parents = 0

const newParent = Effect.gen(function* () {
  let shown: Self | undefined
  const id = `parent-${++parents}`
  const { started } = yield* system.spawn(parent, id, (self) => {
    shown = self
  })
  yield* started
  if (shown === undefined) return yield* Effect.die("it has not started")
  return shown
})

const drained = (self: Self, evacuate: boolean) =>
  self.drain({ by: "bench", reason: "measured", reversible: false, evacuate, deadlines: {} })

type Child = Spawned<Messages<typeof Counter>, never>

const born = Effect.fnUntraced(function* (self: Self, count: number) {
  const children: Array<Child> = []
  for (let number = 0; number < count; number++) {
    const id = `${number}-of-${self.address.id}`
    children.push(yield* Effect.orDie(self.spawn(counter, id, undefined)))
  }
  return children
})

const spawn = ({ count }: Extract<Task, { name: "spawn" }>) =>
  Effect.gen(function* () {
    const self = yield* newParent
    const birth = stopwatch()
    const children = yield* born(self, count)
    yield* Effect.forEach(children, (child) => child.ref.ask("Add", { by: 1 }), {
      concurrency: "unbounded",
      discard: true
    })
    const bornPerSecond = birth.rates(count).perCpuSecond
    const end = stopwatch()
    yield* Effect.forEach(children, (child) => child.ref.tell("End", undefined), { discard: true })
    yield* Effect.forEach(children, (child) => child.ref.terminated, { discard: true })
    const stoppedPerSecond = end.rates(count).perCpuSecond
    yield* drained(self, true)
    return { bornPerSecond, stoppedPerSecond }
  })

const bytes = async ({ count }: Extract<Task, { name: "bytes" }>): Promise<Figures> => {
  const self = await runtime.runPromise(newParent)
  const warm = await runtime.runPromise(born(self, 100))
  const before = await heapBytes()
  const other = await runtime.runPromise(newParent)
  const children = await runtime.runPromise(born(other, count))
  await runtime.runPromise(Effect.forEach(children, ({ started }) => started, { discard: true }))
  const bytesEach = ((await heapBytes()) - before) / count
  return { bytesEach, alive: warm.length + children.length }
}

const family = ({ count, drain }: Extract<Task, { name: "family" }>) =>
  Effect.gen(function* () {
    const self = yield* newParent
    const spawning = stopwatch()
    const children = yield* born(self, count)
    yield* Effect.forEach(children, ({ started }) => started, { discard: true })
    const spawned = spawning.took()
    const draining = stopwatch()
    if (drain === "evacuate") yield* drained(self, true)
    else {
      // Each child ends by itself, as rooms do; the drain waits for the last.
      const over = yield* Effect.forkChild(drained(self, false))
      yield* Effect.forEach(children, (child) => child.ref.tell("End", undefined), { discard: true })
      yield* Fiber.join(over)
    }
    const ended = draining.took()
    return {
      spawnMs: spawned.ms,
      spawnCpuMs: spawned.cpuMs,
      drainMs: ended.ms,
      drainCpuMs: ended.cpuMs
    }
  })

serve({
  ask: (task) => runtime.runPromise(askWithEffect(task, (by) => ref.ask("Add", { by }))),
  tell: (task) => runtime.runPromise(tellWithEffect(task, handled, (by) => ref.tell("Add", { by }))),
  spawn: (task) => runtime.runPromise(spawn(task)),
  bytes,
  family: (task) => runtime.runPromise(family(task))
})
