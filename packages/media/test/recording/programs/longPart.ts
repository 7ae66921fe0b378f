/**
 * Writes a part of any length, faster than time: a camera and a microphone whose real packets, of some seconds, come again and again.
 *
 *     node longPart.ts <partFolder> <recordingId> <minutes> [<size> <kbit/s>]
 */
import * as Effect from "effect/Effect"
import { arriving, opusTrack, vp8Track, writePart } from "../fixtures.ts"
import type { CaptureEvent } from "../fixtures.ts"
import { parseRtp } from "../../../src/recording/rtp/RtpPacket.ts"
import { realRtp } from "../realRtp.ts"

const [folder = "", recordingId = "rec", minutes = "1", size = "320x240", kbit = "400"] =
  process.argv.slice(2)
const seconds = 10
const us = 1_000_000

/** The packets as they are sent the `round`th time: their numbers and timestamps go on. */
const again = (events: ReadonlyArray<CaptureEvent>, round: number, clockRate: number) =>
  events.map((event): CaptureEvent => {
    const bytes = Buffer.from(event.packet ?? [])
    bytes.writeUInt16BE((bytes.readUInt16BE(2) + round * events.length) & 0xffff, 2)
    bytes.writeUInt32BE((bytes.readUInt32BE(4) + round * seconds * clockRate) % 2 ** 32, 4)
    return { ...event, atUs: event.atUs + round * seconds * us, packet: bytes }
  })

/** Two reports a track and round: the sender's clock stands at what has passed. */
const reports = (events: ReadonlyArray<CaptureEvent>): ReadonlyArray<CaptureEvent> =>
  events
    .filter((_, i) => i % Math.ceil(events.length / 2) === 0)
    .map(({ atUs, packet, track }) => ({
      atUs: atUs + 1,
      track,
      report: {
        ntpSeconds: 3_900_000_000 + Math.floor(atUs / us),
        ntpFraction: Math.round(((atUs % us) / us) * 2 ** 32) % 2 ** 32,
        rtpTimestamp: parseRtp(packet ?? new Uint8Array())?.timestamp ?? 0
      }
    }))

await Effect.gen(function* () {
  const source = yield* realRtp({ seconds, size, kbit: Number(kbit) })
  const video = arriving("video", source.video, 90_000, 0)
  // The last packet is of the encoder's delay, and would be sent with the first of the next round.
  const audio = arriving("audio", source.audio.slice(0, seconds * 50), 48_000, 0)
  yield* writePart({
    folder,
    manifest: { recordingId },
    tracks: { video: vp8Track(), audio: opusTrack() },
    events: (function* () {
      for (let round = 0; round < (Number(minutes) * 60) / seconds; round++) {
        const sent = [...again(video, round, 90_000), ...again(audio, round, 48_000)]
        yield* [
          ...sent,
          ...reports(sent.slice(0, video.length)),
          ...reports(sent.slice(video.length))
        ].toSorted((a, b) => a.atUs - b.atUs)
      }
    })()
  })
}).pipe(Effect.runPromise)
