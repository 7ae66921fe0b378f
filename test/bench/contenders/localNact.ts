/** nact in one process. */
import { dispatch, query, type Ref, spawn as spawnActor, start, stop } from "nact"
import type { Figures, Task } from "../Task.ts"
import { askWithPromises, Handled, heapBytes, stopwatch, tellWithPromises } from "./loops.ts"
import { serve } from "./serve.ts"

interface Add {
  readonly by: number
  readonly replyTo?: Ref<number>
}

const system = start()
const handled = new Handled()

const one = spawnActor(
  system,
  (_: undefined, { by, replyTo }: Add) => {
    const total = handled.add(by)
    if (replyTo !== undefined) dispatch(replyTo, total)
    return undefined
  },
  "one"
)

/** Its state as nact has it: what the function returns. */
const counter = (total: number, { by, replyTo }: Add) => {
  const next = total + by
  if (replyTo !== undefined) dispatch(replyTo, next)
  return next
}

const ask = (of: Ref<Add>, by: number) => query(of, (replyTo: Ref<number>) => ({ by, replyTo }), 5000)

let parents = 0
const born = (count: number) => {
  const parent = spawnActor(system, () => undefined, `parent-${++parents}`)
  return Array.from({ length: count }, (_, number) =>
    spawnActor(parent, counter, `child-${number}`, { initialState: 0 })
  )
}

const spawn = async ({ count }: Extract<Task, { name: "spawn" }>): Promise<Figures> => {
  const birth = stopwatch()
  const children = born(count)
  await Promise.all(children.map((child) => ask(child, 1)))
  const bornPerSecond = birth.rates(count).perCpuSecond
  const end = stopwatch()
  for (const child of children) stop(child)
  // What each does after its stop is done in the next turn.
  await new Promise((resolve) => setImmediate(resolve))
  return { bornPerSecond, stoppedPerSecond: end.rates(count).perCpuSecond }
}

const bytes = async ({ count }: Extract<Task, { name: "bytes" }>): Promise<Figures> => {
  const warm = born(100)
  const before = await heapBytes()
  const children = born(count)
  const bytesEach = ((await heapBytes()) - before) / count
  return { bytesEach, alive: warm.length + children.length }
}

serve({
  ask: (task) => askWithPromises(task, (by) => ask(one, by)),
  tell: (task) => tellWithPromises(task, handled, (by) => dispatch(one, { by })),
  spawn,
  bytes
})
