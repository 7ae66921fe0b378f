/** The loops that are measured, once for promises and once for Effect: each contender is driven in its own idiom. */
import * as Effect from "effect/Effect"
import type { Figures, Task } from "../Task.ts"
import { median } from "../statistics.ts"

type Ask = Extract<Task, { name: "ask" }>
type Tell = Extract<Task, { name: "tell" }>

/** Since a moment: by the clock, and by what this thread was given of a processor. */
export interface Stopwatch {
  readonly took: () => { readonly ms: number; readonly cpuMs: number }
  /** Figures of so many in that time. */
  readonly rates: (count: number) => { readonly perSecond: number; readonly perCpuSecond: number }
}

const threadMs = () => {
  const { system, user } = process.threadCpuUsage()
  return (user + system) / 1000
}

export const stopwatch = (): Stopwatch => {
  const beganMs = performance.now()
  const beganThreadMs = threadMs()
  const took = () => ({ ms: performance.now() - beganMs, cpuMs: threadMs() - beganThreadMs })
  return {
    took,
    rates: (count) => {
      const { cpuMs, ms } = took()
      return { perSecond: (count / ms) * 1000, perCpuSecond: (count / cpuMs) * 1000 }
    }
  }
}

const asked = (watch: Stopwatch, tookMs: Array<number>): Figures => ({
  ...watch.rates(tookMs.length),
  medianUs: median(tookMs) * 1000
})

export const askWithPromises = async (
  { forMs, inFlight }: Ask,
  ask: (by: number) => Promise<unknown>
): Promise<Figures> => {
  const watch = stopwatch()
  const beganMs = performance.now()
  const tookMs: Array<number> = []
  const asker = async () => {
    for (let now = beganMs; now < beganMs + forMs;) {
      await ask(1)
      const then = now
      now = performance.now()
      tookMs.push(now - then)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, asker))
  return asked(watch, tookMs)
}

export const askWithEffect = <E, R>(
  { forMs, inFlight }: Ask,
  ask: (by: number) => Effect.Effect<unknown, E, R>
): Effect.Effect<Figures, E, R> =>
  Effect.gen(function* () {
    const watch = stopwatch()
    const beganMs = performance.now()
    const tookMs: Array<number> = []
    const asker = Effect.gen(function* () {
      for (let now = beganMs; now < beganMs + forMs;) {
        yield* ask(1)
        const then = now
        now = performance.now()
        tookMs.push(now - then)
      }
    })
    yield* Effect.all(
      Array.from({ length: inFlight }, () => asker),
      { concurrency: "unbounded", discard: true }
    )
    return asked(watch, tookMs)
  })

/** What an actor of the benchmark does: it adds, and answers with the sum. */
export interface Adder {
  readonly add: (by: number) => number
}

export const newAdder = (): Adder => {
  let total = 0
  return { add: (by) => (total += by) }
}

/** How many are sent before the sender waits. Less than any mailbox holds. */
const batch = 256

/** Adds, and tells who waits for a sum. */
export class Handled implements Adder {
  #count = 0
  #awaited = Number.POSITIVE_INFINITY
  #reached: () => void = () => {}

  add(by: number): number {
    this.#count += by
    if (this.#count >= this.#awaited) {
      this.#awaited = Number.POSITIVE_INFINITY
      this.#reached()
    }
    return this.#count
  }

  get count() {
    return this.#count
  }

  /** Calls back when there are so many, at once when there are. One waiter at a time. */
  when(count: number, reached: () => void): void {
    if (this.#count >= count) return reached()
    this.#awaited = count
    this.#reached = reached
  }
}

export const tellWithPromises = async (
  { forMs }: Tell,
  handled: Handled,
  tell: (by: number) => void
): Promise<Figures> => {
  const before = handled.count
  const watch = stopwatch()
  const beganMs = performance.now()
  while (performance.now() < beganMs + forMs) {
    const awaited = handled.count + batch
    for (let sent = 0; sent < batch; sent++) tell(1)
    await new Promise<void>((resolve) => handled.when(awaited, resolve))
  }
  return watch.rates(handled.count - before)
}

export const tellWithEffect = <E, R>(
  { forMs }: Tell,
  handled: Handled,
  tell: (by: number) => Effect.Effect<unknown, E, R>
): Effect.Effect<Figures, E, R> =>
  Effect.gen(function* () {
    const before = handled.count
    const watch = stopwatch()
    const beganMs = performance.now()
    while (performance.now() < beganMs + forMs) {
      const awaited = handled.count + batch
      for (let sent = 0; sent < batch; sent++) yield* tell(1)
      if (handled.count < awaited) {
        yield* Effect.callback<void>((resume) => handled.when(awaited, () => resume(Effect.void)))
      }
    }
    return watch.rates(handled.count - before)
  })

/** The heap after everything that can go has gone. */
export const heapBytes = async (): Promise<number> => {
  for (let times = 0; times < 3; times++) {
    await new Promise((resolve) => setImmediate(resolve))
    globalThis.gc?.()
  }
  return process.memoryUsage().heapUsed
}
