/**
 * The first of two passes over a part's journal: which tracks there are, how many frames each has, where something is missing, and how the
 * clocks ran. The second pass (Mux) relies on it and sees the same records.
 */
import * as Effect from "effect/Effect"
import type { RecordingFileInvalid, RecordingStorageError, UnsupportedFormat } from "../MediaError.ts"
import type { JournalRecord, TrackNumber } from "./JournalFormat.ts"
import type { JournalStats } from "./JournalParser.ts"
import { openJournal } from "./JournalReader.ts"
import type { RecordedTrack, RecordedTracks } from "./RecordedTracks.ts"
import { makeRecordedTracks } from "./RecordedTracks.ts"
import type { LossPolicy } from "./rtp/FrameAssembler.ts"
import type { TimedPacket } from "./rtp/RtpSequencer.ts"
import type { TrackTimes } from "./SenderClock.ts"
import type { Span, TimedPart } from "./Timeline.ts"

export interface IndexedTrack {
  readonly track: RecordedTrack
  readonly times: TrackTimes
  /** Where packets never came, on the node's clock. */
  readonly holes: ReadonlyArray<Span & { readonly packets: number }>
  /** Of a data track: its messages, and when the first came. */
  readonly messages: number
  readonly firstMessageUs: number | undefined
}

export interface PartIndex extends TimedPart {
  readonly journalFile: string
  readonly part: RecordedTracks["part"]
  readonly journal: Readonly<JournalStats>
  /** In the order of their first records. */
  readonly tracks: ReadonlyArray<IndexedTrack>
}

/** Holes closer to each other than this are one; and no more are told of a track, the last then reaches to its end. */
const joinUs = 1_000_000
const maxHoles = 1000

interface Hole {
  readonly before: TimedPacket | undefined
  after: TimedPacket
  packets: number
}

export const indexPart: (
  journalFile: string,
  lossPolicy: LossPolicy,
  onProgress: (bytesRead: number) => Effect.Effect<void>
) => Effect.Effect<PartIndex, RecordingStorageError | RecordingFileInvalid | UnsupportedFormat> =
  Effect.fnUntraced(function* (journalFile, lossPolicy, onProgress) {
    const holes = new Map<TrackNumber, Array<Hole>>()
    const messages = new Map<TrackNumber, { count: number; readonly firstUs: number }>()
    let anchor: TimedPart["anchor"]
    let firstUs: number | undefined
    let lastUs = 0

    const recorded = makeRecordedTracks({
      onFrame: () => {},
      onMissing: ({ track }, packets, before, after) => {
        const known = holes.get(track) ?? []
        holes.set(track, known)
        const last = known.at(-1)
        const isNear = last !== undefined && after.arrivalUs - last.after.arrivalUs < joinUs
        if (last === undefined || (!isNear && known.length < maxHoles)) {
          known.push({ before: withoutBytes(before), after: withoutBytes(after), packets })
          return
        }
        last.after = withoutBytes(after)
        last.packets += packets
      },
      lossPolicy
    })
    const visit = (record: JournalRecord): void => {
      firstUs ??= record.arrivalUs
      lastUs = Math.max(lastUs, record.arrivalUs)
      if (record._tag === "Anchor") anchor ??= { atUs: record.arrivalUs, wallMs: record.anchor.wallMs }
      if (record._tag === "Data") {
        const seen = messages.get(record.track)
        if (seen === undefined) messages.set(record.track, { count: 1, firstUs: record.arrivalUs })
        else seen.count += 1
      }
      recorded.visit(record)
    }
    const reader = yield* openJournal(journalFile)
    yield* reader.forEach(visit, onProgress)
    recorded.finish()

    const tracks = [...recorded.tracks.values()].map((track): IndexedTrack => {
      const times = track.clock.times()
      const at = (packet: TimedPacket) => times.timeUs(packet.ticks, packet.arrivalUs)
      const said = messages.get(track.track)
      return {
        track,
        times,
        holes: (holes.get(track.track) ?? []).map(({ after, before, packets }) => ({
          fromUs: at(before ?? after),
          toUs: at(after),
          packets
        })),
        messages: said?.count ?? 0,
        firstMessageUs: said?.firstUs
      }
    })
    const firstFrames = tracks.flatMap(({ track: { first }, times }) =>
      first === undefined ? [] : [times.timeUs(first.ticks, first.arrivalUs)]
    )
    return {
      journalFile,
      part: recorded.part,
      journal: reader.stats,
      tracks,
      beginUs: anchor?.atUs ?? firstUs ?? 0,
      endUs: lastUs,
      firstFrameUs: firstFrames.length === 0 ? undefined : Math.min(...firstFrames),
      anchor,
      pauses: recorded.pauses,
      peers: recorded.peers
    }
  }, Effect.scoped)

/** What is kept of a packet must not keep the chunk that it lies in. */
const withoutBytes = <P extends TimedPacket | undefined>(timed: P) =>
  timed && { ...timed, packet: { ...timed.packet, payload: new Uint8Array() } }
