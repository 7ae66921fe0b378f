/**
 * Owns one part's journal while it is captured. Each packet is handed to the thread that writes (JournalThread), which has it in the page
 * cache within some microseconds: from then on it survives a `kill -9`. What survives a power cut is what `fdatasync` has had: at most
 * `syncEveryMs` old, and everything at the seal.
 *
 * `rtp` and its neighbours are plain functions for an RTP event handler: they never throw and never wait. What the disk refuses, or what
 * does not fit into the queue while it is slow, is a gap: counted, written down as soon as that is possible.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { JournalExists } from "../MediaError.ts"
import { attempt, makeFolder, remove, syncFolder } from "./internal/disk.ts"
import {
  encodeMap,
  fileHeader,
  journalName,
  recordHeaderBytes,
  recordType,
  sealHeader
} from "./JournalFormat.ts"
import type { Data, Pause, SenderReport, TrackInfo, TrackNumber } from "./JournalFormat.ts"
import type { JournalFileError, JournalThread } from "./JournalThread.ts"
import { make as makeJournalThread } from "./JournalThread.ts"
import type { Manifest } from "./Manifest.ts"
import { manifestPath, setManifestState, writeManifest } from "./Manifest.ts"

export interface JournalWriterOptions {
  /** The part's own folder, inside a folder whose lock this process holds. Must not hold a journal yet. */
  readonly folder: string
  readonly manifest: Manifest
  /**
   * Milliseconds from the first write that is not synced to its `fdatasync`, off the event loop; 0 syncs again as soon as the sync before is
   * done. Default 1000. Nothing waits for it: what a power cut takes is younger than this and the time that the disk needs to sync.
   */
  readonly syncEveryMs?: number
  /** The thread that writes. Default: one of its own. */
  readonly thread?: JournalThread
}

export const defaultSyncEveryMs = 1000

export interface JournalWriterStats {
  /** Handed to the thread that writes, and not lost by now. */
  readonly packets: number
  readonly bytes: number
  /** Times the disk refused or was too slow, and the packets that are lost by it. */
  readonly gaps: number
  readonly lostPackets: number
}

export interface SealedJournal {
  readonly folder: string
  readonly reason: string
  readonly stats: JournalWriterStats
}

export interface JournalWriter {
  /** A number of its own; 0 once all 65,535 are given out: what comes with that is kept, and counts as of no track. */
  readonly track: (info: TrackInfo) => TrackNumber
  /** `packet` is one whole RTP packet; it is copied before this returns. */
  readonly rtp: (track: TrackNumber, packet: Uint8Array) => void
  readonly senderReport: (track: TrackNumber, report: SenderReport) => void
  readonly endTrack: (track: TrackNumber) => void
  /** A message of a data track; it is copied before this returns. */
  readonly data: (track: TrackNumber, message: Data) => void
  /** Says that nothing is to be recorded from here on. Whoever calls leaves the packets out. */
  readonly pause: (cause: Pause) => void
  readonly resume: (cause: Pause) => void
  readonly stats: JournalWriterStats
  /** All that was handed over before is in the page cache, or lost and counted. Fails while the disk refuses. */
  readonly written: Effect.Effect<void, JournalFileError>
  /** Fails with the first error of a write or sync, and never succeeds. The writer goes on trying all the same. */
  readonly failed: Effect.Effect<never, JournalFileError>
  /**
   * Ends the capture, writes the seal and makes all durable. Idempotent: one outcome for all callers, the first reason counts.
   * After a failure the capture stays ended and sealing may be tried again.
   */
  readonly seal: (
    reason: string
  ) => Effect.Effect<SealedJournal, JournalFileError | RecordingFileInvalid | UnsupportedFormat>
}

/** A record has two bytes for it. */
const maxTracks = 65_535

/**
 * A part that could not begin is none: left there, it would be adopted as an empty one, and refuse the next try of its name. The manifest
 * goes first: a journal without one holds nothing, should the process die in between.
 */
export const discardPart = (folder: string) => Effect.andThen(remove(manifestPath(folder)), remove(folder))

/**
 * The order is the guarantee: an empty journal, then the manifest (durable with its folder), then the journal's first byte. So a
 * manifest without a journal means that somebody removed it, and a journal without a manifest holds nothing.
 */
export const make = Effect.fnUntraced(function* (
  options: JournalWriterOptions
): Effect.fn.Return<JournalWriter, JournalExists | JournalFileError, Scope.Scope> {
  const { folder, manifest, syncEveryMs = defaultSyncEveryMs } = options
  const file = path.join(folder, journalName)
  const clock = yield* Clock.Clock
  const nowUs = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n)
  const thread = options.thread ?? (yield* makeJournalThread())

  yield* makeFolder(folder)
  const counted = { packets: 0, bytes: 0 }
  /** The reason of the first seal: from then on nothing is captured. */
  let ended: string | undefined
  let isSealPut = false
  /** Completes with the first write that is not synced. */
  let dirty = Deferred.makeUnsafe<void>()
  let lastTrack = 0
  const syncFailure = Deferred.makeUnsafe<never, RecordingStorageError>()

  const fd = yield* attempt("create", file, () => openNew(file)).pipe(
    Effect.catchIf(
      (error) => error.code === "EEXIST",
      () => new JournalExists({ folder, recordingId: manifest.recordingId })
    )
  )
  const begun = <A, E, R>(step: Effect.Effect<A, E, R>) =>
    Effect.onError(step, () => Effect.ignore(discardPart(folder)))
  // From here on the thread closes it.
  const journal = yield* begun(
    Effect.onError(thread.attach(file, fd), () => Effect.ignore(attempt("close", file, () => closed(fd))))
  )
  yield* begun(Effect.andThen(writeManifest(folder, manifest), syncFolder(path.dirname(folder))))

  const scratch = Buffer.allocUnsafeSlow(recordHeaderBytes + 65_536)
  const record = (type: number, track: TrackNumber, payload: Uint8Array): Uint8Array => {
    const size = recordHeaderBytes + payload.length
    const target = size <= scratch.length ? scratch : Buffer.allocUnsafe(size)
    target.set(payload, recordHeaderBytes)
    sealHeader(target, type, track, nowUs(), payload.length)
    counted.bytes += size
    Deferred.doneUnsafe(dirty, Effect.void)
    return target.subarray(0, size)
  }
  const packet = (type: number, track: TrackNumber, payload: Uint8Array): void => {
    if (ended !== undefined) return
    counted.packets += 1
    journal.packet(record(type, track, payload))
  }
  const must = (type: number, track: TrackNumber, payload: Uint8Array): void =>
    journal.must(record(type, track, payload))
  const whileCapturing = (write: () => void): void => {
    if (ended === undefined) write()
  }

  journal.must(fileHeader)
  must(
    recordType.anchor,
    0,
    encodeMap({
      wallMs: clock.currentTimeMillisUnsafe(),
      recordingId: manifest.recordingId,
      incarnation: manifest.incarnation,
      part: manifest.part
    })
  )
  yield* begun(journal.written)

  const sync = thread.syncing.withPermits(1)(attempt("sync", file, () => fdatasync(fd)))
  const syncWhatIsWritten = Effect.gen(function* () {
    yield* Deferred.await(dirty)
    yield* Effect.sleep(syncEveryMs)
    dirty = Deferred.makeUnsafe()
    yield* Effect.ignore(journal.written)
    yield* Effect.uninterruptible(sync)
  })
  yield* syncWhatIsWritten.pipe(
    Effect.catch((error) => Effect.sync(() => void Deferred.doneUnsafe(syncFailure, Effect.fail(error)))),
    Effect.forever,
    Effect.forkScoped
  )

  const stats = (): JournalWriterStats => {
    const lost = journal.lost()
    return { ...counted, packets: counted.packets - lost.packets, gaps: lost.gaps, lostPackets: lost.packets }
  }
  const writeSeal = Effect.fnUntraced(function* (reason: string) {
    // Refused or not, it is put once: it is written before anything else that comes.
    if (!isSealPut) must(recordType.seal, 0, encodeMap({ reason }))
    isSealPut = true
    yield* journal.written
    yield* sync
    yield* setManifestState(folder, "Sealing")
    return { folder, reason, stats: stats() }
  })
  let sealing: Deferred.Deferred<SealedJournal, Effect.Error<ReturnType<typeof writeSeal>>> | undefined
  const seal: JournalWriter["seal"] = (reason) =>
    Effect.suspend(() => {
      if (sealing !== undefined) return Deferred.await(sealing)
      const outcome = (sealing = Deferred.makeUnsafe())
      ended ??= reason
      return writeSeal(ended).pipe(
        Effect.tapError(() =>
          Effect.sync(() => {
            sealing = undefined
          })
        ),
        Deferred.into(outcome),
        Effect.andThen(Deferred.await(outcome)),
        Effect.uninterruptible
      )
    })

  return {
    track: (info) => {
      if (lastTrack === maxTracks) return 0
      lastTrack += 1
      whileCapturing(() => must(recordType.track, lastTrack, encodeMap(info)))
      return lastTrack
    },
    rtp: (track, payload) => packet(recordType.rtp, track, payload),
    senderReport: (track, report) =>
      whileCapturing(() => journal.soft(record(recordType.senderReport, track, encodeMap(report)))),
    endTrack: (track) => whileCapturing(() => must(recordType.trackEnd, track, new Uint8Array(0))),
    data: (track, message) => packet(recordType.data, track, encodeMap(message)),
    pause: (cause) => whileCapturing(() => must(recordType.pause, 0, encodeMap(cause))),
    resume: (cause) => whileCapturing(() => must(recordType.resume, 0, encodeMap(cause))),
    get stats() {
      return stats()
    },
    written: journal.written,
    failed: Effect.raceFirst(journal.failed, Deferred.await(syncFailure)),
    seal
  }
})

/** `ax`: what is there is another's, and each write goes to the end. */
const openNew = (file: string): Promise<number> =>
  new Promise((resolve, reject) => {
    fs.open(file, "ax", (error, fd) => (error === null ? resolve(fd) : reject(error)))
  })

const closed = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.close(fd, (error) => (error ? reject(error) : resolve()))
  })

const fdatasync = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)))
  })
