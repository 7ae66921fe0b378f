/**
 * mediasoup's warnings and errors, its workers' included, to the Effect logger. mediasoup has one log hook per process, so
 * the taps of several engines share it: a line that names a worker goes to the tap that owns it, any other to the oldest.
 */
import * as mediasoup from "mediasoup"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

interface Tap {
  readonly owns: (pid: number) => boolean
  readonly write: (level: "warn" | "error", line: string) => void
}

const taps = new Set<Tap>()

const route = (level: "warn" | "error", line: string): void => {
  const pid = /\[pid:(\d+)/.exec(line)?.[1]
  const owner = pid === undefined ? undefined : [...taps].find((tap) => tap.owns(Number(pid)))
  const [oldest] = taps
  const tap = owner ?? oldest
  tap?.write(level, line)
}

const hook = (): void =>
  taps.size === 0
    ? mediasoup.setLogEventListeners()
    : mediasoup.setLogEventListeners({
        onwarn: (namespace, log) => route("warn", `${namespace} ${log}`),
        onerror: (namespace, log, error) =>
          route("error", error === undefined ? `${namespace} ${log}` : `${namespace} ${log} ${error}`)
      })

/** Writes to the logger of the calling fiber until the scope closes. */
export const tapWorkerLog = (owns: (pid: number) => boolean): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const tap: Tap = {
      owns,
      write: (level, line) =>
        void runFork(
          (level === "warn" ? Effect.logWarning(line) : Effect.logError(line)).pipe(
            Effect.annotateLogs({ source: "mediasoup" })
          )
        )
    }
    taps.add(tap)
    hook()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        taps.delete(tap)
        hook()
      })
    )
  })
