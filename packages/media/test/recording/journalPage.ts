/** The example of docs/journal-format.md: what happens in it, and the bytes that the page shows. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as JournalWriter from "../../src/recording/JournalWriter.ts"
import { aManifest, settableClock, temporaryFolder } from "./fixtures.ts"

const page = path.join(
  path.dirname(fileURLToPath(import.meta.url)),
  "..",
  "..",
  "..",
  "..",
  "docs",
  "journal-format.md"
)

/** The blocks marked `hex`, without their comments. */
export const bytesOfPage = (): Buffer =>
  Buffer.from(
    [...fs.readFileSync(page, "utf8").matchAll(/```hex\n(.*?)```/gs)]
      .flatMap(([, block = ""]) => block.split("\n"))
      .map((line) => line.replace(/#.*/, ""))
      .join("")
      .replaceAll(/\s/g, ""),
    "hex"
  )

export const exampleRtp = Buffer.from("80610001000003c0000008aefc", "hex")

/** Writes the page's example. */
export const writeExample = Effect.gen(function* () {
  const folder = path.join(yield* temporaryFolder, "rec")
  const { state, clock } = settableClock()
  state.monotonicUs = 1_000_000
  const writer = yield* JournalWriter.make({ folder, manifest: aManifest() }).pipe(
    Effect.provideService(Clock.Clock, clock)
  )
  state.monotonicUs = 1_250_000
  const track = writer.track({
    producerId: "mic",
    peerId: "ada",
    kind: "audio",
    mimeType: "audio/opus",
    clockRate: 48_000,
    channels: 2,
    payloadType: 97,
    ssrc: 2222
  })
  state.monotonicUs = 1_260_000
  writer.rtp(track, exampleRtp)
  writer.senderReport(track, { ntpSeconds: 3_900_000_000, ntpFraction: 2_147_483_648, rtpTimestamp: 960 })
  state.monotonicUs = 1_300_000
  writer.endTrack(track)
  yield* writer.seal("stopped")
  return fs.readFileSync(path.join(folder, "journal.ebbj"))
})
