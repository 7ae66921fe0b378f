/**
 * One node's lease, as its holder sees it. Owns its renewal and the answer to "may this process act for the cluster now?". One
 * writer per key: everything a node wants known of it goes through `publish`.
 *
 * Guarantees that a process whose `assertFresh` succeeds is called dead by nobody for another `marginMs`, also when it was
 * just stopped for an hour; and that only a lease of another incarnation ends it: a record that cannot be read isolates it until
 * its own is there again. Leaves to the owner of each directory entry to verify it after `resumed`.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { NodeIdHeld, NodeIsolated, type RegistryUnavailable, Superseded } from "./ActorError.ts"
import type { Epoch, Id, Incarnation } from "./Address.ts"
import { type Holder, leaseKey, type WriteOutcome } from "./internal/leaseKey.ts"
import { monotonicMillis, monotonicUnsafe } from "./internal/monotonic.ts"
import { directoryBucket, readRegistryId } from "./internal/registryId.ts"
import { instruments, observableCounter, observableGauge } from "./Metrics.ts"
import { encodeNodeLease, leaseBucket, LeaseTimes, type NodeLeaseBody } from "./NodeLease.ts"
import { Registry } from "./Registry.ts"

export interface HeldLease {
  readonly nodeId: Id
  readonly incarnation: Incarnation
  /** Replaces what the lease says. Returns at once; several in a row are written as one. */
  readonly publish: (body: NodeLeaseBody) => Effect.Effect<void>
  /** Returns once what was published last is in the registry, however long this process is isolated. */
  readonly published: Effect.Effect<void>
  /** Of the key's creation. Another one after it had to be created again. */
  readonly epoch: Effect.Effect<Epoch>
  readonly status: Effect.Effect<"connected" | "isolated">
  /** Begins with the present one. */
  readonly statusChanges: Stream.Stream<"connected" | "isolated">
  /**
   * After each time this process was isolated, or found its key gone, and holds it again. Others may have acted meanwhile:
   * whoever owns a directory entry verifies it.
   */
  readonly resumed: Stream.Stream<Epoch>
  /**
   * Calls back, synchronously, at the end of each lapse, before this process may act for the cluster again: whatever was claimed before
   * may be another's, until it is verified after `resumed`.
   */
  readonly onLapse: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  /** Returns when another incarnation holds this node id. This process has to end. */
  readonly superseded: Effect.Effect<Superseded>
  /** For before each side effect that leaves the node. Compares clocks, so it is right also just after SIGSTOP. */
  readonly assertFresh: Effect.Effect<void, NodeIsolated>
  /** Monotonic milliseconds since when it was renewed without a lapse; undefined while isolated. */
  readonly unbrokenSince: Effect.Effect<number | undefined>
}

export interface HoldOptions {
  readonly nodeId: Id
  readonly incarnation: Incarnation
  readonly initial: NodeLeaseBody
}

/** What is published within this time is written as one. */
const debounceMs = 50
/** After a renewal that failed, and between two looks at a node id that is held: this part of `renewMs`. */
const againPart = 4
/**
 * How many times a record under its id that cannot be read is replaced, before a whole TTL has passed without one: two writers would go on
 * for ever. After that it waits for the key to expire.
 */
const replacementsMax = 5

type Written = Extract<WriteOutcome, { readonly _tag: "Written" }>

/** Takes the node id and holds it until the scope closes; that removes the key. */
export const hold = Effect.fnUntraced(function* (
  options: HoldOptions
): Effect.fn.Return<HeldLease, NodeIdHeld | RegistryUnavailable, Registry | Scope.Scope> {
  const { nodeId, incarnation } = options
  const times = yield* LeaseTimes
  const { ttlMs, renewMs } = times
  /** How long after it was sent a renewal lets this process act. */
  const freshMs = ttlMs - times.marginMs
  const registry = yield* Registry
  const leases = yield* registry.bucket(leaseBucket, { ttlMs })
  const directory = yield* registry.bucket(directoryBucket)
  const key = leaseKey(leases, nodeId, incarnation)

  let body = options.initial
  /** Counts what was published; `confirmed` is how much of it is in the registry. */
  let wanted = 1
  const confirmed = yield* SubscriptionRef.make(0)
  const status = yield* SubscriptionRef.make<"connected" | "isolated">("connected")
  const resumed = yield* PubSub.unbounded<Epoch>()
  const superseded = yield* Deferred.make<Superseded>()
  const nudge = yield* Queue.sliding<void>(1)
  const value = () => encodeNodeLease({ ...body, v: 1, node: nodeId, inc: incarnation })

  // Before the first write: one that is interrupted may have been done all the same.
  yield* Effect.addFinalizer(() => key.remove.pipe(Effect.timeoutOption("3 seconds"), Effect.ignore))
  const first = yield* take(key, nodeId, value(), times)
  let epoch: Epoch = { registry: yield* readRegistryId(directory), revision: first.revision }
  let sentAt = first.sentAt
  let unbrokenSince = sentAt
  let lapsed = false
  const lapseListeners = new Set<() => void>()
  let replacements = 0
  yield* SubscriptionRef.set(confirmed, wanted)
  const renewed = { ok: 0, failed: 0, refused: 0 }
  for (const outcome of ["ok", "failed", "refused"] as const) {
    yield* observableCounter(instruments.leaseRenewals, { outcome }, () => renewed[outcome])
  }
  const nowUnsafe = yield* monotonicUnsafe
  yield* observableGauge(instruments.leaseAge, {}, () => (nowUnsafe() - sentAt) / 1_000)

  const isolate = Effect.fnUntraced(function* (why: string) {
    lapsed = true
    if ((yield* SubscriptionRef.getAndSet(status, "isolated")) === "isolated") return
    yield* Effect.logWarning(`node '${nodeId}' is isolated: ${why}`)
  })
  const isolateStale = isolate(`its lease was not renewed for ${freshMs} ms`)

  const isStale = Effect.map(monotonicMillis, (now) => now - sentAt >= freshMs)

  const confirm = Effect.fnUntraced(function* (written: Written, version: number) {
    // Nobody may have looked in between: a stopped process renews before any of its timers has said that it is late.
    if (written.created || written.sentAt - sentAt >= freshMs) lapsed = true
    if (lapsed) for (const listener of lapseListeners) listener()
    sentAt = written.sentAt
    yield* SubscriptionRef.set(confirmed, version)
    if (!lapsed) {
      if (written.sentAt - unbrokenSince >= ttlMs) replacements = 0
      return
    }
    // Read after the write: should the store be lost in between, the next renewal finds the key gone and comes here again.
    epoch = { registry: yield* readRegistryId(directory), revision: written.revision }
    unbrokenSince = written.sentAt
    lapsed = false
    yield* SubscriptionRef.set(status, "connected")
    yield* PubSub.publish(resumed, epoch)
    yield* Effect.logInfo(`node '${nodeId}' holds its lease again`)
  })

  const takeBack = Effect.fnUntraced(function* (revision: number) {
    yield* isolate("its lease was overwritten by something that cannot be read")
    if (replacements > replacementsMax) return
    replacements += 1
    if (replacements > replacementsMax) {
      return yield* Effect.logError(
        `the lease of node '${nodeId}' was overwritten ${replacements} times: it serves on, and waits until that has ended. Who writes there?`
      )
    }
    yield* Effect.logWarning(
      `node '${nodeId}' writes its lease again (${replacements} of ${replacementsMax})`
    )
    yield* key.replace(revision)
  })

  /** In how many milliseconds it is to be renewed again. */
  const renew = Effect.gen(function* () {
    const version = wanted
    const outcome = yield* key.write(value())
    renewed[outcome._tag === "Written" ? "ok" : "refused"]++
    if (outcome._tag === "Written") return yield* Effect.as(confirm(outcome, version), renewMs)
    if (outcome._tag === "Unreadable")
      return yield* Effect.as(takeBack(outcome.revision), renewMs / againPart)
    const by = { node: nodeId, incarnation: outcome.holder.incarnation }
    yield* isolate("its node id was taken")
    yield* Effect.logError(
      `node id '${nodeId}' was taken by incarnation ${by.incarnation}: this process has to end`
    )
    yield* Deferred.succeed(superseded, new Superseded({ kind: "node", id: nodeId, by }))
    return renewMs
  })

  const renewals = Effect.gen(function* () {
    let waitMs = renewMs
    while (!(yield* Deferred.isDone(superseded))) {
      yield* Effect.race(Effect.sleep(waitMs), Effect.andThen(Queue.take(nudge), Effect.sleep(debounceMs)))
      // What was published until here goes with this write.
      yield* Queue.clear(nudge)
      waitMs = yield* renew.pipe(
        Effect.tapError(() => Effect.sync(() => renewed.failed++)),
        Effect.catch((error) =>
          Effect.as(Effect.logDebug(`renewing the lease: ${error.message}`), renewMs / againPart)
        )
      )
    }
  })

  const watchdog = Effect.gen(function* () {
    const left = sentAt + freshMs - (yield* monotonicMillis)
    if (left > 0) return yield* Effect.sleep(left)
    yield* isolateStale
    yield* SubscriptionRef.changes(status).pipe(
      Stream.filter((state) => state === "connected"),
      Stream.runHead
    )
  })

  yield* Effect.forkScoped(renewals)
  yield* Effect.forkScoped(Effect.forever(watchdog))

  return {
    nodeId,
    incarnation,
    publish: (next) =>
      Effect.sync(() => {
        body = next
        wanted += 1
        Queue.offerUnsafe(nudge, undefined)
      }),
    published: Effect.suspend(() => {
      const version = wanted
      return SubscriptionRef.changes(confirmed).pipe(
        Stream.filter((done) => done >= version),
        Stream.runHead,
        Effect.asVoid
      )
    }),
    epoch: Effect.sync(() => epoch),
    status: SubscriptionRef.get(status),
    statusChanges: SubscriptionRef.changes(status),
    resumed: Stream.fromPubSub(resumed),
    onLapse: (listener) =>
      Effect.acquireRelease(
        Effect.sync(() => lapseListeners.add(listener)),
        () => Effect.sync(() => lapseListeners.delete(listener))
      ),
    superseded: Deferred.await(superseded),
    assertFresh: Effect.gen(function* () {
      if (yield* isStale) yield* isolateStale
      if (SubscriptionRef.getUnsafe(status) === "isolated") return yield* new NodeIsolated({ nodeId })
    }),
    unbrokenSince: Effect.gen(function* () {
      return lapsed || (yield* isStale) ? undefined : unbrokenSince
    })
  }
})

/** Of a lease that cannot be read: held by somebody, by a later version perhaps. */
const unreadable: Holder = { incarnation: "unreadable", host: "an unknown host", pid: 0 }

/**
 * Creates the key. When another incarnation holds it, waits: a predecessor that was killed leaves a lease which ends
 * `ttlMs` after its last renewal. One that is renewed meanwhile is alive.
 */
const take = Effect.fnUntraced(function* (
  key: ReturnType<typeof leaseKey>,
  nodeId: Id,
  value: Uint8Array,
  { ttlMs, renewMs, marginMs }: LeaseTimes
): Effect.fn.Return<Written, NodeIdHeld | RegistryUnavailable> {
  const lookMs = renewMs / againPart
  const startedAt = yield* monotonicMillis
  let seen: number | undefined
  while (true) {
    const outcome = yield* key.write(value)
    if (outcome._tag === "Written") return outcome
    const { incarnation, host, pid } = outcome._tag === "Foreign" ? outcome.holder : unreadable
    const left = startedAt + ttlMs + marginMs - (yield* monotonicMillis)
    if (left <= 0 || (seen ?? outcome.revision) !== outcome.revision) {
      return yield* new NodeIdHeld({ nodeId, incarnation, host, pid })
    }
    if (seen === undefined || Math.round(left / lookMs) % 5 === 0) {
      yield* Effect.logInfo(
        `node id '${nodeId}' was held by process ${pid} on ${host}; waiting for that lease to end, at most ${Math.ceil(left / 1_000)} s`
      )
    }
    seen = outcome.revision
    yield* Effect.sleep(lookMs)
  }
})
