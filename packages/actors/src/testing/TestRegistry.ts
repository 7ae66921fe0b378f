/**
 * `Registry` in memory: several processes share one store, as they share one nats-server's JetStream. Expiry is on the
 * clock of the test and announced to nobody. A process that is disconnected on the bus finds the registry unavailable.
 *
 * The faults are the ones a real server has: a reply lost after the write was done, a server that hangs and does what it was
 * sent later, and a store that is lost, with revisions from 1 again.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { KeyConflict, RegistryUnavailable } from "../ActorError.ts"
import { type Bucket, type Change, type Entry, Registry } from "../Registry.ts"
import { seededRandom } from "./seededRandom.ts"
import type { TestBus } from "./TestBus.ts"

export interface TestRegistry {
  readonly connect: (process: string) => Registry["Service"]
  readonly layer: (process: string) => Layer.Layer<Registry>
  /** The next write of this process is done, and its reply lost. */
  readonly loseNextReply: (process: string) => Effect.Effect<void>
  /** The next write of this process finds the registry unavailable, and is done so much later all the same. */
  readonly delayNextWrite: (process: string, millis: number) => Effect.Effect<void>
  /** Writes fail at once, and are not done, while reads are answered: a disk that is full. */
  readonly refuseWrites: (refuse: boolean) => Effect.Effect<void>
  /** From now on each call of the process takes that long, in milliseconds: least and most, on its way there and back each. */
  readonly slowDown: (process: string, millis: readonly [number, number]) => Effect.Effect<void>
  /** From now on calls time out; what they would have written is written on `resume`, as after SIGSTOP and SIGCONT. */
  readonly hang: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Watches lag: what changes from now on is told to them when they lag no more. */
  readonly lagWatches: (lag: boolean) => Effect.Effect<void>
  /** All buckets are gone; they are made again, empty, when next used. Watches break. */
  readonly loseStore: Effect.Effect<void>
}

export interface TestRegistryOptions {
  /** Of the delays. Default 1. */
  readonly seed?: number
  /** Told of each write that is done, when it is done, whatever becomes of its reply. `value` is undefined for a removal. */
  readonly onWrite?: (write: {
    readonly process: string
    readonly bucket: string
    readonly key: string
    readonly value: Uint8Array | undefined
    readonly revision: number
    /** When it was sent, in milliseconds of the clock. */
    readonly sentMs: number
  }) => void
}

/** As NatsRegistry: how long a call waits for its answer. */
const callMs = 2_000

interface Slot {
  /** undefined: removed. */
  readonly value: Uint8Array | undefined
  readonly revision: number
  readonly expiresAtMs: number
}

/** One bucket's content, as the server holds it. */
interface Store {
  readonly slots: Map<string, Slot>
  revision: number
  readonly watches: Set<(change: Change | "broken") => void>
}

export const make = Effect.fnUntraced(function* (
  bus: TestBus,
  { onWrite, seed = 1 }: TestRegistryOptions = {}
): Effect.fn.Return<TestRegistry> {
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context())
  const stores = new Map<string, Store>()
  const repliesToLose = new Set<string>()
  const delays = new Map<string, number>()
  const slow = new Map<string, readonly [number, number]>()
  const random = seededRandom(seed)
  let backlog: Array<() => void> | undefined
  let writesRefused = false
  let untold: Array<() => void> | undefined

  const storeOf = (name: string): Store => {
    const store = stores.get(name) ?? { slots: new Map(), revision: 0, watches: new Set() }
    stores.set(name, store)
    return store
  }

  const live = (store: Store, key: string): Slot | undefined => {
    const slot = store.slots.get(key)
    return slot !== undefined && slot.expiresAtMs > clock.currentTimeMillisUnsafe() ? slot : undefined
  }

  /** undefined: `expected` was not the key's last revision; 0 stands for a key that is not there. */
  const write = (
    store: Store,
    key: string,
    value: Uint8Array | undefined,
    expected: number,
    ttlMs: number
  ) => {
    const slot = live(store, key)
    const last = slot === undefined || (expected === 0 && slot.value === undefined) ? 0 : slot.revision
    if (last !== expected) return undefined
    const revision = ++store.revision
    store.slots.set(key, { value, revision, expiresAtMs: clock.currentTimeMillisUnsafe() + ttlMs })
    const change: Change =
      value === undefined
        ? { _tag: "Removed", key, revision }
        : { _tag: "Put", entry: { key, value, revision } }
    // A watch that begins later begins with it.
    const watching = [...store.watches]
    const tell = () => {
      for (const watch of watching) if (store.watches.has(watch)) watch(change)
    }
    if (untold === undefined) tell()
    else untold.push(tell)
    return revision
  }

  const entriesOf = (store: Store): ReadonlyArray<Entry> =>
    [...store.slots.keys()].flatMap((key) => {
      const slot = live(store, key)
      return slot?.value === undefined ? [] : [{ key, value: slot.value, revision: slot.revision }]
    })

  /** One call: refused while disconnected, done when the server gets to it, known only if the reply arrives in time. */
  const call = <A>(process: string, run: () => A): Effect.Effect<A, RegistryUnavailable> =>
    Effect.suspend(() => {
      if (!bus.isConnected(process)) return new RegistryUnavailable({ reason: "not connected" })
      const isOnline = bus.isOnline(process)
      const between = slow.get(process)
      if (backlog === undefined && between === undefined && isOnline) return Effect.sync(run)
      const way = (onward: () => void) => {
        if (between === undefined) return onward()
        const [least, most] = between
        fork(Effect.andThen(Effect.sleep(least + random() * (most - least)), Effect.sync(onward)))
      }
      return Effect.callback<A>((resume) => {
        if (!isOnline) return
        const atServer = () => {
          const answer = Effect.succeed(run())
          way(() => {
            if (bus.isOnline(process)) bus.arrive(process, () => resume(answer))
          })
        }
        way(() => (backlog === undefined ? atServer() : void backlog.push(atServer)))
      }).pipe(
        Effect.timeoutOrElse({
          duration: callMs,
          orElse: () => new RegistryUnavailable({ reason: `no answer in ${callMs} ms` })
        })
      )
    })

  const callToWrite = (process: string, key: string, run: () => number | undefined) =>
    Effect.suspend((): Effect.Effect<number | undefined, RegistryUnavailable> => {
      if (writesRefused) return new RegistryUnavailable({ reason: "no space left" })
      const delayMs = delays.get(process)
      if (delayMs === undefined) return call(process, run)
      delays.delete(process)
      // In the server, whatever becomes of the process.
      fork(Effect.andThen(Effect.sleep(delayMs), Effect.sync(run)))
      return new RegistryUnavailable({ reason: "the connection broke" })
    }).pipe(
      Effect.flatMap((revision): Effect.Effect<number, KeyConflict | RegistryUnavailable> => {
        if (repliesToLose.delete(process)) return new RegistryUnavailable({ reason: "the reply was lost" })
        return revision === undefined ? new KeyConflict({ key }) : Effect.succeed(revision)
      })
    )

  const bucketOf = (process: string, name: string, ttlMs: number): Bucket => {
    const put = (key: string, value: Uint8Array | undefined, expected: number) =>
      Effect.suspend(() => {
        const sentMs = clock.currentTimeMillisUnsafe()
        return callToWrite(process, key, () => {
          const revision = write(storeOf(name), key, value, expected, ttlMs)
          if (revision !== undefined) onWrite?.({ process, bucket: name, key, value, revision, sentMs })
          return revision
        })
      })
    return {
      get: (key) =>
        call(process, () => {
          const slot = live(storeOf(name), key)
          return slot?.value === undefined ? undefined : { key, value: slot.value, revision: slot.revision }
        }),
      create: (key, value) => put(key, value, 0),
      update: put,
      remove: (key, revision) => Effect.asVoid(put(key, undefined, revision)),
      entries: call(process, () => entriesOf(storeOf(name))),
      changes: Stream.interruptWhen(
        Stream.callback<Change, RegistryUnavailable>((queue) =>
          Effect.gen(function* () {
            const broken = new RegistryUnavailable({ reason: "the watch broke" })
            const watch = (change: Change | "broken") =>
              bus.arrive(process, () => {
                if (change === "broken") Queue.failCauseUnsafe(queue, Cause.fail(broken))
                else Queue.offerUnsafe(queue, change)
              })
            const watches = yield* call(process, () => {
              const store = storeOf(name)
              for (const entry of entriesOf(store)) watch({ _tag: "Put", entry })
              watch({ _tag: "Caught" })
              store.watches.add(watch)
              return store.watches
            })
            yield* Effect.addFinalizer(() => Effect.sync(() => watches.delete(watch)))
          })
        ),
        bus
          .awaitDisconnect(process)
          .pipe(Effect.andThen(new RegistryUnavailable({ reason: "the connection broke" })))
      )
    }
  }

  const connect = (process: string): Registry["Service"] => ({
    bucket: (name, options) =>
      call(process, () => {
        storeOf(name)
        return bucketOf(process, name, options?.ttlMs ?? Number.POSITIVE_INFINITY)
      })
  })

  return {
    connect,
    layer: (process) => Layer.sync(Registry, () => connect(process)),
    loseNextReply: (process) => Effect.sync(() => repliesToLose.add(process)),
    delayNextWrite: (process, millis) => Effect.sync(() => delays.set(process, millis)),
    slowDown: (process, millis) => Effect.sync(() => slow.set(process, millis)),
    refuseWrites: (refuse) =>
      Effect.sync(() => {
        writesRefused = refuse
      }),
    hang: Effect.sync(() => {
      backlog ??= []
    }),
    resume: Effect.sync(() => {
      const waiting = backlog ?? []
      backlog = undefined
      for (const run of waiting) run()
    }),
    lagWatches: (lag) =>
      Effect.sync(() => {
        const late = untold ?? []
        untold = lag ? late : undefined
        if (!lag) for (const tell of late) tell()
      }),
    loseStore: Effect.sync(() => {
      const lost = [...stores.values()]
      stores.clear()
      for (const store of lost) for (const watch of store.watches) watch("broken")
    })
  }
})
