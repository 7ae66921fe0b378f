/** A name that its owner may have lost while its node was cut off: who still talks to that owner, and who is refused. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import type { Address, Epoch, HeldLease, Self } from "../src/index.ts"
import {
  ActorSystem,
  define,
  Directory,
  holdLease,
  Leases,
  message,
  ownName,
  protocol
} from "../src/index.ts"
import { TestBus, TestRegistry } from "../src/testing/index.ts"
import { body } from "./cluster.ts"
import { quietly } from "./quietly.ts"

const Talk = protocol(message("Say", { success: Schema.String }))

const id = "r1"
const name = { kind: "talk", id }

/** Two nodes on one bus and one registry, and a room of `a`'s. `superseded` says when it was told that the name is another's. */
const cluster = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const registry = yield* TestRegistry.make(bus)
  const superseded = yield* Deferred.make<string>()
  const talk = define(
    "talk",
    Talk,
    (self: Self, { lease, says }: { readonly lease: HeldLease; readonly says: string }) =>
      Effect.gen(function* () {
        yield* ownName(self, lease, (by) => Effect.asVoid(Deferred.succeed(superseded, by.node)))
        return { Say: () => Effect.succeed(says) }
      })
  )
  const node = Effect.fnUntraced(function* (nodeId: string) {
    const outside = Layer.merge(bus.layer(nodeId), registry.layer(nodeId))
    const services = yield* Layer.mergeAll(
      ActorSystem.layer({ cluster: "test", nodeId }),
      Directory.layer
    ).pipe(Layer.provideMerge(Leases.layer), Layer.provideMerge(outside), Layer.build)
    const system = Context.get(services, ActorSystem)
    const { incarnation } = system
    const lease = yield* Effect.provide(holdLease({ nodeId, incarnation, initial: body() }), services)
    const directory = Context.get(services, Directory)
    return {
      system,
      directory,
      lease,
      spawn: (says: string) => Effect.provide(system.spawn(talk, id, { lease, says }), services),
      lookup: Effect.flatMap(directory.lookup(name), (found) =>
        found === undefined ? Effect.die("nobody has it") : Effect.succeed(found)
      ),
      ask: (owner: Address, epoch: Epoch) => Effect.exit(system.ref(Talk, owner, epoch).ask("Say", undefined))
    }
  })
  const [a, b] = [yield* node("a"), yield* node("b")]
  yield* TestClock.adjust("1 minute")
  const room = yield* a.spawn("the first")
  yield* room.started
  const { epoch } = yield* a.lookup
  return { bus, registry, a, b, epoch, address: room.ref.address, superseded }
})

/** `stale`, what it said, or whatever else it came to. */
const answerOf = (said: Exit.Exit<string, unknown>): unknown => {
  if (Exit.isSuccess(said)) return said.value
  const error = Exit.findErrorOption(said)
  return String(said.cause).includes("StaleEpoch") ? "stale" : error
}

/** Looks each 50 ms, for at most a minute, at an owner that has its lease again while each call to the registry takes it a second. */
const lookWhileSlow = Effect.fnUntraced(function* (
  { a, bus, registry }: Effect.Success<typeof cluster>,
  look: Effect.Effect<unknown, unknown>,
  until: () => boolean
) {
  yield* registry.slowDown("a", [500, 500])
  yield* bus.reconnect("a")
  const seen: Array<unknown> = []
  for (let n = 0; n < 1_200 && !until(); n++) {
    yield* TestClock.adjust("50 millis")
    if (Exit.isSuccess(yield* Effect.exit(a.lease.assertFresh))) seen.push(yield* look)
  }
  // Its end waits for the registry, and nobody moves the clock then.
  yield* registry.slowDown("a", [0, 0])
  yield* TestClock.adjust("1 second")
  return seen
})

const test = (sentence: string, run: Effect.Effect<void, unknown>) => it.effect(sentence, () => quietly(run))

describe("an owner whose node was cut off", () => {
  test(
    "is nobody's by its epoch from the moment at which it may act again, and everybody's by the new one when its name is verified",
    Effect.gen(function* () {
      const stage = yield* cluster
      const { a, address, b, bus, epoch } = stage
      expect(answerOf(yield* b.ask(address, epoch))).toBe("the first")
      yield* bus.disconnect("a")
      yield* TestClock.adjust("14 seconds")
      expect(yield* a.lease.status).toBe("isolated")
      expect(answerOf(yield* a.ask(address, epoch))).toBe("the first")

      let isServed = false
      const look = Effect.gen(function* () {
        const { epoch: now } = yield* b.lookup
        if (now.revision === epoch.revision) return answerOf(yield* b.ask(address, epoch))
        const answer = answerOf(yield* b.ask(address, now))
        isServed = answer === "the first"
        return isServed ? answerOf(yield* b.ask(address, epoch)) : answer
      })
      const seen = yield* lookWhileSlow(stage, look, () => isServed)
      expect(isServed).toBe(true)
      expect(new Set(seen)).toEqual(new Set(["stale"]))
    }).pipe(Effect.scoped)
  )

  test(
    "and whose name another has by now serves nobody by its epoch until it is told so",
    Effect.gen(function* () {
      const stage = yield* cluster
      const { address, b, bus, epoch, superseded } = stage
      yield* bus.disconnect("a")
      yield* TestClock.adjust("40 seconds")
      const second = yield* b.spawn("the second")
      yield* second.started
      const isTold = () => Deferred.isDoneUnsafe(superseded)
      const look = Effect.map(b.ask(address, epoch), answerOf)
      const seen = yield* lookWhileSlow(stage, look, isTold)
      expect(new Set(seen)).toEqual(new Set(["stale"]))
      expect(yield* Deferred.await(superseded)).toBe("b")
    }).pipe(Effect.scoped)
  )
})
