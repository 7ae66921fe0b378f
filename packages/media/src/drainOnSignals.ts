/**
 * Signals onto a node's drain, for a program that owns its signals. The first SIGTERM, SIGINT or SIGHUP drains; a second one, at least a second
 * later, evacuates; a third kills. Signals less than a second apart count as one: a terminal, a supervisor and a wrapper may all pass
 * the same one on. None is swallowed, and none takes the process down by itself.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { endProcess } from "./endProcess.ts"
import type { RunningNode } from "./MediaNodeProcess.ts"

/** 128 + the signal's number, as shells have it. */
const killedBy = { SIGTERM: 143, SIGINT: 130, SIGHUP: 129 } as const
type DrainSignal = keyof typeof killedBy
const signals = Object.keys(killedBy) as ReadonlyArray<DrainSignal>

/** Signals closer together than this, in milliseconds, are one. */
const oneSignalMs = 1000

export interface SignalOptions {
  /** What a third signal does; by default it ends this process with that signal's code, whatever hangs. Recordings are left to a later start. */
  readonly kill?: (code: number) => void
}

/**
 * Listens until the scope closes. A program whose node is not there yet gives a `drain` that waits for it: what comes during the start counts
 * too. The only signal listeners of this package, and only where a program asks for them.
 */
export const drainOnSignals = Effect.fnUntraced(function* (
  node: Pick<RunningNode, "drain">,
  options: SignalOptions = {}
) {
  const kill = options.kill ?? endProcess
  const clock = yield* Clock.Clock
  const run = yield* Effect.map(Effect.context<never>(), Effect.runForkWith)
  let counted = 0
  let countedMs = Number.NEGATIVE_INFINITY

  const onSignal = (signal: DrainSignal) => {
    const nowMs = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    if (nowMs - countedMs < oneSignalMs) return
    countedMs = nowMs
    counted++
    const call = { by: signal, reason: counted === 1 ? "signal" : "second signal", reversible: false }
    if (counted === 1) run(Effect.andThen(Effect.logInfo(`${signal}: draining`), node.drain(call)))
    else if (counted === 2)
      run(Effect.andThen(Effect.logWarning(`${signal}: evacuating`), node.drain({ ...call, evacuate: true })))
    else kill(killedBy[signal])
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const signal of signals) process.on(signal, onSignal)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of signals) process.off(signal, onSignal)
      })
  )
})
