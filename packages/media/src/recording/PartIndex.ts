/**
 * The first of two passes over a journal: which tracks there are, how many frames each has, and where everything lies on the
 * recording's timeline. The second pass (Mux) relies on it and sees the same records.
 */
import * as Effect from "effect/Effect"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import type { TrackNumber } from "./JournalFormat.ts"
import type { JournalStats } from "./JournalParser.ts"
import { openJournal } from "./JournalReader.ts"
import type { Codec, RecordedTrack, RecordedTracks } from "./RecordedTracks.ts"
import { makeRecordedTracks } from "./RecordedTracks.ts"
import type { LossPolicy } from "./rtp/FrameAssembler.ts"
import type { TrackTimes } from "./SenderClock.ts"

/** A track that has frames, and so becomes a stream of the file. */
export interface IndexedStream {
  readonly track: RecordedTrack
  readonly codec: Codec
  readonly times: TrackTimes
}

export interface PartIndex {
  readonly part: RecordedTracks["part"]
  readonly journal: Readonly<JournalStats>
  readonly tracks: ReadonlyArray<RecordedTrack>
  /** In the order of the file's streams. */
  readonly streams: ReadonlyArray<IndexedStream>
  /**
   * 0 of the recording's timeline on the node's monotonic clock: the part's anchor, or the first frame if that was sent before (or
   * the anchor is lost).
   */
  readonly zeroUs: number
  readonly selection: Selection
}

/** What of the journal is to be in the file. */
export interface Selection {
  readonly lossPolicy: LossPolicy
  /** Tracks to leave out. */
  readonly without: ReadonlySet<TrackNumber>
}

export const indexPart: (
  journalFile: string,
  selection: Selection,
  onProgress: (bytesRead: number) => Effect.Effect<void>
) => Effect.Effect<PartIndex, RecordingStorageError | RecordingFileInvalid | UnsupportedFormat> =
  Effect.fnUntraced(function* (journalFile, selection, onProgress) {
    const recorded = makeRecordedTracks({ onFrame: () => {}, lossPolicy: selection.lossPolicy })
    const reader = yield* openJournal(journalFile)
    yield* reader.forEach(recorded.visit, onProgress)
    recorded.finish()

    const tracks = [...recorded.tracks.values()]
    const streams = tracks.flatMap((track) =>
      track.codec !== undefined && track.first !== undefined && !selection.without.has(track.track)
        ? [{ track, codec: track.codec, times: track.clock.times() }]
        : []
    )
    const starts = streams.flatMap(({ track: { first }, times }) =>
      first === undefined ? [] : [times.timeUs(first.ticks, first.arrivalUs)]
    )
    const zeroUs = Math.min(recorded.part.anchorUs ?? Infinity, ...starts)
    return { part: recorded.part, journal: reader.stats, tracks, streams, zeroUs, selection }
  }, Effect.scoped)
