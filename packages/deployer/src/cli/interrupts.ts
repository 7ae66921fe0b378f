/**
 * The door to this process's signals: how often it was asked to end, by Ctrl-C or SIGTERM. Listens only while a command asks for it;
 * otherwise a signal ends the process as usual.
 */
import process from "node:process"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"

/** Closer together, in milliseconds, they are one: a terminal and `npm run` both pass the same Ctrl-C on. */
const oneSignalMs = 1000

/** One element for each time. Listens until the scope closes. */
export const interrupts = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const queue = yield* Queue.unbounded<void>()
  let lastMs = Number.NEGATIVE_INFINITY
  const onSignal = () => {
    const nowMs = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    if (nowMs - lastMs < oneSignalMs) return
    lastMs = nowMs
    Queue.offerUnsafe(queue, undefined)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      process.on("SIGINT", onSignal)
      process.on("SIGTERM", onSignal)
    }),
    () =>
      Effect.sync(() => {
        process.off("SIGINT", onSignal)
        process.off("SIGTERM", onSignal)
      })
  )
  return queue
})
