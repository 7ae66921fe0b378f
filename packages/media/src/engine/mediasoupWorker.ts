/**
 * One mediasoup worker process that no SIGTERM or SIGINT can end. mediasoup would end it twice over: its node side listens
 * for both signals and closes the worker, and the worker process does the same by itself. So the listeners come off in
 * the turn in which mediasoup adds them, and the process gets a session of its own (worker/mediasoup-worker.sh).
 * Nothing of ours or of mediasoup's stays on `process`. The worker ends with its scope, and with its parent: the worker
 * closes when its channel does, also after a kill -9.
 */
import { access, constants } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import * as mediasoup from "mediasoup"
import type { Worker } from "mediasoup/types"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { SignalListenersUnexpected, WorkerDied, WorkerUnavailable } from "../MediaError.ts"

export interface MediasoupWorkerOptions {
  readonly workerBin?: string | undefined
  readonly startTimeout: Duration.Input
}

export interface MediasoupWorker {
  readonly pid: number
  readonly worker: Worker
  /** Set in the turn in which mediasoup tells of the death, before any request that it aborts is seen to fail. */
  readonly diedWith: () => WorkerDied | undefined
  readonly died: Effect.Effect<WorkerDied>
}

const wrapper = fileURLToPath(new URL("../../worker/mediasoup-worker.sh", import.meta.url))

/** What the wrapper runs. Also the user's own choice, so it is put back as it was. */
const binEnv = "EBB_WORKER_BIN"

const curedSignals = ["SIGINT", "SIGTERM"]

/** How long a worker may take to go when told to, before it is killed. Only a stopped or a hanging one takes longer. */
const closeGrace = Duration.seconds(2)

interface Listener {
  readonly event: string
  readonly call: (...args: ReadonlyArray<unknown>) => void
}

const processListeners = (): Array<Listener> =>
  process
    .eventNames()
    .flatMap((event) =>
      process
        .listeners(event as "exit")
        .map((call) => ({ event: String(event), call: call as Listener["call"] }))
    )

interface Start {
  readonly settled: Promise<Worker>
  /** What mediasoup had added to `process`: off again, ordered by event. */
  readonly takenOff: ReadonlyArray<Listener>
  worker: Worker | undefined
}

/**
 * `createWorker` spawns the process and adds its listeners before it returns its promise. Everything that touches the host
 * process is done and undone in this one turn, so that neither the host nor a concurrent start sees any of it.
 */
const spawn = (workerBin: string): Start => {
  const before = new Set(processListeners().map(({ call }) => call))
  const maxListeners = process.getMaxListeners()
  const env = process.env[binEnv]
  process.env[binEnv] = workerBin
  const settled = mediasoup.createWorker({ workerBin: wrapper, logLevel: "warn" })
  if (env === undefined) delete process.env[binEnv]
  else process.env[binEnv] = env
  const takenOff = processListeners()
    .filter(({ call }) => !before.has(call))
    .toSorted((a, b) => a.event.localeCompare(b.event))
  for (const { call, event } of takenOff) process.removeListener(event, call)
  process.setMaxListeners(maxListeners)
  const start: Start = { settled, takenOff, worker: undefined }
  settled.then(
    (worker) => (start.worker = worker),
    () => undefined
  )
  return start
}

const requireExecutable = (path: string, hint: string) =>
  Effect.tryPromise({
    try: () => access(path, constants.X_OK),
    catch: () => new WorkerUnavailable({ reason: `${path} is not an executable file; ${hint}` })
  })

const subprocessClosed = (worker: Worker, act: () => void) =>
  Effect.callback<void>((resume) => {
    if (worker.subprocessClosed) return resume(Effect.void)
    worker.once("subprocessclose", () => resume(Effect.void))
    act()
  })

/**
 * Closes the worker and waits until its process is gone. One that has not come up has no object to close it by: mediasoup's
 * own signal listener, taken off `process`, does it, and its process ends with the channel.
 */
const close = (start: Start) =>
  Effect.suspend(() => {
    const { takenOff, worker } = start
    if (worker === undefined) {
      return Effect.sync(() => {
        for (const { call, event } of takenOff) call(event)
      })
    }
    return subprocessClosed(worker, () => worker.close()).pipe(
      Effect.timeoutOrElse({
        duration: closeGrace,
        // Not reaped, or `subprocessclose` would have come: the pid is still its own.
        orElse: () => subprocessClosed(worker, () => process.kill(worker.pid, "SIGKILL"))
      })
    )
  })

export const startMediasoupWorker = Effect.fnUntraced(function* (
  options: MediasoupWorkerOptions
): Effect.fn.Return<MediasoupWorker, WorkerUnavailable | SignalListenersUnexpected, Scope.Scope> {
  const workerBin = options.workerBin ?? process.env[binEnv] ?? mediasoup.workerBin
  yield* requireExecutable(workerBin, `build mediasoup's worker, or name one in ${binEnv}`)
  yield* requireExecutable(wrapper, "the package was unpacked without its file modes: chmod +x it")

  const start = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(workerBin)),
    close
  )
  const startTimeout = Duration.fromInputUnsafe(options.startTimeout)
  const worker = yield* Effect.tryPromise({
    try: () => start.settled,
    catch: (error) => new WorkerUnavailable({ reason: `the worker process did not start: ${String(error)}` })
  }).pipe(
    Effect.timeoutOrElse({
      duration: startTimeout,
      orElse: () =>
        Effect.fail(
          new WorkerUnavailable({ reason: `no sign of life in ${Duration.toMillis(startTimeout)} ms` })
        )
    })
  )
  const found = start.takenOff.map(({ event }) => event)
  if (String(found) !== String(curedSignals)) {
    return yield* new SignalListenersUnexpected({ found, expected: curedSignals })
  }

  const death = Deferred.makeUnsafe<WorkerDied>()
  let diedWith: WorkerDied | undefined
  worker.on("died", (error) => {
    diedWith = new WorkerDied({ workerPid: worker.pid, reason: error.message })
    Deferred.doneUnsafe(death, Effect.succeed(diedWith))
  })
  return { pid: worker.pid, worker, died: Deferred.await(death), diedWith: () => diedWith }
})
