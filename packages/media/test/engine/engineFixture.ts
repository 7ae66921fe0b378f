/** Engines and rooms on real workers, and what the tests of the engine ask of them. */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { MediaEngine, type MediaEngineOptions } from "../../src/engine/MediaEngine.ts"
import type { CaptureEnd, CaptureSink, RoomMedia, SenderReport } from "../../src/engine/RoomMedia.ts"
import { makeRtpSender, type RtpSender } from "./rtpPeer.ts"

export const makeEngine = (options?: Partial<MediaEngineOptions>) =>
  MediaEngine.make({ workers: 1, log: false, ...options })

export const makeRoom = (options?: Partial<MediaEngineOptions>) =>
  Effect.flatMap(makeEngine(options), (engine) => engine.openRoom("room-1"))

export const video = {
  producerId: "video-1",
  kind: "video",
  codec: "vp8",
  payloadType: 96,
  ssrc: 1111
} as const
export const audio = {
  producerId: "audio-1",
  kind: "audio",
  codec: "opus",
  payloadType: 111,
  ssrc: 2222
} as const

/** A producer and somebody who sends to it. */
export const makeSource = Effect.fnUntraced(function* (
  room: RoomMedia,
  options: typeof video | typeof audio,
  firstSequence?: number
) {
  const { port } = yield* room.addRtpProducer(options)
  const { codec, payloadType, ssrc } = options
  return yield* makeRtpSender({
    port,
    codec,
    payloadType,
    ssrc,
    ...(firstSequence === undefined ? {} : { firstSequence })
  })
})

export interface RecordingSink extends CaptureSink {
  readonly packets: ReadonlyArray<Uint8Array>
  readonly reports: ReadonlyArray<SenderReport>
  readonly ends: ReadonlyArray<CaptureEnd>
}

export const makeSink = (): RecordingSink => {
  const packets: Array<Uint8Array> = []
  const reports: Array<SenderReport> = []
  const ends: Array<CaptureEnd> = []
  return {
    packets,
    reports,
    ends,
    rtp: (packet) => void packets.push(packet),
    senderReport: (report) => void reports.push(report),
    closed: (end) => void ends.push(end)
  }
}

/**
 * Sends so many packets, never more than a burst ahead of what has come: a socket that overflows would lose some, and
 * nobody could tell whose fault it was.
 */
export const sendPaced = (sender: RtpSender, packets: number, arrived: () => number): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let i = 0; i < packets; i++) {
      yield* until(() => sender.sent() - arrived() < 50)
      yield* sender.send()
    }
  })

/** Asks again until it holds; the test's own time-out ends it. */
export const until = (holds: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (holds() ? Effect.void : Effect.andThen(Effect.sleep(5), until(holds))))

/** A zombie is gone: that its new parent has not asked after it yet is not its doing. */
export const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}
