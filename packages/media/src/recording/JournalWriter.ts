/**
 * Owns one part's journal while it is captured. One synchronous write per packet into the page cache: what reached this
 * process survives its `kill -9`. What survives a power cut is what `fdatasync` has had: at most `syncEveryMs` old, and
 * everything at the seal.
 *
 * `rtp` and its neighbours are plain functions for an RTP event handler: they never throw and never wait. A write that fails is
 * a gap: counted, written down as soon as the disk takes something again, and told once through `failed`.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import { JournalExists } from "../MediaError.ts"
import { attempt, makeFolder, remove, storageError, syncFolder } from "./internal/disk.ts"
import {
  encodeMap,
  fileHeader,
  journalName,
  maxPayloadBytes,
  recordHeaderBytes,
  recordType,
  sealHeader
} from "./JournalFormat.ts"
import type { Data, Pause, SenderReport, TrackInfo, TrackNumber } from "./JournalFormat.ts"
import type { Manifest } from "./Manifest.ts"
import { manifestPath, setManifestState, writeManifest } from "./Manifest.ts"

export interface JournalWriterOptions {
  /** The part's own folder, inside a folder whose lock this process holds. Must not hold a journal yet. */
  readonly folder: string
  readonly manifest: Manifest
  /** Milliseconds between two `fdatasync`, off the event loop. Default 1000. Nothing waits for it. */
  readonly syncEveryMs?: number
}

export interface JournalWriterStats {
  readonly packets: number
  readonly bytes: number
  /** Times the disk refused, and the packets that are lost by it. */
  readonly gaps: number
  readonly lostPackets: number
}

export interface SealedJournal {
  readonly folder: string
  readonly reason: string
  readonly stats: JournalWriterStats
}

export interface JournalWriter {
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
  /** Fails with the first error of a write or sync, and never succeeds. The writer goes on trying all the same. */
  readonly failed: Effect.Effect<never, RecordingStorageError>
  /**
   * Ends the capture, writes the seal and makes all durable. Idempotent: one outcome for all callers, the first reason counts.
   * After a failure the capture stays ended and sealing may be tried again.
   */
  readonly seal: (
    reason: string
  ) => Effect.Effect<SealedJournal, RecordingStorageError | RecordingFileInvalid | UnsupportedFormat>
}

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
): Effect.fn.Return<JournalWriter, JournalExists | RecordingStorageError, Scope.Scope> {
  const { folder, manifest } = options
  const file = path.join(folder, journalName)
  const clock = yield* Clock.Clock
  const nowUs = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n)

  yield* makeFolder(folder)
  const failure = Deferred.makeUnsafe<never, RecordingStorageError>()
  const stats = { packets: 0, bytes: 0, gaps: 0, lostPackets: 0 }
  /** Set before the descriptor is closed: nothing may be written to a number that another file may have by then. */
  let closed = false
  /** The reason of the first seal: from then on nothing is captured. */
  let ended: string | undefined
  let sealWritten = false
  let lastError: RecordingStorageError | undefined
  let dirty = false
  /** Packets lost since the last gap record, and why. */
  let untold = { packets: 0, reason: "" }
  /** Begins and ends of tracks and pauses that the disk refused: packets mean nothing without them, so they go first. */
  const owed: Array<{ readonly type: number; readonly track: TrackNumber; readonly payload: Uint8Array }> = []
  let length = 0
  let lastTrack = 0

  const fd = yield* Effect.acquireRelease(
    attempt("create", file, async () => fs.openSync(file, "ax")).pipe(
      Effect.catchIf(
        (error) => error.code === "EEXIST",
        () => new JournalExists({ folder, recordingId: manifest.recordingId })
      )
    ),
    (open) =>
      Effect.sync(() => {
        closed = true
      }).pipe(Effect.andThen(attempt("close", file, async () => fs.closeSync(open))), Effect.ignore)
  )
  const begun = <A, E, R>(step: Effect.Effect<A, E, R>) =>
    Effect.onError(step, () => Effect.ignore(discardPart(folder)))
  yield* begun(Effect.andThen(writeManifest(folder, manifest), syncFolder(path.dirname(folder))))

  const scratch = Buffer.allocUnsafeSlow(recordHeaderBytes + 65_536)

  const tell = (error: RecordingStorageError): void => {
    lastError = error
    Deferred.doneUnsafe(failure, Effect.fail(error))
  }

  /** All of it or nothing: a short write is cut off again, and if even that fails the reader finds its way past it. */
  const write = (bytes: Buffer | Uint8Array, size: number): string | undefined => {
    try {
      let done = 0
      while (done < size) done += fs.writeSync(fd, bytes, done, size - done)
      length += size
      stats.bytes += size
      dirty = true
      return undefined
    } catch (cause) {
      const error = storageError("append to", file, cause)
      try {
        fs.ftruncateSync(fd, length)
      } catch {
        // The first error is the one to tell.
      }
      tell(error)
      return error.code
    }
  }

  const writeRecord = (type: number, track: TrackNumber, payload: Uint8Array): string | undefined => {
    const size = recordHeaderBytes + payload.length
    if (payload.length > maxPayloadBytes) return "TooLarge"
    const target = size <= scratch.length ? scratch : Buffer.allocUnsafe(size)
    target.set(payload, recordHeaderBytes)
    sealHeader(target, type, track, nowUs(), payload.length)
    return write(target, size)
  }

  /** Writes what earlier refusals left owing. */
  const catchUp = (): string | undefined => {
    for (let first = owed[0]; first !== undefined; first = owed[0]) {
      const refused = writeRecord(first.type, first.track, first.payload)
      if (refused !== undefined) return refused
      owed.shift()
    }
    if (untold.packets === 0) return undefined
    const refused = writeRecord(recordType.gap, 0, encodeMap(untold))
    if (refused === undefined) untold = { packets: 0, reason: "" }
    return refused
  }

  const append = (type: number, track: TrackNumber, payload: Uint8Array): boolean => {
    if (closed) return false
    const refused = catchUp() ?? writeRecord(type, track, payload)
    if (refused === undefined) return true
    if (type === recordType.rtp || type === recordType.data) {
      if (untold.packets === 0) stats.gaps += 1
      stats.lostPackets += 1
      untold = { packets: untold.packets + 1, reason: refused }
    } else if (type !== recordType.senderReport && type !== recordType.seal) {
      owed.push({ type, track, payload })
    }
    return false
  }

  yield* begun(
    Effect.suspend(() => {
      const refused = write(fileHeader, fileHeader.length)
      return refused === undefined ? Effect.void : Deferred.await(failure)
    })
  )
  append(
    recordType.anchor,
    0,
    encodeMap({
      wallMs: clock.currentTimeMillisUnsafe(),
      recordingId: manifest.recordingId,
      incarnation: manifest.incarnation,
      part: manifest.part
    })
  )

  const sync = Effect.suspend(() => {
    if (!dirty || closed) return Effect.void
    dirty = false
    return attempt("sync", file, () => fdatasync(fd))
  })
  yield* Effect.sleep(options.syncEveryMs ?? 1000).pipe(
    Effect.andThen(Effect.uninterruptible(sync)),
    Effect.catch((error) => Effect.sync(() => tell(error))),
    Effect.forever,
    Effect.forkScoped
  )

  const writeSeal = Effect.fnUntraced(function* (reason: string) {
    sealWritten ||= append(recordType.seal, 0, encodeMap({ reason }))
    if (!sealWritten) return yield* lastError ?? Deferred.await(failure)
    yield* attempt("sync", file, () => fdatasync(fd))
    yield* setManifestState(folder, "Sealing")
    return { folder, reason, stats: { ...stats } }
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
      lastTrack += 1
      if (ended === undefined) append(recordType.track, lastTrack, encodeMap(info))
      return lastTrack
    },
    rtp: (track, packet) => {
      if (ended === undefined && append(recordType.rtp, track, packet)) stats.packets += 1
    },
    senderReport: (track, report) => {
      if (ended === undefined) append(recordType.senderReport, track, encodeMap(report))
    },
    endTrack: (track) => {
      if (ended === undefined) append(recordType.trackEnd, track, new Uint8Array(0))
    },
    data: (track, message) => {
      if (ended === undefined && append(recordType.data, track, encodeMap(message))) stats.packets += 1
    },
    pause: (cause) => {
      if (ended === undefined) append(recordType.pause, 0, encodeMap(cause))
    },
    resume: (cause) => {
      if (ended === undefined) append(recordType.resume, 0, encodeMap(cause))
    },
    get stats() {
      return { ...stats }
    },
    failed: Deferred.await(failure),
    seal
  }
})

const fdatasync = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)))
  })
