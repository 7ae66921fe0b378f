/** The part of a recording that lasted long, as a node would have left it: a sealed journal of the clip, again and again. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import {
  encodeMap,
  fileHeader,
  journalName,
  recordHeaderBytes,
  recordType,
  sealHeader
} from "../../../packages/media/src/recording/JournalFormat.ts"
import { type Clip, endless } from "./clip.ts"

const startedAt = 1_795_000_000_000
const beganUs = 1_000_000_000

export const writeLongPart = (folder: string, clip: Clip, minutes: number): void => {
  mkdirSync(folder, { recursive: true })
  const named = { recordingId: "long", incarnation: "dead", part: 0 }
  const manifest = { format: 1, ...named, roomId: "room", nodeId: "node", startedAt, state: "Sealing" }
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest))
  const file = openSync(join(folder, journalName), "wx")
  const pending: Array<Uint8Array> = []
  const flush = () => void writeSync(file, Buffer.concat(pending.splice(0)))
  const record = (type: number, track: number, ms: number, payload: Uint8Array) => {
    const bytes = Buffer.alloc(recordHeaderBytes + payload.length)
    bytes.set(payload, recordHeaderBytes)
    sealHeader(bytes, type, track, beganUs + Math.round(ms * 1000), payload.length)
    if (pending.push(bytes) === 1000) flush()
  }
  pending.push(fileHeader)
  record(recordType.anchor, 0, 0, encodeMap({ wallMs: startedAt, ...named }))
  const video = { kind: "video", mimeType: "video/VP8", clockRate: 90_000 }
  const audio = { kind: "audio", mimeType: "audio/opus", clockRate: 48_000, channels: 2 }
  const streams = [video, audio].map((about, i) => {
    const track = i + 1
    const info = { producerId: about.kind, peerId: "peer", ...about }
    record(recordType.track, track, 0, encodeMap(info))
    return { track, n: 0, ...endless(clip, i === 0 ? "video" : "audio") }
  })
  const endMs = minutes * 60_000
  for (let ms = 0; ms < endMs; ms += 20) {
    for (const stream of streams) {
      for (; stream.dueMs(stream.n) < ms + 20; stream.n++) {
        record(recordType.rtp, stream.track, stream.dueMs(stream.n), stream.packet(stream.n))
      }
    }
  }
  record(recordType.seal, 0, endMs, encodeMap({ reason: "stopped" }))
  flush()
  closeSync(file)
}
