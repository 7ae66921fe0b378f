/** What stands between the journal and a file, tried with packets and records that no sender meant. */
import { makeRecordedTracks } from "../../../src/recording/RecordedTracks.ts"
import type { RecordedTrack } from "../../../src/recording/RecordedTracks.ts"
import type { JournalRecord, TrackInfo } from "../../../src/recording/JournalFormat.ts"
import { parseAv1Payload } from "../../../src/recording/rtp/av1.ts"
import { parseSequenceHeader } from "../../../src/recording/rtp/av1Sequence.ts"
import type { Codec, DropReason, Fragment, Frame } from "../../../src/recording/rtp/Frame.ts"
import { makeFrameAssembler } from "../../../src/recording/rtp/FrameAssembler.ts"
import { parseH264Payload } from "../../../src/recording/rtp/h264.ts"
import { parseSps } from "../../../src/recording/rtp/h264Parameters.ts"
import { opusSamples } from "../../../src/recording/rtp/opus.ts"
import { parseRtp } from "../../../src/recording/rtp/RtpPacket.ts"
import type { RtpPacket } from "../../../src/recording/rtp/RtpPacket.ts"
import { makeRtpSequencer } from "../../../src/recording/rtp/RtpSequencer.ts"
import { parseVp8Frame, parseVp8Payload } from "../../../src/recording/rtp/vp8.ts"
import { parseVp9Payload } from "../../../src/recording/rtp/vp9.ts"
import { parseVp9Header } from "../../../src/recording/rtp/vp9Header.ts"
import type { FuzzTarget } from "./fuzz.ts"
import { anyBytes, below, mutate, oneOf } from "./mutate.ts"
import type { Random } from "./mutate.ts"
import samples from "./samples.json" with { type: "json" }

const codecs = ["opus", "vp8", "vp9", "h264", "av1"] as const satisfies ReadonlyArray<Codec>

const packetsOf = (codec: Codec): ReadonlyArray<Buffer> =>
  samples[codec].map((hex) => Buffer.from(hex, "hex"))
const real: Readonly<Record<Codec, ReadonlyArray<Buffer>>> = {
  opus: packetsOf("opus"),
  vp8: packetsOf("vp8"),
  vp9: packetsOf("vp9"),
  h264: packetsOf("h264"),
  av1: packetsOf("av1")
}

const reasons: ReadonlyArray<DropReason> = [
  "incompleteFrame",
  "beforeKeyFrame",
  "afterLoss",
  "malformedFrame",
  "oversizedFrame",
  "padding",
  "interleaved",
  "missingParameters",
  "noPicture"
]

const ensure = (kept: boolean, promise: string): void => {
  if (!kept) throw new Error(`not as promised: ${promise}`)
}

const somePacket = (random: Random, codec: Codec): Buffer =>
  real[codec][below(random, real[codec].length)] ?? Buffer.alloc(12)

/** A payload as it was sent, or spoilt, or of another codec, or of nobody. */
const somePayload = (random: Random, codec: Codec): Buffer => {
  const choice = random()
  if (choice < 0.2) return anyBytes(random, 200)
  const packet = parseRtp(somePacket(random, choice < 0.3 ? oneOf(random, codecs) : codec))
  const payload = Buffer.from(packet?.payload ?? [])
  return choice < 0.9 ? mutate(random, payload) : payload
}

const parsers: Readonly<Record<Codec, (payload: Buffer) => Fragment | DropReason | number | undefined>> = {
  opus: opusSamples,
  vp8: parseVp8Payload,
  vp9: parseVp9Payload,
  h264: parseH264Payload,
  av1: parseAv1Payload
}

const payloadTarget = (codec: Codec): FuzzTarget => ({
  name: `${codec}-payload`,
  outcomes: new Set(["taken", "refused"]),
  run: (random) => {
    const payload = somePayload(random, codec)
    const parsed = parsers[codec](payload)
    return parsed === undefined || typeof parsed === "string" ? "refused" : "taken"
  }
})

/** Headers inside the payloads, reached without what stands before them. */
const headerTarget: FuzzTarget = {
  name: "codec-headers",
  outcomes: new Set(["read", "refused"]),
  run: (random) => {
    const codec = oneOf(random, ["vp8", "vp9", "h264", "av1"] as const)
    const payload = parseRtp(somePacket(random, codec))?.payload ?? new Uint8Array()
    const bytes = random() < 0.3 ? anyBytes(random, 64) : mutate(random, payload.subarray(below(random, 5)))
    const size = { width: below(random, 70_000), height: below(random, 70_000) }
    const read = [
      parseVp8Frame(bytes, bytes.length),
      parseVp9Header(bytes, random() < 0.5 ? [] : Array.from({ length: 8 }, () => size)),
      parseSps(bytes),
      parseSequenceHeader(bytes)
    ]
    for (const header of read) {
      if (header === undefined || !("width" in header)) continue
      ensure(Number.isInteger(header.width) && header.width >= 0 && header.width <= 65_536, "a width")
    }
    return read.some((header) => header !== undefined) ? "read" : "refused"
  }
}

const packetTarget: FuzzTarget = {
  name: "rtp-packet",
  outcomes: new Set(["taken", "refused"]),
  run: (random) => {
    const packet = somePacket(random, oneOf(random, codecs))
    const bytes = random() < 0.3 ? anyBytes(random, 60) : mutate(random, packet)
    const parsed = parseRtp(bytes)
    if (parsed === undefined) return "refused"
    ensure(parsed.payload.length <= bytes.length - 12, "a payload within its packet")
    return "taken"
  }
}

interface Arrival {
  readonly bytes: Buffer
  readonly arrivalUs: number
}

/** A stretch of a stream: packets lost, doubled, swapped, spoilt, renumbered; a clock that stands or jumps. */
const someArrivals = (random: Random, codec: Codec): ReadonlyArray<Arrival> => {
  const sent = real[codec]
  // From a good line to one that no frame survives.
  const harm = oneOf(random, [0.02, 0.1, 0.4, 1])
  const order = sent.flatMap((bytes, i) => {
    const fate = random() / harm
    const at = random() < 0.1 ? i + 6 * random() : i
    if (fate < 0.05) return []
    if (fate < 0.1)
      return [
        { at, bytes },
        { at: i + 8 * random(), bytes }
      ] // twice
    if (fate < 0.25) return [{ at, bytes: mutate(random, bytes) }]
    if (fate < 0.35) {
      const payload = somePayload(random, codec)
      return [{ at, bytes: Buffer.concat([bytes.subarray(0, 12), payload]) }]
    }
    if (fate < 0.4) return [{ at, bytes: renumbered(bytes, random) }]
    return [{ at, bytes }]
  })
  const rate = oneOf(random, [0, 1000, 1000, 40_000, 3_000_000])
  let arrivalUs = below(random, 2 ** 31)
  return order
    .toSorted((a, b) => a.at - b.at)
    .map(({ bytes }) => {
      arrivalUs += random() < 0.02 ? (random() - 0.5) * 2 ** oneOf(random, [20, 30, 50]) : rate
      return { bytes, arrivalUs: Math.max(0, Math.round(arrivalUs)) }
    })
}

const renumbered = (bytes: Buffer, random: Random): Buffer => {
  const copy = Buffer.from(bytes)
  if (random() < 0.7) copy.writeUInt16BE(below(random, 65_536), 2)
  if (random() < 0.7) copy.writeUInt32BE(below(random, 2 ** 32), 4)
  return copy
}

const checkFrame = (frame: Frame): void => {
  const bytes = frame.data.reduce((sum, piece) => sum + piece.length, 0)
  ensure(bytes > 0, "a frame has bytes")
  ensure(Number.isFinite(frame.ticks) && Number.isFinite(frame.arrivalUs), "a frame has a time")
  const isVideo = frame.codec !== "opus"
  ensure(!isVideo || frame.key === frame.width > 0, "key frames have a size, and they alone")
  const needsPrivate = frame.codec === "h264" || frame.codec === "av1"
  ensure(!needsPrivate || frame.key === (frame.codecPrivate !== undefined), "key frames describe the codec")
  if (frame.codec === "h264") checkUnits(Buffer.concat(frame.data))
}

/** Lengths add up, so that a decoder never looks beyond the frame. */
const checkUnits = (bytes: Buffer): void => {
  let at = 0
  while (at + 4 <= bytes.length) at += 4 + bytes.readUInt32BE(at)
  ensure(at === bytes.length, "units of H.264 fill their frame")
}

const streamTarget = (codec: Codec): FuzzTarget => ({
  name: `${codec}-stream`,
  // Of sound some packet is always good.
  outcomes: new Set(codec === "opus" ? ["frames"] : ["frames", "nothing"]),
  run: (random) => {
    let frames = 0
    const assembler = makeFrameAssembler({
      codec,
      emit: (frame) => {
        checkFrame(frame)
        frames += 1
      },
      drop: (reason) => ensure(reasons.includes(reason), `no reason ${reason}`),
      lossPolicy: oneOf(random, ["keep", "untilKeyFrame"]),
      parameterSets: random() < 0.5 ? "" : anyBytes(random, 40).toString("latin1")
    })
    let delivered = 0
    const sequencer = makeRtpSequencer((packet, missing) => {
      ensure(Number.isInteger(missing) && missing >= 0, "a count of missing packets")
      delivered += 1
      assembler.push(packet, missing)
    })
    let pushed = 0
    for (const { arrivalUs, bytes } of someArrivals(random, codec)) {
      const packet = parseRtp(bytes)
      if (packet === undefined) continue
      pushed += 1
      sequencer.push({ packet, arrivalUs, ticks: packet.timestamp })
    }
    sequencer.flush()
    assembler.flush()
    const { duplicate, late, lost } = sequencer.counts
    ensure(pushed === delivered + duplicate + late, "every packet is delivered or counted")
    ensure(lost >= 0, "not less than nothing is lost")
    return frames > 0 ? "frames" : "nothing"
  }
})

/** Numbers without any stream behind them. */
const sequencerTarget: FuzzTarget = {
  name: "rtp-sequencer",
  outcomes: new Set(["ordered"]),
  run: (random) => {
    const count = 1 + below(random, 300)
    const spread = oneOf(random, [1, 20, 3000, 6000, 65_536])
    let delivered = 0
    const sequencer = makeRtpSequencer(() => {
      delivered += 1
    })
    let sequence = below(random, 65_536)
    let arrivalUs = 0
    for (let i = 0; i < count; i++) {
      sequence = (sequence + (random() < 0.8 ? 1 : below(random, spread))) & 0xffff
      arrivalUs += random() < 0.05 ? (random() - 0.3) * 5_000_000 : 1000
      const payload = new Uint8Array(1)
      const packet: RtpPacket = { payloadType: 96, marker: false, sequence, timestamp: 0, ssrc: 1, payload }
      sequencer.push({ packet, arrivalUs, ticks: 0 })
      if (random() < 0.01) sequencer.restart()
    }
    sequencer.flush()
    const { duplicate, late } = sequencer.counts
    ensure(count === delivered + duplicate + late, "every packet is delivered or counted")
    return "ordered"
  }
}

const someInfo = (random: Random, codec: Codec): TrackInfo => {
  const kind = codec === "opus" ? "audio" : "video"
  const isOdd = random() < 0.1
  return {
    producerId: `producer-${below(random, 3)}`,
    ...(random() < 0.7 ? { peerId: `peer-${below(random, 3)}` } : {}),
    kind: isOdd ? "Unknown" : kind,
    mimeType: isOdd ? "video/unheard-of" : `${kind}/${random() < 0.5 ? codec : codec.toUpperCase()}`,
    clockRate:
      random() < 0.05 ? oneOf(random, [0, -1, 1e-300, 1e300, 8000]) : kind === "audio" ? 48_000 : 90_000,
    ...(random() < 0.3 ? { payloadType: 96 } : {}),
    ...(random() < 0.3 ? { layer: below(random, 3) } : {}),
    ...(random() < 0.3 ? { parameters: { "sprop-parameter-sets": random() < 0.5 ? 7 : "Z0IA,aM4=" } } : {})
  }
}

const someNumber = (random: Random): number =>
  oneOf(random, [0, 1, -1, 2 ** 31, 2 ** 32 - 1, 2 ** 53, 1e300, -1e300, below(random, 2 ** 32)])

const someRecords = (random: Random): ReadonlyArray<JournalRecord> =>
  Array.from({ length: 1 + below(random, 4) }, (_, i) => i + 1)
    .flatMap((track): ReadonlyArray<JournalRecord> => {
      const codec = oneOf(random, codecs)
      const info = someInfo(random, codec)
      const begin: ReadonlyArray<JournalRecord> =
        random() < 0.9 ? [{ _tag: "Track", track, arrivalUs: 0, info }] : []
      const rest = someArrivals(random, codec).flatMap(
        ({ arrivalUs, bytes }): ReadonlyArray<JournalRecord> => {
          const at = { track, arrivalUs }
          const packet: JournalRecord = { _tag: "Rtp", ...at, packet: bytes }
          const other = random()
          if (other < 0.05) {
            const ntp = { ntpSeconds: someNumber(random), ntpFraction: someNumber(random) }
            const report = { ...ntp, rtpTimestamp: someNumber(random) }
            return [packet, { _tag: "SenderReport", ...at, report }]
          }
          if (other < 0.06) return [packet, { _tag: "Pause", ...at, pause: {} }]
          if (other < 0.07) return [packet, { _tag: "Resume", ...at, resume: {} }]
          if (other < 0.08) return [packet, { _tag: "TrackEnd", ...at }]
          if (other < 0.09) return [packet, { _tag: "Gap", ...at, gap: { packets: 1, reason: "full" } }]
          if (other < 0.1) return [packet, { _tag: "Unknown", ...at, type: 99, detail: "" }]
          return [packet]
        }
      )
      return [...begin, ...rest]
    })
    .toSorted((a, b) => (random() < 0.9 ? a.arrivalUs - b.arrivalUs : 0))

const totalOf = (counts: Iterable<number>): number => [...counts].reduce((sum, count) => sum + count, 0)

const tracksTarget: FuzzTarget = {
  name: "recorded-tracks",
  outcomes: new Set(["frames", "nothing"]),
  run: (random) => {
    const records = someRecords(random)
    const frames = new Map<RecordedTrack, Array<Frame>>()
    const recorded = makeRecordedTracks({
      lossPolicy: oneOf(random, ["keep", "untilKeyFrame"]),
      onFrame: (track, frame) => {
        checkFrame(frame)
        frames.set(track, [...(frames.get(track) ?? []), { ...frame, data: [] }])
      }
    })
    records.forEach(recorded.visit)
    recorded.finish()
    const packets = totalOf([...recorded.tracks.values()].map((track) => track.packets))
    const sent = records.filter(({ _tag }) => _tag === "Rtp").length
    ensure(sent === packets + recorded.part.orphanPackets, "every packet belongs to a track or to none")
    for (const [track, made] of frames) {
      ensure(track.frames === made.length, "every frame is counted")
      const times = track.clock.times()
      for (const { arrivalUs, ticks } of made) {
        ensure(Number.isFinite(times.timeUs(ticks, arrivalUs)), "every frame has a time")
      }
    }
    return frames.size > 0 ? "frames" : "nothing"
  }
}

export const rtpTargets: ReadonlyArray<FuzzTarget> = [
  packetTarget,
  headerTarget,
  sequencerTarget,
  ...codecs.map(payloadTarget),
  ...codecs.map(streamTarget),
  tracksTarget
]
