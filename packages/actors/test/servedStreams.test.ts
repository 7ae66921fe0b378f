/** What streams to askers elsewhere cost the process that serves them. */
import { expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { define, message, protocol } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { system } from "./runtime.fixture.ts"

const Feed = protocol(
  message("Pages", {
    payload: { count: Schema.Int },
    success: Schema.Struct({ words: Schema.String }),
    stream: true
  })
)

const opened = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const clock = yield* Clock.Clock
  /** Of the waits of this process that have not ended: how many are of a minute. */
  let minutes = 0
  const here = yield* system(bus, "here").pipe(
    Effect.provideService(Clock.Clock, {
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      currentTimeMillis: clock.currentTimeMillis,
      currentTimeNanos: clock.currentTimeNanos,
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) =>
        Effect.suspend(() => {
          const isMinute = Duration.toMillis(duration) === 60_000
          if (isMinute) minutes++
          return Effect.ensuring(
            clock.sleep(duration),
            Effect.sync(() => {
              if (isMinute) minutes--
            })
          )
        })
    })
  )
  const away = yield* system(bus, "away")
  const words = "x".repeat(100_000)
  let reads = 0
  const page = {
    get words() {
      reads++
      return words
    }
  }
  const feed = define("feed", Feed, () =>
    Effect.succeed({
      Pages: ({ count }: { readonly count: number }) =>
        Stream.fromIterable(Array.from({ length: count }, () => page))
    })
  )
  const { ref, started } = yield* here.spawn(feed, "f", undefined)
  yield* started
  const far = away.ref(Feed, ref.address)
  /** How often items were read to be encoded, for so many items. */
  const readsOf = Effect.fnUntraced(function* (count: number) {
    reads = 0
    expect(yield* Stream.runCount(far.stream("Pages", { count }))).toBe(count)
    return reads
  })
  return { minutes: () => minutes, readsOf }
})

it.effect("items of which few fit into a frame are not encoded again with every frame", () =>
  Effect.gen(function* () {
    const { readsOf } = yield* opened
    const each = yield* readsOf(1)
    expect(each).toBeGreaterThan(0)
    // Ten fit, and each frame tries at most twice what fitted into the last.
    expect(yield* readsOf(200)).toBeLessThanOrEqual(200 * each * 3)
  })
)

it.effect("nobody watches over a stream that has ended", () =>
  Effect.gen(function* () {
    const { minutes, readsOf } = yield* opened
    for (let n = 0; n < 5; n++) yield* readsOf(20)
    yield* Effect.yieldNow
    expect(minutes()).toBe(0)
  })
)
