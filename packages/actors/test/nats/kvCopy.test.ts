/** Lists of a large bucket on a real nats-server: what they cost, and what becomes of the copy they are made from. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { connect } from "nats"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsRegistry from "../../src/nats/NatsRegistry.ts"
import { Registry } from "../../src/Registry.ts"
import { quietly } from "../quietly.ts"
import { natsServer } from "./natsServer.ts"

const test = (sentence: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(sentence, () => Effect.scoped(body).pipe(quietly))

const value = new Uint8Array([1])

/** A bucket of `entries` entries, the client that it is read by, and one with which the server's streams are looked after. */
const bucketOf = Effect.fnUntraced(function* (entries: number) {
  const server = yield* natsServer()
  const context = yield* Layer.build(
    NatsRegistry.layer({ cluster: "test" }).pipe(
      Layer.provideMerge(NatsConnection.layer({ servers: server.url, name: "reader" }))
    )
  )
  const bucket = yield* Context.get(context, Registry).bucket("things")
  yield* Effect.forEach(
    Array.from({ length: entries }, (_, n) => `room.r${n}`),
    (key) => bucket.create(key, value),
    {
      concurrency: 64,
      discard: true
    }
  )
  const operator = yield* Effect.acquireRelease(
    Effect.promise(() => connect({ servers: server.url })),
    (client) => Effect.promise(() => client.close())
  )
  return {
    bucket,
    client: Context.get(context, NatsConnection).client,
    streams: yield* Effect.promise(() => operator.jetstreamManager())
  }
})

describe("the list of a bucket", () => {
  test(
    "is read from the server once, and after that only what has changed",
    Effect.gen(function* () {
      const { bucket, client } = yield* bucketOf(500)
      expect((yield* bucket.entries).length).toBe(500)
      const before = client.stats().inMsgs
      for (let n = 0; n < 20; n++) {
        yield* bucket.create(`room.new${n}`, value)
        expect((yield* bucket.entries).length).toBe(501 + n)
      }
      // For each: the write's answer, the change, and how far the bucket is.
      expect(client.stats().inMsgs - before).toBeLessThan(20 * 5)
    })
  )

  test(
    "costs a hundred who ask at once not more than two",
    Effect.gen(function* () {
      const { bucket, client } = yield* bucketOf(10)
      yield* bucket.entries
      const before = client.stats().inMsgs
      const lists = yield* Effect.forEach(Array.from({ length: 100 }), () => bucket.entries, {
        concurrency: "unbounded"
      })
      expect(new Set(lists.map((list) => list.length))).toEqual(new Set([10]))
      expect(client.stats().inMsgs - before).toBeLessThan(10)
    })
  )

  test(
    "is empty when the bucket was removed behind a connection that holds, and then has what is new",
    Effect.gen(function* () {
      const { bucket, streams } = yield* bucketOf(3)
      expect((yield* bucket.entries).length).toBe(3)
      yield* Effect.promise(() => streams.streams.delete("KV_ebb_test_things"))
      expect(yield* bucket.entries).toEqual([])
      for (const key of ["a", "b", "c", "d"]) yield* bucket.create(key, value)
      expect((yield* bucket.entries).map(({ key }) => key)).toEqual(["a", "b", "c", "d"])
    })
  )

  test(
    "fails in time when its watch has gone deaf, and is whole for the next who asks",
    Effect.gen(function* () {
      const { bucket, streams } = yield* bucketOf(3)
      yield* bucket.entries
      const stream = "KV_ebb_test_things"
      const consumers = yield* Effect.promise(() => streams.consumers.list(stream).next())
      for (const { name } of consumers) yield* Effect.promise(() => streams.consumers.delete(stream, name))
      yield* bucket.create("late", value)
      expect(yield* Effect.timeout(Effect.flip(bucket.entries), "3 seconds")).toMatchObject({
        _tag: "RegistryUnavailable"
      })
      expect((yield* bucket.entries).length).toBe(4)
    })
  )
})
