/** What every `Registry` does. Runs on the store in memory and on a real nats-server's JetStream. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Bucket, Change, Registry } from "../src/Registry.ts"
import { quietly } from "./quietly.ts"

/** One store of the kind under test, with processes that use it. */
export interface Stores {
  readonly connect: (name: string) => Effect.Effect<Registry["Service"], never, Scope.Scope>
  readonly cut: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
  /** While it is cut. */
  readonly loseStore: Effect.Effect<void>
  /** As SIGSTOP and SIGCONT of the server. */
  readonly hang: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array | undefined) =>
  data === undefined ? undefined : new TextDecoder().decode(data)

/** Once the registry is there again. */
export const available = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(effect, {
    while: (error) =>
      typeof error === "object" && error !== null && "_tag" in error && error._tag === "RegistryUnavailable",
    schedule: Schedule.spaced(10)
  })

/** Changes as short words: `put a=1`, `removed a`, `caught`. */
const words = (change: Change): string =>
  change._tag === "Put"
    ? `put ${change.entry.key}=${text(change.entry.value)}`
    : change._tag === "Removed"
      ? `removed ${change.key}`
      : "caught"

const watch = Effect.fnUntraced(function* (bucket: Bucket) {
  const seen = yield* Queue.unbounded<string>()
  const fiber = yield* bucket.changes.pipe(
    Stream.runForEach((change) => Queue.offer(seen, words(change))),
    Effect.forkScoped
  )
  return { next: Queue.take(seen), end: Fiber.await(fiber) }
})

export const registryContract = (name: string, makeStores: Effect.Effect<Stores, never, Scope.Scope>) => {
  const test = (sentence: string, body: (stores: Stores) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(sentence, () => Effect.scoped(Effect.flatMap(makeStores, body)).pipe(quietly))
  const open = (stores: Stores, process = "here", options?: { readonly ttlMs: number }) =>
    Effect.flatMap(stores.connect(process), (registry) => registry.bucket("things", options))

  describe(`${name} is a Registry`, () => {
    test("a created key can be read by another process, with its revision", (stores) =>
      Effect.gen(function* () {
        const [here, there] = [yield* open(stores), yield* open(stores, "there")]
        const revision = yield* here.create("room.r1", new Uint8Array([0, 255, 128]))
        const entry = yield* there.get("room.r1")
        expect(entry?.revision).toBe(revision)
        expect([...(entry?.value ?? [])]).toEqual([0, 255, 128])
        expect(yield* there.get("room.r2")).toBeUndefined()
      }))

    test("buckets are apart", (stores) =>
      Effect.gen(function* () {
        const registry = yield* stores.connect("here")
        yield* (yield* registry.bucket("one")).create("k", bytes("1"))
        expect(yield* (yield* registry.bucket("two")).get("k")).toBeUndefined()
      }))

    test("of ten that create a key at once, one does, and nine find a KeyConflict", (stores) =>
      Effect.gen(function* () {
        const [here, there] = [yield* open(stores), yield* open(stores, "there")]
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? here : there).create("k", bytes(String(n)))),
          Effect.exit,
          { concurrency: "unbounded" }
        )
        expect(outcomes.filter(Exit.isSuccess).length).toBe(1)
        const error = yield* Effect.flip(here.create("k", bytes("late")))
        expect(error).toMatchObject({ _tag: "KeyConflict", key: "k" })
      }))

    test("ten processes that open a bucket at once all get it", (stores) =>
      Effect.gen(function* () {
        const registries = yield* Effect.forEach(
          Array.from({ length: 10 }, (_, n) => `p${n}`),
          stores.connect
        )
        const buckets = yield* Effect.forEach(
          registries,
          (registry) => registry.bucket("shared", { ttlMs: 60_000 }),
          {
            concurrency: "unbounded"
          }
        )
        yield* Effect.forEach(buckets, (bucket, n) => bucket.create(`k${n}`, bytes("")))
        expect(
          (yield* Effect.flatMap(open(stores), () => buckets.at(0)?.entries ?? Effect.succeed([]))).length
        ).toBe(10)
      }))

    test("an update needs the last revision, and gives a larger one", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        const first = yield* bucket.create("k", bytes("1"))
        const second = yield* bucket.update("k", bytes("2"), first)
        expect(second).toBeGreaterThan(first)
        expect((yield* Effect.flip(bucket.update("k", bytes("3"), first)))._tag).toBe("KeyConflict")
        expect((yield* Effect.flip(bucket.update("none", bytes("3"), second)))._tag).toBe("KeyConflict")
        expect(text((yield* bucket.get("k"))?.value)).toBe("2")
      }))

    test("a remove needs the last revision; a removed key can be created again with a larger one", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        const first = yield* bucket.create("k", bytes("1"))
        expect((yield* Effect.flip(bucket.remove("k", first + 7)))._tag).toBe("KeyConflict")
        yield* bucket.remove("k", first)
        expect(yield* bucket.get("k")).toBeUndefined()
        expect((yield* Effect.flip(bucket.update("k", bytes("2"), first)))._tag).toBe("KeyConflict")
        const again = yield* bucket.create("k", bytes("again"))
        expect(again).toBeGreaterThan(first)
        expect(text((yield* bucket.get("k"))?.value)).toBe("again")
      }))

    test("entries are what is there now", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        expect(yield* bucket.entries).toEqual([])
        const a = yield* bucket.create("a", bytes("1"))
        yield* bucket.create("b.c", bytes("2"))
        yield* bucket.create("d", bytes("3"))
        yield* bucket.update("a", bytes("4"), a)
        yield* bucket.remove("d", (yield* bucket.get("d"))?.revision ?? 0)
        const entries = yield* bucket.entries
        expect(entries.map((entry) => `${entry.key}=${text(entry.value)}`).toSorted()).toEqual([
          "a=4",
          "b.c=2"
        ])
      }))

    test("a list has every write that was done before it was asked for, whoever wrote", (stores) =>
      Effect.gen(function* () {
        const [here, there] = [yield* open(stores), yield* open(stores, "there")]
        const listed = Effect.map(here.entries, (entries) =>
          entries.map(({ key, value }) => `${key}=${text(value)}`)
        )
        expect(yield* listed).toEqual([])
        for (let n = 0; n < 50; n++) {
          const created = yield* there.create("k", bytes(`new ${n}`))
          expect(yield* listed).toEqual([`k=new ${n}`])
          const updated = yield* there.update("k", bytes(`then ${n}`), created)
          expect(yield* listed).toEqual([`k=then ${n}`])
          yield* there.remove("k", updated)
          expect(yield* listed).toEqual([])
        }
      }))

    test("a watch begins with what is there, then Caught, then every change", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        const a = yield* bucket.create("a", bytes("1"))
        yield* bucket.create("b", bytes("2"))
        const { next } = yield* watch(bucket)
        expect([yield* next, yield* next].toSorted()).toEqual(["put a=1", "put b=2"])
        expect(yield* next).toBe("caught")
        const a2 = yield* bucket.update("a", bytes("3"), a)
        expect(yield* next).toBe("put a=3")
        yield* bucket.remove("a", a2)
        expect(yield* next).toBe("removed a")
        yield* bucket.create("a", bytes("4"))
        expect(yield* next).toBe("put a=4")
      }))

    test("a watch of an empty bucket says Caught first", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        const { next } = yield* watch(bucket)
        expect(yield* next).toBe("caught")
        yield* bucket.create("a", bytes("1"))
        expect(yield* next).toBe("put a=1")
      }))

    test("a key that is not written again is gone after the TTL, announced to nobody, and can be created again", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores, "here", { ttlMs: 300 })
        const first = yield* bucket.create("k", bytes("1"))
        const { next } = yield* watch(bucket)
        expect([yield* next, yield* next]).toEqual(["put k=1", "caught"])
        yield* bucket
          .get("k")
          .pipe(Effect.repeat({ until: (entry) => entry === undefined, schedule: Schedule.spaced(10) }))
        expect(yield* bucket.entries).toEqual([])
        expect((yield* Effect.flip(bucket.update("k", bytes("2"), first)))._tag).toBe("KeyConflict")
        expect(yield* bucket.create("k", bytes("3"))).toBeGreaterThan(first)
        expect(yield* next).toBe("put k=3")
      }))

    test("while it is away every call fails at once with RegistryUnavailable, and so does a watch; after that all is there", (stores) =>
      Effect.gen(function* () {
        const bucket = yield* open(stores)
        const revision = yield* bucket.create("k", bytes("1"))
        const watched = yield* watch(bucket)
        expect([yield* watched.next, yield* watched.next]).toEqual(["put k=1", "caught"])
        yield* stores.cut
        expect(yield* Effect.flip(Effect.flatten(watched.end))).toMatchObject({ _tag: "RegistryUnavailable" })
        const calls: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
          bucket.get("k"),
          bucket.create("k", bytes("")),
          bucket.update("k", bytes(""), revision),
          bucket.remove("k", revision),
          bucket.entries,
          Stream.runDrain(bucket.changes)
        ]
        for (const call of calls) {
          const error = yield* Effect.flip(Effect.timeout(call, "500 millis"))
          expect(error._tag).toBe("RegistryUnavailable")
        }
        yield* stores.mend
        expect(yield* available(bucket.update("k", bytes("2"), revision))).toBeGreaterThan(revision)
      }))

    test("while it hangs a call fails in time, and what it would have written is written when it goes on", (stores) =>
      Effect.gen(function* () {
        const [here, there] = [yield* open(stores), yield* open(stores, "there")]
        yield* here.create("a", bytes("1"))
        yield* Effect.acquireRelease(stores.hang, () => stores.resume)
        const calls = [Effect.flip(here.get("a")), Effect.flip(here.create("b", bytes("2")))]
        const errors = yield* Effect.timeout(Effect.all(calls, { concurrency: "unbounded" }), "4 seconds")
        expect(errors.map(({ _tag }) => _tag)).toEqual(["RegistryUnavailable", "RegistryUnavailable"])
        yield* stores.resume
        const written = yield* available(there.get("b")).pipe(
          Effect.repeat({ until: (entry) => entry !== undefined, schedule: Schedule.spaced(10) })
        )
        expect(text(written?.value)).toBe("2")
      }))

    test("with its store lost, a bucket is there again, empty, with revisions from 1", (stores) =>
      Effect.gen(function* () {
        const [here, there] = [yield* open(stores), yield* open(stores, "there")]
        for (const key of ["a", "b", "c"]) yield* here.create(key, bytes(key))
        const kept = yield* here.create("k", bytes("1"))
        yield* stores.cut
        yield* stores.loseStore
        yield* stores.mend
        expect(yield* available(there.get("k"))).toBeUndefined()
        expect((yield* Effect.flip(available(here.update("k", bytes("2"), kept))))._tag).toBe("KeyConflict")
        expect(yield* here.create("k", bytes("3"))).toBeLessThan(kept)
        expect(text((yield* there.get("k"))?.value)).toBe("3")
      }))

    test("a bucket that was lost with the store is empty to whoever only lists or watches it", (stores) =>
      Effect.gen(function* () {
        const here = yield* open(stores)
        yield* here.create("a", bytes("1"))
        for (const look of ["list", "watch"]) {
          yield* stores.cut
          yield* stores.loseStore
          yield* stores.mend
          if (look === "list") expect(yield* available(here.entries)).toEqual([])
          else expect(yield* available(Stream.runHead(here.changes))).toEqual(Option.some({ _tag: "Caught" }))
        }
      }))
  })
}
