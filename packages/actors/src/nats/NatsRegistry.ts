/**
 * `Registry` on JetStream KV. One stream per bucket, history 1, on disk; every call ends within `callMs`.
 *
 * Guarantees what `Registry` says, also where the client does not: a get is answered by the stream's leader; a stream that is not there is told from a key
 * that is not there; a watch fails when the connection breaks; and a bucket that vanished with the server's store is made
 * again, empty, by the next call, with revisions from 1 (epochs carry the registry's id for that).
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { headers, type KV, type NatsError } from "nats"
import { KeyConflict, RegistryUnavailable } from "../ActorError.ts"
import type { Id } from "../Address.ts"
import { type Bucket, type BucketOptions, type Entry, Registry } from "../Registry.ts"
import { kvChanges } from "./kvChanges.ts"
import { kvCopy } from "./kvCopy.ts"
import { NatsConnection } from "./NatsConnection.ts"
import { complain, explained, type Replicated, replicasOf } from "./replicas.ts"

export interface NatsRegistryOptions extends Replicated {
  readonly cluster: Id
}

const callMs = 2_000
/** A removed key leaves a marker, so that watchers see the removal; it is deleted this much later. */
const markerMs = 30_000

/** Server error codes (`err_code`). */
const wrongLastSequence = 10071
const noMessageFound = 10037
const streamNotFound = 10059
const streamNameInUse = 10058

export const layer = (options: NatsRegistryOptions): Layer.Layer<Registry, never, NatsConnection> =>
  Layer.effect(
    Registry,
    Effect.gen(function* () {
      const connection = yield* NatsConnection
      const scope = yield* Effect.scope
      return {
        bucket: (name, bucketOptions) => openBucket(connection, scope, options, name, bucketOptions ?? {})
      }
    })
  )

/** What may go wrong in a call, before it is told apart: `missing` is the stream, and means not executed. */
type CallError =
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Exists" }
  | { readonly _tag: "Other"; readonly reason: string }

const callError = (cause: unknown): CallError => {
  const error: Partial<NatsError> = cause instanceof Error ? cause : {}
  switch (error.api_error?.err_code) {
    case wrongLastSequence:
      return { _tag: "Conflict" }
    case noMessageFound:
      return { _tag: "Absent" }
    case streamNotFound:
      return { _tag: "Missing" }
    case streamNameInUse:
      return { _tag: "Exists" }
    case undefined:
      // Nobody listens on the bucket's subject: there is no such stream.
      if (error.code === "503") return { _tag: "Missing" }
  }
  return { _tag: "Other", reason: explained(error.message ?? String(cause), error.api_error?.err_code) }
}

const openBucket = Effect.fnUntraced(function* (
  connection: NatsConnection["Service"],
  scope: Scope.Scope,
  options: NatsRegistryOptions,
  name: string,
  { ttlMs }: BucketOptions
): Effect.fn.Return<Bucket, RegistryUnavailable> {
  const bucket = `ebb_${options.cluster}_${name}`
  const stream = `KV_${bucket}`
  const js = connection.client.jetstream({ timeout: callMs })
  const jsm = yield* Effect.promise(() =>
    connection.client.jetstreamManager({ timeout: callMs, checkAPI: false })
  )
  const unavailable = (reason: string) => new RegistryUnavailable({ reason: `${reason} (bucket ${bucket})` })

  const call = <A>(run: () => Promise<A>): Effect.Effect<A, CallError | RegistryUnavailable> =>
    Effect.suspend((): Effect.Effect<A, CallError | RegistryUnavailable> =>
      connection.isConnected()
        ? Effect.tryPromise({ try: run, catch: callError })
        : unavailable("not connected to NATS")
    )

  const absent = { Absent: () => Effect.die(new Error("BUG: only a get finds a key absent")) }
  const noConflict = { Conflict: () => Effect.die(new Error("BUG: only a write conflicts")) }

  const open: Effect.Effect<KV, RegistryUnavailable> = Effect.gen(function* () {
    const view = call(() =>
      js.views.kv(bucket, {
        history: 1,
        replicas: replicasOf(connection, options),
        // Direct gets may be answered by a follower that lags behind.
        allow_direct: false,
        ...(ttlMs === undefined ? {} : { ttl: ttlMs })
      })
    )
    const kv = yield* view.pipe(
      // Two nodes that start at once may both find it missing, with settings of two versions.
      Effect.catchTag("Exists", () => view)
    )
    const status = yield* call(() => kv.status())
    if (status.ttl !== (ttlMs ?? 0)) {
      return yield* unavailable(`its TTL is ${status.ttl} ms and not ${ttlMs ?? 0} ms`)
    }
    yield* complain(`bucket ${bucket}`, status.replicas, options)
    return kv
  }).pipe(
    Effect.catchTags({
      Missing: () => Effect.fail(unavailable("JetStream is not enabled: start nats-server with -js")),
      Exists: () => Effect.fail(unavailable("it is being made with other settings by somebody else")),
      Other: ({ reason }) => Effect.fail(unavailable(reason)),
      ...noConflict,
      ...absent
    }),
    Effect.timeoutOrElse({
      duration: callMs,
      orElse: () => Effect.fail(unavailable(`no answer in ${callMs} ms`))
    })
  )

  const kv = yield* open

  /** Makes the bucket again when it is missing; what failed so was not executed. */
  const healing = <A>(run: () => Promise<A>) => {
    const once = call(run)
    return once.pipe(
      Effect.catchTag("Missing", () => Effect.andThen(open, once)),
      Effect.catchTags({
        Missing: () => Effect.fail(unavailable("it vanished")),
        Exists: () => Effect.fail(unavailable("it is being made with other settings by somebody else")),
        Other: ({ reason }) => Effect.fail(unavailable(reason))
      }),
      Effect.timeoutOrElse({
        duration: callMs,
        orElse: () => Effect.fail(unavailable(`no answer in ${callMs} ms`))
      })
    )
  }

  const write = (key: string, run: () => Promise<number>) =>
    healing(run).pipe(Effect.catchTags({ ...absent, Conflict: () => Effect.fail(new KeyConflict({ key })) }))

  const late = () => unavailable(`no answer in ${callMs} ms`)
  const watched = kvChanges(connection, kv, unavailable)

  const readAll = watched.pipe(
    Stream.takeUntil((change) => change._tag === "Caught"),
    Stream.runFold(
      () => new Map<string, Entry>(),
      (live, change) => {
        if (change._tag === "Put") live.set(change.entry.key, change.entry)
        else if (change._tag === "Removed") live.delete(change.key)
        return live
      }
    ),
    Effect.map((live) => [...live.values()]),
    Effect.timeoutOrElse({ duration: callMs, orElse: () => Effect.fail(late()) })
  )
  const position = healing(() => jsm.streams.info(stream)).pipe(
    Effect.map(({ created, state }) => ({ store: String(created), revision: state.last_seq })),
    Effect.catchTags({ ...absent, ...noConflict })
  )
  const entries =
    ttlMs === undefined
      ? yield* Scope.provide(kvCopy({ position, changes: watched, waitMs: callMs, late }), scope)
      : // Nothing says that a key expired. So what is there is read each time: that bucket is small. A watch does not say why it could not
        // be made; whoever only reads finds a bucket that was lost empty, not missing for ever.
        Effect.catch(readAll, () => Effect.andThen(open, readAll))

  return {
    get: (key) =>
      healing(() => jsm.streams.getMessage(stream, { last_by_subj: `$KV.${bucket}.${key}` })).pipe(
        Effect.map((message) =>
          message.header.get("KV-Operation") === ""
            ? { key, value: message.data, revision: message.seq }
            : undefined
        ),
        Effect.catchTags({ ...noConflict, Absent: () => Effect.succeed(undefined) })
      ),
    create: (key, value) => write(key, () => kv.create(key, value)),
    update: (key, value, revision) => write(key, () => kv.update(key, value, revision)),
    remove: (key, revision) =>
      write(key, async () => {
        const mark = headers()
        mark.set("KV-Operation", "DEL")
        const ack = await js.publish(`$KV.${bucket}.${key}`, new Uint8Array(), {
          headers: mark,
          expect: { lastSubjectSequence: revision }
        })
        return ack.seq
      }).pipe(
        Effect.flatMap((marker) =>
          // A bucket with a TTL forgets markers by itself; any other would keep one for every key there ever was.
          ttlMs === undefined
            ? Effect.sleep(markerMs).pipe(
                Effect.andThen(call(() => jsm.streams.deleteMessage(stream, marker, false))),
                Effect.ignore,
                Effect.forkIn(scope),
                Effect.asVoid
              )
            : Effect.void
        )
      ),
    entries,
    changes: Stream.unwrap(Effect.as(open, watched))
  }
})
