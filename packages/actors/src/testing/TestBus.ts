/**
 * `Transport` in memory: several processes share one bus, as they share one nats-server. Seeded, under the clock of the
 * test, with faults that can be switched on and off. The contract suite that runs on NATS runs on this.
 *
 * Frames of one process to another keep their order whatever their delay; a disconnected process sends and receives nothing,
 * and its subscriptions are back when it is. Runs nothing of a paused process: what would reach it waits. Leaves its timers, and
 * fibers that were about to run, to whoever drives its clock.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { seededRandom } from "./seededRandom.ts"
import { type Frame, Transport, TransportError } from "../Transport.ts"

/** What happens to frames that match. All of `from`, `to`, `subject` and `kind` that are given must match. */
export interface Fault {
  readonly from?: string
  readonly to?: string
  readonly subject?: RegExp
  readonly kind?: "request" | "answer" | "publish"
  /** Probability of never arriving. A `drop` of 1 between two processes is a partition. */
  readonly drop?: number
  /** Probability of arriving twice. */
  readonly duplicate?: number
  /** Milliseconds on the way: least and most. */
  readonly delayMs?: readonly [number, number]
  /** Requests are answered as if nobody listened. */
  readonly noListener?: boolean
  /** Arrives marked as having waited while the process that gets it was paused. */
  readonly stale?: boolean
}

export interface TestBus {
  /** A process of that name; the same name twice is the same process. */
  readonly connect: (name: string) => Effect.Effect<Transport["Service"]>
  readonly layer: (name: string) => Layer.Layer<Transport>
  /** Adds a fault until the scope closes. */
  readonly fault: (fault: Fault) => Effect.Effect<void, never, Scope.Scope>
  readonly disconnect: (name: string) => Effect.Effect<void>
  readonly reconnect: (name: string) => Effect.Effect<void>
  /** As SIGSTOP: frames, answers and news of its connection wait for it. Nothing that runs in it may be run meanwhile. */
  readonly pause: (name: string) => Effect.Effect<void>
  /** As SIGCONT: all that has waited arrives at once, in order. Frames are marked stale if the pause lasted over a second. */
  readonly resume: (name: string) => Effect.Effect<void>
  /** As the process sees it: one that was paused while it lost its connection has yet to hear of it. */
  readonly isConnected: (name: string) => boolean
  /** False while whatever it sends is lost. */
  readonly isOnline: (name: string) => boolean
  /** For other services in memory: runs what reaches a process, now or when it is paused no more. */
  readonly arrive: (name: string, run: () => void) => void
  readonly awaitDisconnect: (name: string) => Effect.Effect<void>
}

export interface TestBusOptions {
  /** Default 1. */
  readonly seed?: number
  /** Default 1 MiB, as nats-server has it. */
  readonly maxPayload?: number
}

interface Subscription {
  readonly process: Process
  readonly pattern: ReadonlyArray<string>
  readonly queue: string | undefined
  readonly onFrame: (frame: Frame) => void
}

interface Process {
  readonly name: string
  /** The truth about its connection, and since when it believes to have it. */
  online: boolean
  since: number | undefined
  /** What has come while it is paused, and since when it is. */
  paused: { readonly atMs: number; readonly waiting: Array<(late: boolean) => void> } | undefined
  readonly connected: SubscriptionRef.SubscriptionRef<boolean>
}

interface Parcel {
  readonly atMs: number
  readonly to: Process
  readonly deliver: (late: boolean) => void
}

/** A pause of more is noticed by `NatsTransport`, which marks what had waited. */
const noticedPauseMs = 1_000

export const make = Effect.fnUntraced(function* (
  options: TestBusOptions = {}
): Effect.fn.Return<TestBus, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  /** What runs between processes runs on the clock of the world, whatever the clock of who sent it. */
  const fork = Effect.runForkWith(yield* Effect.context())
  const random = seededRandom(options.seed ?? 1)
  const maxPayload = options.maxPayload ?? 1024 * 1024
  const processes = new Map<string, Process>()
  const subscriptions = new Set<Subscription>()
  const faults = new Set<Fault>()
  const links = new Map<string, Queue.Queue<Parcel>>()

  const processOf = Effect.fnUntraced(function* (name: string) {
    const known = processes.get(name)
    if (known !== undefined) return known
    const process: Process = {
      name,
      online: true,
      since: instant(),
      paused: undefined,
      connected: yield* SubscriptionRef.make(true)
    }
    processes.set(name, process)
    return process
  })

  /** Monotonic milliseconds. No two are the same: by this a process tells one connection from the next. */
  let latest = Number.NEGATIVE_INFINITY
  const instant = () => {
    latest = Math.max(Number(clock.monotonicTimeNanosUnsafe() / 1_000n) / 1_000, latest + 0.001)
    return latest
  }

  const arrive = (process: Process, run: (late: boolean) => void) => {
    if (process.paused === undefined) run(false)
    else process.paused.waiting.push(run)
  }

  /** What a process learns of its connection, after all that came over it before. */
  const learn = (process: Process, connected: boolean) => {
    process.since = connected ? instant() : undefined
    fork(SubscriptionRef.set(process.connected, connected))
  }

  /** One queue and one fiber per direction between two processes: that keeps the order. */
  const linkOf = Effect.fnUntraced(function* (from: Process, to: Process) {
    const key = `${from.name} ${to.name}`
    const known = links.get(key)
    if (known !== undefined) return known
    const link = yield* Queue.unbounded<Parcel>()
    links.set(key, link)
    yield* Queue.take(link).pipe(
      Effect.flatMap((parcel) => {
        const wait = parcel.atMs - clock.currentTimeMillisUnsafe()
        const deliver = Effect.sync(() => {
          if (parcel.to.online) arrive(parcel.to, parcel.deliver)
        })
        return wait > 0 ? Effect.andThen(Effect.sleep(wait), deliver) : deliver
      }),
      Effect.forever,
      Effect.forkIn(scope)
    )
    return link
  })

  const send = Effect.fnUntraced(function* (
    from: Process,
    to: Process,
    subject: string,
    kind: "request" | "answer" | "publish",
    deliver: (late: boolean) => void
  ) {
    if (!from.online) return
    const active = matching(faults, from.name, to.name, subject, kind)
    if (active.some(({ drop }) => drop !== undefined && random() < drop)) return
    const delay = active.reduce(
      (sum, { delayMs: [least, most] = [0, 0] }) => sum + least + random() * (most - least),
      0
    )
    const copies = active.some(({ duplicate }) => duplicate !== undefined && random() < duplicate) ? 2 : 1
    const link = yield* linkOf(from, to)
    const parcel: Parcel = { atMs: clock.currentTimeMillisUnsafe() + delay, to, deliver }
    for (let copy = 0; copy < copies; copy++) Queue.offerUnsafe(link, parcel)
  })

  /** Every plain subscriber, and one member of each queue group. */
  const listenersOf = (subject: string): ReadonlyArray<Subscription> => {
    const tokens = subject.split(".")
    const plain: Array<Subscription> = []
    const groups = new Map<string, Array<Subscription>>()
    for (const subscription of subscriptions) {
      if (!subscription.process.online || !matches(subscription.pattern, tokens)) continue
      const group = subscription.queue === undefined ? plain : (groups.get(subscription.queue) ?? [])
      group.push(subscription)
      if (subscription.queue !== undefined) groups.set(subscription.queue, group)
    }
    return [
      ...plain,
      ...[...groups.values()].flatMap((group) => group.at(Math.floor(random() * group.length)) ?? [])
    ]
  }

  /** `stale` is said of a frame when it is sent, as all faults are. */
  const isStale = (from: Process, to: Process, subject: string, kind: "request" | "publish") =>
    matching(faults, from.name, to.name, subject, kind).some(({ stale }) => stale)

  const receive = (subscription: Subscription, frame: Frame) => (late: boolean) => {
    if (!subscriptions.has(subscription)) return
    // As behind NATS: a frame that was not handled is no fault of the sender, and of no other frame.
    try {
      subscription.onFrame(late ? { ...frame, stale: true } : frame)
    } catch (defect) {
      fork(Effect.logError(`BUG: a frame on ${frame.subject} was not handled`, defect))
    }
  }

  const connect = Effect.fnUntraced(function* (name: string): Effect.fn.Return<Transport["Service"]> {
    const self = yield* processOf(name)
    const refusal = (subject: string, data: Uint8Array) =>
      self.since === undefined
        ? new TransportError({ reason: "Disconnected", subject })
        : data.length > maxPayload
          ? new TransportError({ reason: "TooLarge", subject })
          : undefined

    return {
      publish: Effect.fnUntraced(function* (subject, data) {
        const refused = refusal(subject, data)
        if (refused !== undefined) return yield* refused
        for (const listener of listenersOf(subject)) {
          const stale = isStale(self, listener.process, subject, "publish")
          const frame: Frame = { subject, data, respond: undefined, stale }
          fork(send(self, listener.process, subject, "publish", receive(listener, frame)))
        }
      }),

      request: (subject, data, { timeoutMs }) =>
        Effect.callback<Uint8Array, TransportError>((resume) => {
          const refused = refusal(subject, data)
          const listeners = listenersOf(subject)
          if (refused !== undefined) return resume(refused)
          const unheard =
            listeners.length === 0 ||
            matching(faults, name, undefined, subject, "request").some(({ noListener }) => noListener)
          // Nor is that said to who is cut off and does not know it.
          if (unheard && self.online) {
            return resume(new TransportError({ reason: "NoListener", subject }))
          }
          for (const listener of listeners) {
            const respond = (answer: Uint8Array) => {
              if (!listener.process.online || answer.length > maxPayload) return
              const deliver = () => resume(Effect.succeed(answer))
              fork(send(listener.process, self, subject, "answer", deliver))
            }
            const stale = isStale(self, listener.process, subject, "request")
            const frame: Frame = { subject, data, respond, stale }
            fork(send(self, listener.process, subject, "request", receive(listener, frame)))
          }
        }).pipe(
          Effect.timeoutOrElse({
            duration: timeoutMs,
            orElse: () => new TransportError({ reason: "Timeout", subject })
          })
        ),

      subscribe: (subject, onFrame, subscribeOptions) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const subscription: Subscription = {
              process: self,
              pattern: subject.split("."),
              queue: subscribeOptions?.queue,
              onFrame
            }
            subscriptions.add(subscription)
            return subscription
          }),
          (subscription) => Effect.sync(() => subscriptions.delete(subscription))
        ).pipe(Effect.asVoid),

      connectedSince: Effect.sync(() => self.since),
      connected: SubscriptionRef.changes(self.connected)
    }
  })

  return {
    connect,
    layer: (name) => Layer.effect(Transport, connect(name)),
    fault: (fault) =>
      Effect.acquireRelease(
        Effect.sync(() => faults.add(fault)),
        () => Effect.sync(() => faults.delete(fault))
      ).pipe(Effect.asVoid),
    disconnect: Effect.fnUntraced(function* (name) {
      const process = yield* processOf(name)
      if (!process.online) return
      process.online = false
      arrive(process, () => learn(process, false))
    }),
    reconnect: Effect.fnUntraced(function* (name) {
      const process = yield* processOf(name)
      // One that is paused makes no connection before it goes on.
      arrive(process, () => {
        if (process.online) return
        process.online = true
        learn(process, true)
      })
    }),
    pause: Effect.fnUntraced(function* (name) {
      const process = yield* processOf(name)
      process.paused ??= { atMs: clock.currentTimeMillisUnsafe(), waiting: [] }
    }),
    resume: Effect.fnUntraced(function* (name) {
      const process = yield* processOf(name)
      if (process.paused === undefined) return
      const { atMs, waiting } = process.paused
      const late = clock.currentTimeMillisUnsafe() - atMs > noticedPauseMs
      // What comes in answer to this is behind what has waited.
      for (const run of waiting) run(late)
      process.paused = undefined
    }),
    arrive: (name, run) => {
      const process = processes.get(name)
      if (process === undefined) run()
      else arrive(process, run)
    },
    isConnected: (name) => !processes.has(name) || processes.get(name)?.since !== undefined,
    isOnline: (name) => processes.get(name)?.online ?? true,
    awaitDisconnect: (name) =>
      Effect.flatMap(processOf(name), (process) =>
        SubscriptionRef.changes(process.connected).pipe(
          Stream.filter((connected) => !connected),
          Stream.runHead,
          Effect.asVoid
        )
      )
  }
})

const matching = (
  faults: Iterable<Fault>,
  from: string,
  to: string | undefined,
  subject: string,
  kind: Fault["kind"]
): ReadonlyArray<Fault> =>
  [...faults].filter(
    (fault) =>
      (fault.from ?? from) === from &&
      (fault.to === undefined || to === undefined || fault.to === to) &&
      (fault.kind ?? kind) === kind &&
      (fault.subject?.test(subject) ?? true)
  )

/** Subjects as NATS matches them: `*` is one token, `>` at the end is one or more. */
const matches = (pattern: ReadonlyArray<string>, tokens: ReadonlyArray<string>): boolean => {
  for (const [index, expected] of pattern.entries()) {
    if (expected === ">") return tokens.length > index
    if (index >= tokens.length || (expected !== "*" && expected !== tokens[index])) return false
  }
  return pattern.length === tokens.length
}
