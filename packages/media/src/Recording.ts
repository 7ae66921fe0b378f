/**
 * A recording: one logical thing, captured here as one part. Owns its journal, its state, and the way from the last packet to the
 * durable receipt.
 *
 * It captures every producer of its room, from before the producer's address is given out. It ends capture when it is told to or
 * when its room ends, whatever ended the room; then it seals, computes in a process of its own, and ends when the receipt is on disk.
 * What cannot be computed keeps its journal and is named in the node's report; a kill leaves all to a later start's adoption.
 */
import type { ActorRef, Self } from "@ebb/actors"
import { define, Directory } from "@ebb/actors"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { claimName } from "./claimName.ts"
import type { AnyProducerInfo, RoomMedia, RoomMediaError } from "./engine/RoomMedia.ts"
import { captureSink, dataSink } from "./journalSinks.ts"
import type { UnknownProducer } from "./MediaError.ts"
import { Conflict, StorageUnavailable } from "./protocol/Common.ts"
import type { RecordingInfo, RecordingOptions, RecordingState } from "./protocol/Recording.ts"
import { recordingKind, RecordingProtocol } from "./protocol/Recording.ts"
import type { RoomMessage } from "./protocol/Room.ts"
import type { ComputeQueue, DiskRoom, IncarnationFolder, JournalThread, Receipt } from "./recording/index.ts"
import { computeInChild, discardPart, JournalWriter, manifestFormat } from "./recording/index.ts"
import { RecordingIndex } from "./RecordingIndex.ts"

type LivingState = Exclude<RecordingState, "Deleted">

export interface RecordingArgs {
  readonly nodeId: string
  readonly roomId: string
  readonly room: ActorRef<RoomMessage>
  readonly media: RoomMedia
  readonly options: RecordingOptions
  /** Where it waits for its turn to be computed: calls go first. */
  readonly computing: ComputeQueue
  readonly folder: IncarnationFolder.IncarnationFolder
  readonly disk: DiskRoom
  readonly journals: JournalThread.JournalThread
  /** Milliseconds: see `JournalWriterOptions`. */
  readonly syncEveryMs: number | undefined
  /** Told each state that it comes to, the first one too, with how its journal is from then on. */
  readonly entered: (state: LivingState, journal: () => JournalWriter.JournalWriterStats) => void
  /** Told when it ends without a receipt: the journal is kept, and somebody must look. */
  readonly unfinished: (problem: string) => void
}

type PauseCause = { readonly by?: string; readonly reason?: string }

/** A full disk, or a compute process that was killed, is tried again: three times, 1 s, 2 s, 4 s apart. A later start tries anew. */
const again = Schedule.upTo(Schedule.exponential("1 second"), { times: 3 })

export const recording = define(recordingKind, RecordingProtocol, (self: Self, args: RecordingArgs) =>
  Effect.gen(function* () {
    const { folder, media, nodeId, options, room, roomId } = args
    const recordingId = self.address.id
    const index = yield* RecordingIndex
    const over = Deferred.makeUnsafe<string>()
    const end = (reason: string) => Effect.asVoid(Deferred.succeed(over, reason))
    // Superseded or not, what was captured is sealed and computed.
    yield* claimName(self, end)
    yield* Effect.mapError(args.disk.admit(recordingId), (error) => {
      const { _tag, message: reason } = error
      return _tag === "DiskStalled"
        ? new StorageUnavailable({ reason })
        : new StorageUnavailable({ reason, freeBytes: error.freeBytes, wantedBytes: error.wantedBytes })
    })
    const startedAt = yield* Clock.currentTimeMillis
    const partFolder = folder.partFolder(recordingId)
    const journal = yield* JournalWriter.make({
      folder: partFolder,
      thread: args.journals,
      ...(args.syncEveryMs === undefined ? {} : { syncEveryMs: args.syncEveryMs }),
      manifest: {
        format: manifestFormat,
        recordingId,
        roomId,
        nodeId,
        incarnation: folder.incarnation,
        part: 0,
        startedAt,
        state: "Capturing",
        options
      }
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "JournalExists"
          ? new Conflict({ entity: recordingKind, id: recordingId, problem: error.message })
          : new StorageUnavailable({ reason: error.message })
      )
    )

    const { incarnation } = folder
    let state: LivingState = "Capturing"
    const enter = (next: LivingState) => args.entered((state = next), () => journal.stats)
    enter(state)
    let tracks = 0
    let receipt: Receipt | undefined
    let problem: string | undefined
    let paused: RecordingInfo["paused"]
    const isPaused = () => paused !== undefined

    const progress = (): Pick<RecordingInfo, "progress"> => {
      const now = state === "Sealing" ? args.computing.progressOf(recordingId) : undefined
      return now === undefined ? {} : { progress: now }
    }
    const info = (): RecordingInfo => ({
      recordingId,
      roomId,
      nodeId,
      state,
      startedAt,
      packets: journal.stats.packets,
      lostPackets: journal.stats.lostPackets,
      tracks,
      folder: partFolder,
      options,
      ...(paused === undefined ? {} : { paused }),
      ...(receipt === undefined ? {} : index.describe(receipt)),
      ...(problem === undefined ? {} : { problem }),
      ...progress()
    })

    // After the journal and before anybody hears that it records: what is listed has a journal, and what has packets is listed.
    yield* Effect.onError(index.begin({ ...info(), incarnation }), () =>
      Effect.andThen(Effect.ignore(discardPart(partFolder)), index.withdraw({ ...info(), incarnation }))
    )
    // Whatever ends it from here on: without a receipt it is somebody's to finish.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (receipt === undefined) args.unfinished(problem ?? "its node ended before it was computed")
      })
    )

    const { registryLost } = yield* Directory
    yield* registryLost.pipe(
      Stream.runForEach(() => index.note({ ...info(), incarnation })),
      Effect.forkScoped
    )

    const captures = yield* Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope, "parallel"))
    const captured = new Set<string>()
    const isWanted = ({ kind }: AnyProducerInfo) =>
      kind === "data" ? options.data === true : (options.kinds?.includes(kind) ?? true)
    const capture = ({ kind, producerId }: AnyProducerInfo) =>
      Effect.asVoid<unknown, RoomMediaError | UnknownProducer, Scope.Scope>(
        kind === "data"
          ? media.captureData(producerId, (info) => Effect.sync(() => dataSink(journal, info, isPaused)))
          : media.capture(producerId, (info) => Effect.sync(() => captureSink(journal, info, isPaused)))
      ).pipe(
        Effect.tap(() => Effect.sync(() => tracks++)),
        Scope.provide(captures),
        // A producer that is gone before it was captured had nothing to record.
        Effect.catch((error) => Effect.logWarning(`${recordingId}: cannot capture ${producerId}`, error))
      )
    const opened = (producer: AnyProducerInfo) => {
      if (!isWanted(producer)) return Effect.void
      captured.add(producer.producerId)
      return capture(producer)
    }
    const closed = ({ producerId }: AnyProducerInfo) => Effect.sync(() => void captured.delete(producerId))
    yield* media.watchProducers({ opened, closed }).pipe(Scope.provide(captures))

    const pause = Effect.fnUntraced(function* (cause: PauseCause) {
      if (state !== "Capturing" || paused !== undefined) return info()
      paused = { at: yield* Clock.currentTimeMillis, ...cause }
      journal.pause(cause)
      return info()
    })
    const resume = Effect.fnUntraced(function* (cause: PauseCause) {
      if (state !== "Capturing") {
        return yield* new Conflict({ entity: recordingKind, id: recordingId, problem: `it is ${state}` })
      }
      if (paused === undefined) return info()
      paused = undefined
      journal.resume(cause)
      // A picture cannot begin in the middle. Without an answer it begins with the sender's next key frame by itself.
      yield* Effect.forEach([...captured], (producerId) => Effect.ignore(media.requestKeyFrame(producerId)), {
        concurrency: "unbounded",
        discard: true
      }).pipe(Effect.forkIn(captures))
      return info()
    })

    const finish = Effect.fnUntraced(function* (reason: string) {
      enter("Sealing")
      // Waits for what the worker has taken before, so that nothing that reached the node is missed.
      yield* Scope.close(captures, Exit.void)
      yield* Effect.retry(journal.seal(reason), { schedule: again, while: (error) => error.retry === "safe" })
      receipt = yield* args.computing
        .inTurn({ recordingId, startedAt }, (onProgress) =>
          computeInChild(partFolder, { computedBy: nodeId, onProgress })
        )
        .pipe(Effect.retry({ schedule: again, while: (error) => error.retry === "safe" }))
      yield* index.publish(receipt)
      enter("Computed")
      yield* self.stop("computed")
    })
    const fail = (cause: Cause.Cause<unknown>) =>
      Effect.gen(function* () {
        const error = Cause.squash(cause)
        problem = error instanceof Error ? error.message : String(error)
        enter("Failed")
        yield* index.note({ ...info(), incarnation })
        yield* Effect.logError(
          `recording ${recordingId} is not finished; its journal is kept in ${partFolder}`,
          cause
        )
        yield* self.stop(`failed: ${problem}`)
      })
    yield* Deferred.await(over).pipe(
      Effect.flatMap(finish),
      Effect.catchCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause) : fail(cause))),
      Effect.forkScoped
    )

    yield* self.watch(room, (ended) => end(`room ended: ${ended.detail}`))
    yield* Effect.forkScoped(
      Effect.catch(journal.failed, (error) =>
        Effect.logError(
          `recording ${recordingId}: the disk refuses; packets are lost until it takes them again`,
          error
        )
      )
    )

    return {
      Get: () => Effect.sync(info),
      Stop: ({ reason }) => Effect.map(end(reason), info),
      Pause: pause,
      Resume: resume
    }
  })
)
