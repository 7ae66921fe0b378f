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
import type * as Semaphore from "effect/Semaphore"
import { claimName } from "./claimName.ts"
import type { CaptureInfo, CaptureSink, ProducerInfo, RoomMedia } from "./engine/RoomMedia.ts"
import { Conflict, StorageUnavailable } from "./protocol/Common.ts"
import type { RecordingInfo, RecordingState } from "./protocol/Recording.ts"
import { recordingKind, RecordingProtocol } from "./protocol/Recording.ts"
import type { RoomMessage } from "./protocol/Room.ts"
import type { IncarnationFolder, Receipt } from "./recording/index.ts"
import { computeInChild, discardPart, JournalWriter, manifestFormat } from "./recording/index.ts"
import { RecordingIndex } from "./RecordingIndex.ts"

export interface RecordingArgs {
  readonly nodeId: string
  readonly roomId: string
  readonly room: ActorRef<RoomMessage>
  readonly media: RoomMedia
  /** How many may be computed at once on this machine: calls go first. */
  readonly computing: Semaphore.Semaphore
  readonly folder: IncarnationFolder.IncarnationFolder
  /** Told each state that it comes to, the first one too. */
  readonly entered: (state: RecordingState) => void
  /** Told when it ends without a receipt: the journal is kept, and somebody must look. */
  readonly unfinished: (problem: string) => void
}

/** A full disk, or a compute process that was killed, is tried again: three times, 1 s, 2 s, 4 s apart. A later start tries anew. */
const again = Schedule.upTo(Schedule.exponential("1 second"), { times: 3 })

export const recording = define(recordingKind, RecordingProtocol, (self: Self, args: RecordingArgs) =>
  Effect.gen(function* () {
    const { folder, media, nodeId, room, roomId } = args
    const recordingId = self.address.id
    const index = yield* RecordingIndex
    const over = Deferred.makeUnsafe<string>()
    const end = (reason: string) => Effect.asVoid(Deferred.succeed(over, reason))
    // Superseded or not, what was captured is sealed and computed.
    yield* claimName(self, recordingKind, end)
    const startedAt = yield* Clock.currentTimeMillis
    const partFolder = folder.partFolder(recordingId)
    const journal = yield* JournalWriter.make({
      folder: partFolder,
      manifest: {
        format: manifestFormat,
        recordingId,
        roomId,
        nodeId,
        incarnation: folder.incarnation,
        part: 0,
        startedAt,
        state: "Capturing"
      }
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "JournalExists"
          ? new Conflict({ entity: recordingKind, id: recordingId, problem: error.message })
          : new StorageUnavailable({ reason: error.message })
      )
    )

    const { incarnation } = folder
    let state: RecordingState = "Capturing"
    const enter = (next: RecordingState) => args.entered((state = next))
    enter(state)
    let tracks = 0
    let receipt: Receipt | undefined
    let problem: string | undefined

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
      ...(receipt === undefined ? {} : index.describe(receipt)),
      ...(problem === undefined ? {} : { problem })
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
    const capture = (producer: ProducerInfo) =>
      media
        .capture(producer.producerId, (track) => Effect.sync(() => sinkOf(journal, track)))
        .pipe(
          Effect.tap(() => Effect.sync(() => tracks++)),
          Scope.provide(captures),
          // A producer that is gone before it was captured had nothing to record.
          Effect.catch((error) =>
            Effect.logWarning(`${recordingId}: cannot capture ${producer.producerId}`, error)
          )
        )
    yield* media
      .watchProducers({
        opened: (producer) => (producer.kind === "data" ? Effect.void : Effect.asVoid(capture(producer))),
        closed: () => Effect.void
      })
      .pipe(Scope.provide(captures))

    const finish = Effect.fnUntraced(function* (reason: string) {
      enter("Sealing")
      // Waits for what the worker has taken before, so that nothing that reached the node is missed.
      yield* Scope.close(captures, Exit.void)
      yield* Effect.retry(journal.seal(reason), { schedule: again, while: (error) => error.retry === "safe" })
      receipt = yield* args.computing
        .withPermit(computeInChild(partFolder, { computedBy: nodeId }))
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
      Stop: ({ reason }) => Effect.map(end(reason), info)
    }
  })
)

/** Packets and sender reports of one capture, straight into the journal, synchronously. */
const sinkOf = (journal: JournalWriter.JournalWriter, capture: CaptureInfo): CaptureSink => {
  const track = journal.track({
    producerId: capture.producerId,
    kind: capture.kind,
    mimeType: capture.codec === "opus" ? "audio/opus" : "video/VP8",
    clockRate: capture.clockRate,
    payloadType: capture.payloadType,
    ...(capture.channels === undefined ? {} : { channels: capture.channels })
  })
  return {
    rtp: (packet) => journal.rtp(track, packet),
    senderReport: ({ ageMs, ntpMs, rtpTimestamp }) =>
      journal.senderReport(track, { ...ntpOf(ntpMs), rtpTimestamp, ageMs }),
    closed: () => journal.endTrack(track)
  }
}

/** Unix milliseconds as NTP: seconds since 1900 and their fraction in 2^-32 s (RFC 3550, section 4). */
const ntpOf = (unixMs: number) => {
  const seconds = Math.floor(unixMs / 1000)
  return {
    ntpSeconds: seconds + 2_208_988_800,
    ntpFraction: Math.floor(((unixMs - seconds * 1000) / 1000) * 2 ** 32)
  }
}
