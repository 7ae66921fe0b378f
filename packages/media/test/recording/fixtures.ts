/** What the tests of recordings share: folders that go away, manifests, tracks, and a journal read as a whole. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as fsp from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import type {
  Data,
  JournalRecord,
  Pause,
  SenderReport,
  TrackInfo,
  TrackNumber
} from "../../src/recording/JournalFormat.ts"
import { openJournal } from "../../src/recording/JournalReader.ts"
import { make as makeJournalThread } from "../../src/recording/JournalThread.ts"
import * as JournalWriter from "../../src/recording/JournalWriter.ts"
import type { Manifest } from "../../src/recording/Manifest.ts"
import { parseRtp, unwrapNear } from "../../src/recording/rtp/RtpPacket.ts"

export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => fsp.mkdtemp(path.join(os.tmpdir(), "ebb-recording-"))),
  (folder) => Effect.promise(() => fsp.rm(folder, { recursive: true, force: true }))
)

export const aManifest = (changes: Partial<Manifest> = {}): Manifest => ({
  format: 1,
  recordingId: "rec",
  roomId: "room",
  nodeId: "node",
  incarnation: "incarnation",
  part: 0,
  startedAt: 1_795_000_000_000,
  state: "Capturing",
  ...changes
})

export const opusTrack = (changes: Partial<TrackInfo> = {}): TrackInfo => ({
  producerId: "audio",
  peerId: "peer",
  kind: "audio",
  mimeType: "audio/opus",
  clockRate: 48_000,
  channels: 2,
  ...changes
})

export const vp8Track = (changes: Partial<TrackInfo> = {}): TrackInfo => ({
  producerId: "video",
  peerId: "peer",
  kind: "video",
  mimeType: "video/VP8",
  clockRate: 90_000,
  ...changes
})

export const readAll = Effect.fnUntraced(function* (folder: string) {
  const records: Array<JournalRecord> = []
  const reader = yield* openJournal(path.join(folder, "journal.ebbj"))
  yield* reader.forEach((record) => records.push(record))
  return { records, stats: reader.stats }
}, Effect.scoped)

/** A clock that stands where it is put: a journal can be written in the past, and faster than time. */
export const settableClock = () => {
  const state = { monotonicUs: 1_000_000_000, wallMs: 1_795_000_000_000 }
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => state.wallMs,
    currentTimeMillis: Effect.sync(() => state.wallMs),
    currentTimeNanosUnsafe: () => BigInt(state.wallMs) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(state.wallMs) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(Math.round(state.monotonicUs)) * 1000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(Math.round(state.monotonicUs)) * 1000n),
    sleep: () => Effect.never
  }
  return { state, clock }
}

/** One for all journals of a test file; it ends with its process. */
export const journalThread = await Effect.runPromise(Scope.provide(makeJournalThread(), Scope.makeUnsafe()))

/** One thing that happens to a capturing process. */
export interface CaptureEvent {
  /** After the start of the part. */
  readonly atUs: number
  readonly track: string
  readonly packet?: Uint8Array
  readonly report?: SenderReport
  readonly data?: Data
  readonly pause?: Pause
  readonly resume?: Pause
  /** Somebody sets the host's wall clock. */
  readonly wallMs?: number
}

/** Writes a part's journal as if its events had happened at their times. Sealed unless told otherwise. */
export const writePart = Effect.fnUntraced(function* (options: {
  readonly folder: string
  readonly manifest?: Partial<Manifest>
  readonly tracks: Readonly<Record<string, TrackInfo>>
  /** In any order, or, of what is longer than memory, one after the other in theirs. */
  readonly events: ReadonlyArray<CaptureEvent> | Iterable<CaptureEvent>
  readonly seal?: boolean
  /** The host's clocks at the start of the part. */
  readonly clocks?: { readonly monotonicUs: number; readonly wallMs: number }
}) {
  const { state, clock } = settableClock()
  Object.assign(state, options.clocks)
  const start = state.monotonicUs
  const begun = new Map<string, TrackNumber>()
  const writer = yield* JournalWriter.make({
    folder: options.folder,
    manifest: aManifest(options.manifest),
    thread: journalThread
  }).pipe(Effect.provideService(Clock.Clock, clock))
  const { events } = options
  let count = 0
  for (const event of Array.isArray(events) ? events.toSorted((a, b) => a.atUs - b.atUs) : events) {
    // Faster than time: the queue to the disk is for less than all of it.
    if (++count % 2000 === 0) yield* writer.written
    state.monotonicUs = start + event.atUs
    state.wallMs = event.wallMs ?? state.wallMs
    const info = options.tracks[event.track]
    if (info === undefined) throw new Error(`no track ${event.track}`)
    const track = begun.get(event.track) ?? writer.track(info)
    begun.set(event.track, track)
    if (event.packet !== undefined) writer.rtp(track, event.packet)
    if (event.report !== undefined) writer.senderReport(track, event.report)
    if (event.data !== undefined) writer.data(track, event.data)
    if (event.pause !== undefined) writer.pause(event.pause)
    if (event.resume !== undefined) writer.resume(event.resume)
  }
  if (options.seal ?? true) yield* writer.seal("stopped")
}, Effect.scoped)

/** Events for packets that arrive as they were sent, `atUs` after the start, without jitter. */
export const arriving = (
  track: string,
  packets: ReadonlyArray<Uint8Array>,
  clockRate: number,
  atUs: number
): ReadonlyArray<CaptureEvent> => {
  const first = parseRtp(packets[0] ?? new Uint8Array())?.timestamp ?? 0
  return packets.map((packet) => {
    const ticks = unwrapNear(0, (parseRtp(packet)?.timestamp ?? 0) - first, 32)
    return { atUs: atUs + (ticks * 1_000_000) / clockRate, track, packet }
  })
}
