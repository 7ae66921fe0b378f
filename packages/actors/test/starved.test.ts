/**
 * A process that hardly ever runs, among others that are attentive: a machine that swaps, a container that is throttled, an event loop that is
 * busy for seconds. It may be called dead; what it may not is act at that time.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TestClock } from "effect/testing"
import { seededRandom } from "../src/testing/index.ts"
import { makeCluster } from "./cluster.ts"
import { quietly } from "./quietly.ts"

const incarnation = "inc-starved"

/** It runs for 300 ms at most, then not at all for up to 25 s, sixty times; what was seen at the worst moments. */
const starve = Effect.fnUntraced(function* (seed: number) {
  const { process, registry } = yield* makeCluster
  const [starved, observer] = [yield* process("starved"), yield* process("observer")]
  const lease = yield* starved.hold(incarnation)
  yield* TestClock.adjust("1 minute")
  yield* registry.slowDown("starved", [0, 100])
  const random = seededRandom(seed)
  const seen = { dead: 0, fresh: 0, both: 0 }
  const look = Effect.gen(function* () {
    const dead = yield* observer.run(observer.leases.isDead(incarnation))
    const fresh = Exit.isSuccess(yield* Effect.exit(starved.run(lease.assertFresh)))
    seen.dead += Number(dead)
    seen.fresh += Number(fresh)
    seen.both += Number(dead && fresh)
  })
  for (let round = 0; round < 60; round++) {
    yield* starved.stop
    yield* TestClock.adjust(Math.ceil(random() ** 2 * 25_000))
    // Before any of its timers has fired, and before what waits for it has arrived.
    yield* look
    yield* starved.cont
    yield* look
    for (let left = random() * 300; left > 0; left -= 50) {
      yield* TestClock.adjust(50)
      yield* look
    }
  }
  yield* registry.slowDown("starved", [0, 0])
  yield* TestClock.adjust("1 minute")
  const recovered = {
    dead: yield* observer.leases.isDead(incarnation),
    fresh: Exit.isSuccess(yield* Effect.exit(lease.assertFresh))
  }
  return { seen, recovered }
})

describe("a starved process", () => {
  it.effect("is called dead at times, and at none of them may it act; fed again it is alive to all", () =>
    Effect.gen(function* () {
      const all = { dead: 0, fresh: 0 }
      for (let seed = 1; seed <= 10; seed++) {
        const { recovered, seen } = yield* Effect.scoped(starve(seed))
        expect({ seed, both: seen.both, ...recovered }).toEqual({ seed, both: 0, dead: false, fresh: true })
        all.dead += seen.dead
        all.fresh += seen.fresh
      }
      expect(all.dead).toBeGreaterThan(50)
      expect(all.fresh).toBeGreaterThan(50)
    }).pipe(quietly)
  )
})
