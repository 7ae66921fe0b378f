/**
 * Virtual time for a whole cluster in one thread: a clock and a scheduler for each process, all driven by one loop. Nothing runs but
 * in `settle` and `advance`, both synchronous, so that a run is the same each time and costs no turn of the event loop.
 *
 * A process that is paused runs nothing: its fibers wait, and its timers, however long they are due; its clock can be read.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

/** The clock and the scheduler of one process. */
export interface ProcessTime {
  readonly context: Context.Context<never>
  paused: boolean
  /** How many fibers of it sleep. */
  readonly sleepers: () => number
}

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly process: Time
  readonly fire: () => void
  cancelled: boolean
}

interface Time extends ProcessTime {
  readonly tasks: Array<() => void>
  /** Due while it was paused. */
  readonly overdue: Array<Timer>
  sleeping: number
}

export class VirtualTime {
  #nowMs = 0
  #order = 0
  readonly #timers: Array<Timer> = []
  readonly #processes: Array<Time> = []

  get nowMs(): number {
    return this.#nowMs
  }

  process(): ProcessTime {
    const time: Time = {
      tasks: [],
      overdue: [],
      paused: false,
      sleeping: 0,
      sleepers: () => time.sleeping,
      context: this.#contextOf(() => time)
    }
    this.#processes.push(time)
    return time
  }

  /** Forgets a process: whatever it still had to do is never done. */
  forget(process: ProcessTime): void {
    process.paused = true
    const at = this.#processes.findIndex((known) => known === process)
    if (at >= 0) this.#processes.splice(at, 1)
  }

  /** Runs what can run now. Throws when there is no end to it. */
  settle(): void {
    for (let turns = 0; turns < 5_000;) {
      let ran = false
      for (const process of this.#processes) {
        while (!process.paused && process.tasks.length > 0) {
          const tasks = process.tasks.splice(0)
          for (const [index, task] of tasks.entries()) {
            turns++
            task()
            // The task has paused its own process: the rest waits, in order.
            if (process.paused) {
              process.tasks.unshift(...tasks.slice(index + 1))
              break
            }
          }
          ran = true
        }
      }
      if (!ran) return
    }
    throw new Error("something runs for ever without any time passing")
  }

  /** Lets time pass, and runs what falls due, in order. */
  advance(millis: number): void {
    const end = this.#nowMs + millis
    this.settle()
    for (let next = this.#timers.at(-1); next !== undefined && next.atMs <= end; next = this.#timers.at(-1)) {
      this.#timers.pop()
      if (next.cancelled) continue
      this.#nowMs = next.atMs
      if (next.process.paused) next.process.overdue.push(next)
      else next.fire()
      this.settle()
    }
    this.#nowMs = end
  }

  /** What fell due while it was paused fires, in order. */
  fireOverdue(process: ProcessTime): void {
    const time = this.#processes.find((known) => known === process)
    for (const timer of time?.overdue.splice(0) ?? []) {
      if (!timer.cancelled) timer.fire()
      this.settle()
    }
  }

  #contextOf(process: () => Time): Context.Context<never> {
    const nanos = () => BigInt(Math.round(this.#nowMs * 1_000)) * 1_000n
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: () => this.#nowMs,
      currentTimeMillis: Effect.sync(() => this.#nowMs),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) => this.#sleep(process(), Duration.toMillis(duration))
    }
    const dispatcher: Scheduler.SchedulerDispatcher = {
      scheduleTask: (task) => void process().tasks.push(task),
      flush: () => this.settle()
    }
    const scheduler: Scheduler.Scheduler = {
      executionMode: "async",
      shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
      makeDispatcher: () => dispatcher
    }
    return Context.make(Clock.Clock, clock).pipe(Context.add(Scheduler.Scheduler, scheduler))
  }

  #sleep(process: Time, millis: number): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const timer: Timer = {
        // Whole milliseconds, and at least one, as of a real timer.
        atMs: this.#nowMs + Math.max(1, Math.trunc(millis)),
        order: this.#order++,
        process,
        cancelled: false,
        fire: () => {
          process.sleeping--
          timer.cancelled = true
          resume(Effect.void)
        }
      }
      process.sleeping++
      this.#insert(timer)
      return Effect.sync(() => {
        if (timer.cancelled) return
        timer.cancelled = true
        process.sleeping--
      })
    })
  }

  /** Latest first, so that the next one is popped; of the same moment the first that was set. */
  #insert(timer: Timer): void {
    let low = 0
    let high = this.#timers.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#timers[middle]?.atMs ?? 0) > timer.atMs) low = middle + 1
      else high = middle
    }
    this.#timers.splice(low, 0, timer)
  }
}
