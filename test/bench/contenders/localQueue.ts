/** Effect's own parts and no runtime: a fiber that takes from a queue and completes a Deferred. What any actor in Effect could cost. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
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

interface Add {
  readonly by: number
  readonly answer: Deferred.Deferred<number> | undefined
}

interface Child {
  readonly queue: Queue.Queue<Add>
  readonly fiber: Fiber.Fiber<never>
}

const counter = (adder: Adder): Effect.Effect<Child> =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<Add>(1024)
    const fiber = yield* Queue.take(queue).pipe(
      Effect.map(({ answer, by }) => {
        const total = adder.add(by)
        if (answer !== undefined) Deferred.doneUnsafe(answer, Exit.succeed(total))
      }),
      Effect.forever({ disableYield: true }),
      Effect.forkDetach
    )
    return { queue, fiber }
  })

const ask = (queue: Queue.Queue<Add>, by: number) =>
  Effect.suspend(() => {
    const answer = Deferred.makeUnsafe<number>()
    return Effect.andThen(Queue.offer(queue, { by, answer }), Deferred.await(answer))
  })

const handled = new Handled()
const one = await Effect.runPromise(counter(handled))

const born = Effect.fnUntraced(function* (count: number) {
  const children: Array<Child> = []
  for (let number = 0; number < count; number++) children.push(yield* counter(newAdder()))
  return children
})

const spawn = ({ count }: Extract<Task, { name: "spawn" }>) =>
  Effect.gen(function* () {
    const birth = stopwatch()
    const children = yield* born(count)
    yield* Effect.forEach(children, ({ queue }) => ask(queue, 1), { concurrency: "unbounded", discard: true })
    const bornPerSecond = birth.rates(count).perCpuSecond
    const end = stopwatch()
    yield* Fiber.interruptAll(children.map(({ fiber }) => fiber))
    return { bornPerSecond, stoppedPerSecond: end.rates(count).perCpuSecond }
  })

const bytes = async ({ count }: Extract<Task, { name: "bytes" }>): Promise<Figures> => {
  const warm = await Effect.runPromise(born(100))
  const before = await heapBytes()
  const children = await Effect.runPromise(born(count))
  const bytesEach = ((await heapBytes()) - before) / count
  return { bytesEach, alive: warm.length + children.length }
}

serve({
  ask: (task) => Effect.runPromise(askWithEffect(task, (by) => ask(one.queue, by))),
  tell: (task) =>
    Effect.runPromise(
      tellWithEffect(task, handled, (by) => Queue.offer(one.queue, { by, answer: undefined }))
    ),
  spawn: (task) => Effect.runPromise(spawn(task)),
  bytes
})
