/**
 * A process's thread for the journals that it writes, seen from the thread that captures: puts records into a queue of bounded size and goes
 * on, however slow the disk is. What does not fit is counted, and told in the journal as a gap once there is room.
 *
 * The thread that writes may die; then another goes on with the same queue and the same open files. After three deaths within a minute
 * nothing is written any more, and every file fails with `JournalThreadDied`.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { JournalThreadDied, RecordingStorageError } from "../MediaError.ts"
import { attempt } from "./internal/disk.ts"
import type { DiskError, WritingThreadData, WritingThreadMessage } from "./internal/writingThread.ts"
import {
  entryKind,
  fileCounters,
  makeQueueInput,
  makeQueueMemory,
  maxFiles,
  roundedQueueBytes
} from "./JournalQueue.ts"

export interface JournalThreadOptions {
  /**
   * Bytes that may wait for the disk, of all recordings together, rounded up to a power of two. When there are more, packets are lost and
   * counted; nothing waits. Memory is used only while something waits. Default 64 MiB: 100 recordings of 580 kbit/s for 9 s.
   */
  readonly queueBytes?: number
  /** Told of each thread that is started. */
  readonly onStart?: (thread: Worker) => void
}

export const defaultQueueBytes = 64 * 1024 * 1024

export type JournalFileError = RecordingStorageError | JournalThreadDied

/** One open file. The calls never throw and never wait. */
export interface JournalFile {
  /** Appended, or lost and counted. The bytes are copied before this returns. */
  readonly packet: (bytes: Uint8Array, size?: number) => void
  /** Appended before anything else, as soon as the disk takes it. */
  readonly must: (bytes: Uint8Array, size?: number) => void
  /** Appended, or lost without a word. */
  readonly soft: (bytes: Uint8Array, size?: number) => void
  /** Packets that were lost, and in how many rows. */
  readonly lost: () => { readonly packets: number; readonly gaps: number }
  /** All that was handed over before is written or counted as lost. Fails while the disk refuses; ask again. */
  readonly written: Effect.Effect<void, JournalFileError>
  /** Fails with the first refusal, and never succeeds. Nothing ends by it. */
  readonly failed: Effect.Effect<never, JournalFileError>
}

export interface JournalThread {
  /**
   * Takes an open file over until the scope closes, which waits until all is written that can be, at most 5 s. Closes it then, or when the
   * disk has taken what is left.
   */
  readonly attach: (file: string, fd: number) => Effect.Effect<JournalFile, JournalThreadDied, Scope.Scope>
  readonly queuedBytes: () => number
  readonly queueBytes: number
  /** For how long the disk has held up the write that is under way; 0 when none is. */
  readonly stalledMs: () => number
  /** At most two at once may sync: more would take every thread that Node has for files, should the disk hang. */
  readonly syncing: Semaphore.Semaphore
}

interface Debt {
  readonly kind: number
  argument: number
  readonly bytes: Uint8Array | undefined
}

interface Attached {
  readonly file: number
  readonly path: string
  readonly fd: number
  /** What did not fit into the queue, in its order. */
  readonly debts: Array<Debt>
  readonly failure: Deferred.Deferred<never, JournalFileError>
  /** It gets no more; its number is free once the thread has heard of that. */
  isOver: boolean
}

const here = fileURLToPath(import.meta.url)
/** Beside this file as a source and as a build: its extension tells which. */
const program = path.join(path.dirname(here), "internal", `writingThread${path.extname(here)}`)

const deathsAllowed = 3
const deathsWithinMs = 60_000
/** How long the end waits for a thread that the disk holds up, in milliseconds. It cannot be interrupted there. */
const endsWithinMs = 5000

export const make = Effect.fnUntraced(function* (
  options: JournalThreadOptions = {}
): Effect.fn.Return<JournalThread, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const queueBytes = roundedQueueBytes(options.queueBytes ?? defaultQueueBytes)
  const memory = makeQueueMemory(queueBytes)
  const input = makeQueueInput(memory)
  const attached = new Map<number, Attached>()
  const barriers = new Map<
    number,
    { readonly of: Attached; readonly done: Deferred.Deferred<void, JournalFileError> }
  >()
  const ended = Deferred.makeUnsafe<void>()
  let lastToken = 0
  let deaths: ReadonlyArray<number> = []
  let dead: JournalThreadDied | undefined
  let isEnding = false
  let worker: Worker

  /** A process may end while the thread sleeps, but not while somebody waits for it. */
  const keepAlive = () => (barriers.size > 0 ? worker.ref() : worker.unref())
  const settle = (token: number, outcome: Effect.Effect<void, JournalFileError>) => {
    const barrier = barriers.get(token)
    if (barrier === undefined) return
    barriers.delete(token)
    keepAlive()
    Deferred.doneUnsafe(barrier.done, outcome)
  }
  const heard = (message: WritingThreadMessage) => {
    switch (message._tag) {
      case "Room":
        for (const of of attached.values()) pay(of)
        return
      case "Refused": {
        const of = attached.get(message.file)
        if (of !== undefined) Deferred.doneUnsafe(of.failure, Effect.fail(storageErrorOf(of, message.error)))
        return
      }
      case "Barrier": {
        const of = barriers.get(message.token)?.of
        const { owing } = message
        const isOwing = of !== undefined && owing !== undefined
        return settle(message.token, isOwing ? Effect.fail(storageErrorOf(of, owing)) : Effect.void)
      }
    }
  }
  const died = (detail: string) => {
    if (isEnding) return Deferred.doneUnsafe(ended, Effect.void)
    const now = clock.currentTimeMillisUnsafe()
    deaths = [...deaths.filter((at) => now - at < deathsWithinMs), now]
    if (deaths.length < deathsAllowed) return start()
    dead = new JournalThreadDied({ deaths: deaths.length, detail })
    const outcome = Effect.fail(dead)
    for (const { failure } of attached.values()) Deferred.doneUnsafe(failure, outcome)
    for (const token of barriers.keys()) settle(token, outcome)
  }
  const start = () => {
    const data: WritingThreadData = {
      memory,
      files: [...attached.values()].filter(({ isOver }) => !isOver).map(({ fd, file }) => ({ fd, file }))
    }
    let detail = "it ended by itself"
    worker = new Worker(program, {
      workerData: data,
      name: "ebb-journals",
      // The files are this thread's: another writing thread goes on with them.
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 }
    })
    worker.on("message", heard)
    worker.on("error", (error) => {
      detail = error instanceof Error ? error.message : String(error)
    })
    worker.on("exit", () => died(detail))
    keepAlive()
    options.onStart?.(worker)
  }
  yield* Effect.acquireRelease(Effect.sync(start), () =>
    Effect.suspend(() => {
      isEnding = true
      if (dead !== undefined) return Effect.void
      worker.ref()
      input.stop()
      return Deferred.await(ended).pipe(
        Effect.timeoutOption(endsWithinMs),
        Effect.tap(() => Effect.sync(() => worker.unref()))
      )
    })
  )

  /** Puts what waits, in its order, as far as there is room. */
  const pay = (of: Attached): void => {
    for (let first = of.debts[0]; first !== undefined; first = of.debts[0]) {
      if (!input.put(first.kind, of.file, first.argument, first.bytes)) return
      of.debts.shift()
    }
    if (of.isOver) attached.delete(of.file)
  }
  /** False: there is no room. */
  const put = (of: Attached, kind: number, argument: number, bytes?: Uint8Array, size?: number): boolean => {
    pay(of)
    return of.debts.length === 0 && input.put(kind, of.file, argument, bytes, size)
  }
  const putOrOwe = (of: Attached, kind: number, argument: number, bytes?: Uint8Array, size = 0) => {
    // It would never fit, and hold up all that follows.
    if (size > input.maxBytes) return
    if (put(of, kind, argument, bytes, size)) return
    of.debts.push({ kind, argument, bytes: bytes && Uint8Array.from(bytes.subarray(0, size)) })
  }
  const writtenOf = (of: Attached): Effect.Effect<void, JournalFileError> =>
    Effect.suspend(() => {
      if (dead !== undefined) return Effect.fail(dead)
      const done = Deferred.makeUnsafe<void, JournalFileError>()
      lastToken = (lastToken + 1) >>> 0
      barriers.set(lastToken, { of, done })
      keepAlive()
      putOrOwe(of, entryKind.barrier, lastToken)
      return Deferred.await(done)
    })

  const begin = (path: string, fd: number): Effect.Effect<Attached, JournalThreadDied> =>
    Effect.suspend(() => {
      if (dead !== undefined) return Effect.fail(dead)
      let file = 0
      while (attached.has(file)) file += 1
      if (file >= maxFiles) return Effect.die(`BUG: more than ${maxFiles} journals at once`)
      const of: Attached = { file, path, fd, debts: [], failure: Deferred.makeUnsafe(), isOver: false }
      fileCounters(memory, file).reset()
      attached.set(file, of)
      putOrOwe(of, entryKind.begin, fd)
      return Effect.succeed(of)
    })
  const release = (of: Attached) =>
    Effect.sync(() => {
      putOrOwe(of, entryKind.end, 0)
      of.isOver = true
      pay(of)
    }).pipe(Effect.andThen(Effect.ignore(attempt("close", of.path, () => close(of.fd)))))
  /** What the disk refuses to this moment, gaps and the seal, is tried for as long as this process lives: nobody else knows of it. */
  const releaseLater = (of: Attached) =>
    writtenOf(of).pipe(
      Effect.retry({
        schedule: Schedule.spaced("1 second"),
        while: (error) => error._tag === "RecordingStorageError"
      }),
      Effect.ignore,
      Effect.andThen(release(of)),
      Effect.forkIn(scope),
      Effect.asVoid
    )
  const end = (of: Attached) =>
    Effect.matchEffect(writtenOf(of), {
      onSuccess: () => release(of),
      onFailure: () => releaseLater(of)
    }).pipe(
      // Its own fiber: the disk may need longer than the scope may wait.
      Effect.forkDetach,
      Effect.flatMap(Fiber.join),
      Effect.timeoutOption(endsWithinMs)
    )

  return {
    attach: Effect.fnUntraced(function* (path, fd) {
      const of = yield* Effect.acquireRelease(begin(path, fd), end)
      const counters = fileCounters(memory, of.file)
      const notQueued = { packets: 0, gaps: 0 }
      const lose = () => {
        notQueued.packets += 1
        const last = of.debts.at(-1)
        if (last?.kind === entryKind.lost) {
          last.argument += 1
          return
        }
        notQueued.gaps += 1
        if (dead === undefined) of.debts.push({ kind: entryKind.lost, argument: 1, bytes: undefined })
      }
      return {
        packet: (bytes, size) => {
          if (dead !== undefined || !put(of, entryKind.packet, 0, bytes, size)) lose()
        },
        must: (bytes, size = bytes.length) => putOrOwe(of, entryKind.must, 0, bytes, size),
        soft: (bytes, size) => void put(of, entryKind.soft, 0, bytes, size),
        lost: () => ({
          packets: notQueued.packets + counters.refused(),
          gaps: notQueued.gaps + counters.gaps()
        }),
        written: writtenOf(of),
        failed: Deferred.await(of.failure)
      }
    }),
    queuedBytes: input.queuedBytes,
    queueBytes,
    stalledMs: input.stalledMs,
    syncing: yield* Semaphore.make(2)
  }
})

const storageErrorOf = ({ path }: Attached, { code, detail, operation }: DiskError) =>
  new RecordingStorageError({ operation, path, code, detail })

const close = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.close(fd, (error) => (error ? reject(error) : resolve()))
  })
