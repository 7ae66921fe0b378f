/**
 * A KV watch as a stream: what is there, `Caught`, then every change; it fails when the connection breaks.
 *
 * The client would bridge a reconnect by itself, but from where it stood: a key that was removed, and whose marker was
 * deleted meanwhile, would stay in the reader's view for ever. So a break is told, and the reader compares.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { KV, KvEntry } from "nats"
import type { RegistryUnavailable } from "../ActorError.ts"
import type { Change } from "../Registry.ts"
import type { NatsConnection } from "./NatsConnection.ts"

export const kvChanges = (
  connection: NatsConnection["Service"],
  kv: KV,
  unavailable: (reason: string) => RegistryUnavailable
): Stream.Stream<Change, RegistryUnavailable> => {
  const watch = Stream.callback<Change, RegistryUnavailable>((queue) =>
    Effect.gen(function* () {
      // The client calls back either while it makes the watch, when all that was there is already queued, or between two
      // entries, in order.
      let made = false
      let early = false
      const caught = () => {
        if (made) Queue.offerUnsafe(queue, { _tag: "Caught" })
        else early = true
      }
      if (!connection.isConnected()) return yield* unavailable("not connected to NATS")
      const entries = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: async (signal) => {
            const entries = await kv.watch({ initializedFn: caught })
            if (signal.aborted) entries.stop()
            return entries
          },
          catch: (cause) => unavailable(cause instanceof Error ? cause.message : String(cause))
        }),
        (entries) => Effect.sync(() => entries.stop()),
        { interruptible: true }
      )
      made = true
      let queued = early ? entries.getPending() : -1
      if (queued === 0) Queue.offerUnsafe(queue, { _tag: "Caught" })
      yield* Stream.fromAsyncIterable(entries, (cause) =>
        unavailable(`the watch broke: ${cause instanceof Error ? cause.message : String(cause)}`)
      ).pipe(
        Stream.runForEach((entry) =>
          Effect.sync(() => {
            Queue.offerUnsafe(queue, changeOf(entry))
            if (--queued === 0) Queue.offerUnsafe(queue, { _tag: "Caught" })
          })
        )
      )
      return yield* unavailable("the watch ended")
    })
  )
  const broken = connection.connected.pipe(
    Stream.filter((connected) => !connected),
    Stream.runHead,
    Effect.andThen(Effect.fail(unavailable("the connection to NATS broke")))
  )
  return Stream.interruptWhen(watch, broken)
}

const changeOf = (entry: KvEntry): Change =>
  entry.operation === "PUT"
    ? { _tag: "Put", entry: { key: entry.key, value: entry.value, revision: entry.revision } }
    : { _tag: "Removed", key: entry.key, revision: entry.revision }
