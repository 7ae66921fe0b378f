/** What the tests of recordings share: folders that go away, manifests, tracks, and a journal read as a whole. */
import * as Effect from "effect/Effect"
import * as fsp from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import type { JournalRecord, TrackInfo } from "../../src/recording/JournalFormat.ts"
import { openJournal } from "../../src/recording/JournalReader.ts"
import type { Manifest } from "../../src/recording/Manifest.ts"

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

export const opusTrack: TrackInfo = {
  producerId: "audio",
  peerId: "peer",
  kind: "audio",
  mimeType: "audio/opus",
  clockRate: 48_000,
  channels: 2
}

export const vp8Track: TrackInfo = {
  producerId: "video",
  peerId: "peer",
  kind: "video",
  mimeType: "video/VP8",
  clockRate: 90_000
}

export const readAll = Effect.fnUntraced(function* (folder: string) {
  const records: Array<JournalRecord> = []
  const reader = yield* openJournal(path.join(folder, "journal.ebbj"))
  yield* reader.forEach((record) => records.push(record))
  return { records, stats: reader.stats }
}, Effect.scoped)
