/** A cluster in memory: processes on one bus and one registry, each with leases and directory, under the test's clock. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { makeIncarnation } from "../src/Address.ts"
import { Directory } from "../src/Directory.ts"
import { type HeldLease, hold } from "../src/Lease.ts"
import { Leases } from "../src/Leases.ts"
import type { NodeLeaseBody } from "../src/NodeLease.ts"
import { type Bucket, Registry } from "../src/Registry.ts"
import { TestBus, TestRegistry } from "../src/testing/index.ts"

export const body = (more: Partial<NodeLeaseBody> = {}): NodeLeaseBody => ({
  proto: [1, 1],
  version: "v1",
  life: "Serving",
  admission: "open",
  host: "host-a",
  pid: 4711,
  startedAt: 1_780_000_000_000,
  rooms: 0,
  recordings: 0,
  ...more
})

export interface Process {
  readonly name: string
  readonly leases: Leases["Service"]
  readonly directory: Directory["Service"]
  readonly bucket: (name: string) => Effect.Effect<Bucket>
  /** Holds a lease under this process's name. */
  readonly hold: (incarnation?: string) => Effect.Effect<HeldLease, unknown, Scope.Scope>
  /** Runs on this process's clock. */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** As SIGSTOP and, at once on the clock of the world, SIGCONT: its clock jumps, and none of its timers has fired. */
  readonly stopFor: (millis: number) => Effect.Effect<void>
  /** As SIGSTOP: its timers and all that is sent to it wait. What is run on it before `cont` is the first it does after. */
  readonly stop: Effect.Effect<void>
  readonly cont: Effect.Effect<void>
}

export const makeCluster = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const registry = yield* TestRegistry.make(bus)

  const process = Effect.fnUntraced(function* (name: string): Effect.fn.Return<Process, never, Scope.Scope> {
    const clock = yield* stoppable
    const outside = Layer.merge(bus.layer(name), registry.layer(name))
    const context = yield* Layer.build(
      Directory.layer.pipe(Layer.provideMerge(Leases.layer), Layer.provideMerge(outside))
    ).pipe(Effect.provideService(Clock.Clock, clock), Effect.orDie)
    const options = (bucket: string) => (bucket === "leases" ? { ttlMs: 15_000 } : {})
    return {
      name,
      leases: Context.get(context, Leases),
      directory: Context.get(context, Directory),
      bucket: (bucket) => Effect.orDie(Context.get(context, Registry).bucket(bucket, options(bucket))),
      hold: (incarnation = makeIncarnation()) =>
        hold({ nodeId: name, incarnation, initial: body() }).pipe(
          Effect.provide(context),
          Effect.provideService(Clock.Clock, clock)
        ),
      run: Effect.provideService(Clock.Clock, clock),
      stopFor: (millis) => Effect.sync(() => clock.jump(millis)),
      stop: Effect.andThen(bus.pause(name), clock.running.close),
      cont: Effect.andThen(clock.running.open, bus.resume(name))
    }
  })

  return { bus, registry, process }
})

/** A process's own monotonic clock. Timers stay on the clock of the test, but fire only while it runs. */
const stoppable = Effect.map(Clock.Clock, (world) => {
  let aheadNanos = 0n
  const running = Latch.makeUnsafe(true)
  const monotonic = () => world.monotonicTimeNanosUnsafe() + aheadNanos
  const clock: Clock.Clock & {
    readonly jump: (millis: number) => void
    readonly running: Latch.Latch
  } = {
    running,
    currentTimeMillisUnsafe: () => world.currentTimeMillisUnsafe(),
    currentTimeMillis: world.currentTimeMillis,
    currentTimeNanosUnsafe: () => world.currentTimeNanosUnsafe(),
    currentTimeNanos: world.currentTimeNanos,
    monotonicTimeNanosUnsafe: monotonic,
    monotonicTimeNanos: Effect.sync(monotonic),
    sleep: (duration) => Effect.andThen(world.sleep(duration), running.await),
    jump: (millis) => {
      aheadNanos += BigInt(millis) * 1_000_000n
    }
  }
  return clock
})
