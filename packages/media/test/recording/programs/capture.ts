/**
 * A process that captures, to be killed: locks its incarnation's folder and writes numbered packets for as long as it lives. Says
 * `locked`, then the number of every packet that has been written.
 *
 *     node capture.ts <dataDir> <incarnation> <recordingId>
 */
import * as Effect from "effect/Effect"
import * as IncarnationFolder from "../../../src/recording/IncarnationFolder.ts"
import * as JournalWriter from "../../../src/recording/JournalWriter.ts"

const [dataDir = "", incarnation = "", recordingId = ""] = process.argv.slice(2)
/** Written when this returns, as pipes are on Linux; a reader that is slow is waited for. */
const say = (text: string) => void process.stdout.write(`${text}\n`)

await Effect.gen(function* () {
  const folder = yield* IncarnationFolder.acquire(dataDir, { incarnation, nodeId: "captor" })
  say("locked")
  const writer = yield* JournalWriter.make({
    folder: folder.partFolder(recordingId),
    manifest: {
      format: 1,
      recordingId,
      roomId: "room",
      nodeId: "captor",
      incarnation,
      part: 0,
      startedAt: 0,
      state: "Capturing"
    }
  })
  const track = writer.track({ producerId: "p", kind: "audio", mimeType: "audio/opus", clockRate: 48_000 })
  const packet = Buffer.alloc(200)
  packet[0] = 0x80
  packet[1] = 97
  for (let i = 0; ; i++) {
    packet.writeUInt16BE(i % 65_536, 2)
    packet.writeUInt32BE((i * 960) % 2 ** 32, 4)
    // A frame of 20 ms that decodes: the CELT configuration with nothing in it.
    packet.fill(0, 12)
    packet[12] = 0xfc
    packet.writeUInt32BE(i, 196)
    writer.rtp(track, packet)
    yield* writer.written
    say(String(i))
  }
}).pipe(Effect.scoped, Effect.runPromise)
