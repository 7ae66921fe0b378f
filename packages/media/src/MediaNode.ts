/**
 * The node: root of its rooms and recordings, and the one that decides what is taken. Owns which rooms live here and how they are doing;
 * its life, admission and control plane are the runtime's axes, and a SIGTERM is a Drain to it like any other.
 *
 * Guarantees: a room or recording is accepted synchronously or refused; the same id and options again return what exists; the
 * drain waits for live children, never for a counter.
 */
import type { AnyMessage, NodeLeaseBody, Self, Spawned, SpawnError, StateChange } from "@ebb/actors"
import { concurrently, define, Directory, observableGauge } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { RoomMedia } from "./engine/RoomMedia.ts"
import type { AdoptionArgs } from "./Adoption.ts"
import { adoption } from "./Adoption.ts"
import { mediaInstruments } from "./MediaMetrics.ts"
import { Membership } from "./Membership.ts"
import { Conflict, MediaUnavailable, NotFound, StorageUnavailable } from "./protocol/Common.ts"
import { isReady } from "./nodeReadiness.ts"
import type { NodeReport } from "./protocol/Node.ts"
import { nodeKind, NodeProtocol } from "./protocol/Node.ts"
import type { RecordingMessage, RecordingOptions } from "./protocol/Recording.ts"
import { areSameOptions, recordingKind } from "./protocol/Recording.ts"
import type { RoomMessage, RoomOptions } from "./protocol/Room.ts"
import { roomKind } from "./protocol/Room.ts"
import type { RecordingArgs } from "./Recording.ts"
import { recording } from "./Recording.ts"
import type { DeletionWord, DiskReading, IncarnationFolder } from "./recording/index.ts"
import { RecordingIndex } from "./RecordingIndex.ts"
import { makeRecordingTally } from "./RecordingTally.ts"
import {
  JournalThread,
  keepRemovingExpired,
  makeComputeQueue,
  makeDiskRoom,
  RecordingStore,
  removePartsOf,
  stillUnfinished
} from "./recording/index.ts"
import { keepRemovingOldResults } from "./ResultRetention.ts"
import { room } from "./Room.ts"

export interface MediaNodeArgs {
  /** What its lease says of it from the start. */
  readonly lease: NodeLeaseBody
  /** Where it and dead processes have their folders of journals. */
  readonly dataDir: string
  /** Milliseconds for which a journal is kept after its receipt. Default: see `RetentionOptions`. */
  readonly keepJournalsMs: number | undefined
  /** Milliseconds for which a result is kept. Undefined: for ever. */
  readonly keepResultsMs: number | undefined
  /** Where it can be scraped, for its report. */
  readonly metrics: string | undefined
  /** See `MediaNodeOptions`. */
  readonly journal: JournalOptions
  /** Where results are made. */
  readonly resultsDir: string
  /** This process's own folder of journals. */
  readonly folder: IncarnationFolder.IncarnationFolder
  /** Parts that ended without a receipt, by folder, and why. Shared with the program: its exit code depends on it. */
  readonly unfinished: Map<string, string>
}

export interface JournalOptions {
  /** See `JournalThreadOptions`. */
  readonly queueBytes?: number
  /** See `JournalWriterOptions`. */
  readonly syncEveryMs?: number
  /** See `DiskRoomOptions`. */
  readonly minFreeBytes?: number
}

interface LiveRoom {
  readonly room: Spawned<RoomMessage, RoomStartError>
  readonly options: RoomOptions
  media: RoomMedia | undefined
}

interface LiveRecording {
  readonly recording: Spawned<RecordingMessage, RecordingStartError>
  readonly roomId: string
  readonly options: RecordingOptions
}

type RoomStartError = Effect.Error<ReturnType<typeof room.behaviour>>
type RecordingStartError = Effect.Error<ReturnType<typeof recording.behaviour>>

/** How often it is looked which of the unfinished recordings still are. */
const unfinishedLookMs = 10_000

export const mediaNode = define(nodeKind, NodeProtocol, (self: Self, args: MediaNodeArgs) =>
  Effect.gen(function* () {
    const nodeId = self.address.id
    const { folder, unfinished } = args
    const rooms = new Map<string, LiveRoom>()
    const recordings = new Map<string, LiveRecording>()
    const computing = yield* makeComputeQueue()
    const { minFreeBytes, queueBytes, syncEveryMs } = args.journal
    const journals = yield* JournalThread.make(queueBytes === undefined ? {} : { queueBytes })
    const disk = yield* makeDiskRoom({
      dataDir: args.dataDir,
      resultsDir: args.resultsDir,
      thread: journals,
      ...(minFreeBytes === undefined ? {} : { minFreeBytes })
    })
    const tally = yield* makeRecordingTally(computing, disk, journals)
    const lease = yield* Membership
    const run = yield* Effect.map(Effect.context<never>(), Effect.runForkWith)

    // What the others place by. It follows the state; it never decides.
    const publish = () => {
      const { admission, control, life } = self.state()
      const about = {
        ...args.lease,
        life,
        admission,
        control,
        rooms: rooms.size,
        recordings: recordings.size
      }
      run(lease.publish(about))
    }
    let last: StateChange | undefined
    self.onStateChange((_, change) => {
      last = change
      publish()
    })
    yield* lease.statusChanges.pipe(
      Stream.runForEach((status) =>
        Effect.sync(() => self.setControl(status, { by: "lease", reason: "renewal" }))
      ),
      Effect.forkScoped
    )
    // Somebody else is this node now. What was recorded is still finished here: nobody else can.
    yield* lease.superseded.pipe(
      Effect.flatMap(({ message }) =>
        self.drain({ by: "lease", reason: message, reversible: false, evacuate: true, deadlines: {} })
      ),
      Effect.forkScoped
    )

    let unfinishedNow = 0
    yield* observableGauge(mediaInstruments.info, { version: args.lease.version }, () => 1)
    yield* observableGauge(mediaInstruments.ready, {}, () => (isReady(self.state()) ? 1 : 0))
    yield* observableGauge(mediaInstruments.rooms, {}, () => rooms.size)
    yield* observableGauge(mediaInstruments.recordingsUnfinished, {}, () => unfinishedNow)
    // Somebody may have finished them by hand: that is known by a look at the disk, and costs nothing while there are none.
    yield* Effect.suspend(() => stillUnfinished(unfinished)).pipe(
      Effect.tap((left) => Effect.sync(() => (unfinishedNow = left.length))),
      Effect.andThen(Effect.sleep(unfinishedLookMs)),
      Effect.forever,
      Effect.forkScoped
    )

    // Refused only when a drain was faster than the start: then the node has ended already.
    const adoptionArgs: AdoptionArgs = {
      dataDir: args.dataDir,
      nodeId,
      computing,
      isDraining: () => !["Starting", "Serving"].includes(self.state().life),
      unfinished: (partFolder, problem) => unfinished.set(partFolder, problem)
    }
    const adopting = yield* Effect.option(self.spawn(adoption, nodeId, adoptionArgs, { holds: "sealing" }))
    if (Option.isSome(adopting)) {
      const { keepJournalsMs, keepResultsMs } = args
      const policy =
        keepResultsMs === undefined
          ? Effect.void
          : keepRemovingOldResults({ nodeId, keepMs: keepResultsMs, dataDir: args.dataDir, own: folder })
      const retention = { own: folder, ...(keepJournalsMs === undefined ? {} : { keepMs: keepJournalsMs }) }
      // Not before: both want the locks of the dead.
      yield* adopting.value.ref.terminated.pipe(
        Effect.andThen(
          Effect.all([keepRemovingExpired(args.dataDir, retention), policy], {
            concurrency: "unbounded",
            discard: true
          })
        ),
        Effect.forkScoped
      )
    }

    const index = yield* RecordingIndex
    const store = yield* RecordingStore
    const { registryLost } = yield* Directory
    yield* Stream.merge(Stream.succeed("this node starts"), registryLost).pipe(
      Stream.runForEach(() => index.refill),
      Effect.forkScoped
    )

    const openRoom = Effect.fnUntraced(function* (roomId: string, options: RoomOptions, prefer: boolean) {
      for (let live = rooms.get(roomId); live !== undefined; live = rooms.get(roomId)) {
        if (!live.room.isOver()) {
          if (live.options.metadata !== options.metadata) {
            return yield* new Conflict({ entity: "room", id: roomId, problem: "with other options" })
          }
          yield* startedOf(live.room)
          if (!live.room.isOver()) return { roomId, nodeId, created: false }
        }
        // On its way out it holds its name until it is gone; the next of that name waits for that.
        yield* live.room.ref.terminated
        forget(roomId, live)
      }
      const live = yield* Effect.map(
        accepted(
          self.spawn(
            room,
            roomId,
            { nodeId, options, opened: (media) => setMedia(roomId, media) },
            { prefer }
          )
        ),
        (spawned): LiveRoom => ({ room: spawned, options, media: undefined })
      )
      rooms.set(roomId, live)
      publish()
      yield* self.watch(live.room.ref, () => Effect.sync(() => forget(roomId, live)))
      yield* startedOf(live.room)
      return { roomId, nodeId, created: true }
    })

    const forget = (roomId: string, live: LiveRoom) => {
      if (rooms.get(roomId) === live) rooms.delete(roomId)
      publish()
    }
    const setMedia = (roomId: string, media: RoomMedia) => {
      const live = rooms.get(roomId)
      if (live !== undefined) live.media = media
    }

    const startRecording = Effect.fnUntraced(function* (
      recordingId: string,
      roomId: string,
      options: RecordingOptions
    ) {
      // Before anything is looked at that may change meanwhile: a room that was only just asked for.
      const coming = rooms.get(roomId)
      if (coming !== undefined && coming.media === undefined) yield* startedOf(coming.room)
      const existing = recordings.get(recordingId)
      if (existing !== undefined) {
        if (existing.roomId !== roomId) {
          const problem = `it is of room '${existing.roomId}'`
          return yield* new Conflict({ entity: "recording", id: recordingId, problem })
        }
        if (!areSameOptions(existing.options, options)) {
          return yield* new Conflict({ entity: "recording", id: recordingId, problem: "with other options" })
        }
        yield* startedOf(existing.recording)
        return { created: false, recording: yield* infoOf(existing.recording) }
      }
      const live = rooms.get(roomId)
      if (live?.media === undefined || live.room.isOver())
        return yield* new NotFound({ entity: "room", id: roomId })
      const recordingArgs: RecordingArgs = {
        nodeId,
        roomId,
        room: live.room.ref,
        media: live.media,
        options,
        folder,
        computing,
        disk,
        journals,
        syncEveryMs,
        entered: (state, journal) => {
          tally.entered(recordingId, state, journal)
          disk.entered(recordingId, state, journal)
        },
        unfinished: (problem) => unfinished.set(folder.partFolder(recordingId), problem)
      }
      const spawned = yield* accepted(self.spawn(recording, recordingId, recordingArgs, { holds: "sealing" }))
      recordings.set(recordingId, { recording: spawned, roomId, options })
      publish()
      yield* self.watch(spawned.ref, () =>
        Effect.sync(() => {
          recordings.delete(recordingId)
          tally.gone(recordingId)
          disk.gone(recordingId)
          publish()
        })
      )
      yield* startedOf(spawned)
      return { created: true, recording: yield* infoOf(spawned) }
    })

    const deleteRecording = Effect.fnUntraced(function* (word: DeletionWord) {
      const { recordingId } = word
      if (recordings.has(recordingId)) {
        const problem = "it is captured or computed here"
        return yield* new Conflict({ entity: recordingKind, id: recordingId, problem })
      }
      // The store first: what it has noted, no computation gets past.
      return yield* Effect.andThen(
        store.remove(word),
        removePartsOf(args.dataDir, recordingId, store, { own: folder })
      ).pipe(
        Effect.map(({ held, removed }) => {
          for (const part of removed) unfinished.delete(part)
          return { journals: removed.length, held }
        }),
        Effect.mapError(({ message: reason }) => new StorageUnavailable({ reason }))
      )
    })

    const report = Effect.map(stillUnfinished(unfinished), (left): NodeReport => {
      const { admission, control, life } = self.state()
      const children = self.children().map(({ ageMs, id, kind }) => ({ kind, id, ageMs }))
      return {
        nodeId,
        incarnation: self.address.incarnation,
        version: args.lease.version,
        pid: args.lease.pid,
        startedAt: args.lease.startedAt,
        life,
        admission,
        control,
        rooms: children.filter(({ kind }) => kind === roomKind),
        recordings: children.filter(({ kind }) => kind === recordingKind),
        unfinished: left,
        computing: computing.line(),
        disk: diskReport(disk.reading(), journals.queuedBytes()),
        ...(last === undefined
          ? {}
          : {
              since: {
                axis: last.axis,
                from: last.from,
                to: last.to,
                by: last.by,
                reason: last.reason,
                at: last.atMs
              }
            }),
        deadlines: self.progress().deadlines,
        ...(args.metrics === undefined ? {} : { metrics: args.metrics }),
        blockers:
          life === "Serving" || life === "Starting" ? [] : children.toSorted((a, b) => b.ageMs - a.ageMs)
      }
    })

    // The first step of each runs in the turn in which the message is taken: that is where a room is accepted or refused.
    return {
      OpenRoom: ({ admission, options, roomId }) =>
        concurrently(openRoom(roomId, options, admission === "prefer")),
      StartRecording: ({ options = {}, recordingId, roomId }) =>
        concurrently(
          Effect.tapError(startRecording(recordingId, roomId, options), ({ _tag }) =>
            Effect.sync(() => tally.refused(_tag))
          )
        ),
      DeleteRecording: (word) => concurrently(deleteRecording(word)),
      Report: () => report
    }
  })
)

/** What is not known is left out. */
const diskReport = (
  { freeBytes, stalledMs, wantedBytes }: DiskReading,
  queuedBytes: number
): NonNullable<NodeReport["disk"]> => ({
  stalledMs,
  queuedBytes,
  ...(Number.isNaN(freeBytes) ? {} : { freeBytes, wantedBytes })
})

/** One of that name is about to be gone. */
const accepted = <A, R>(spawn: Effect.Effect<A, SpawnError, R>) =>
  Effect.catchTags(spawn, {
    AlreadySpawned: (error) =>
      new MediaUnavailable({ code: "NameBusy", reason: `${error.message}; it is ending` }),
    // The contract has ids alone.
    MalformedMessage: Effect.die
  })

const infoOf = <E>({ ref }: Spawned<RecordingMessage, E>) =>
  Effect.mapError(
    ref.ask("Get", undefined),
    (error) => new MediaUnavailable({ code: error._tag, reason: (error as Error).message })
  )

/** A child that ended while it started: somebody stopped it, or its worker died. Nothing of it is left. */
const startedOf = <R extends AnyMessage, E>(spawned: Spawned<R, E>) =>
  Effect.catchTag(spawned.started, "ActorCrashed", (crashed) =>
    Effect.fail(new MediaUnavailable({ code: "EndedAtStart", reason: (crashed as Error).message }))
  )
