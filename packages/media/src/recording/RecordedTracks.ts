/**
 * The records of one part, sorted into tracks and made into frames. Run twice over a journal: the first time to learn what
 * there is and how the clocks ran, the second time with the frames going to the file. Both times do the same, so they agree.
 */
import type { JournalRecord, TrackInfo, TrackNumber } from "./JournalFormat.ts"
import type { Codec, DropReason, Frame } from "./rtp/Frame.ts"
import type { FrameAssembler, LossPolicy } from "./rtp/FrameAssembler.ts"
import { makeFrameAssembler } from "./rtp/FrameAssembler.ts"
import { parseRtp } from "./rtp/RtpPacket.ts"
import { makeRtpSequencer } from "./rtp/RtpSequencer.ts"
import type { RtpSequencer, TimedPacket } from "./rtp/RtpSequencer.ts"
import type { PeerClock, TrackClock } from "./SenderClock.ts"
import { makePeerClock, makeTrackClock, ntpToUs } from "./SenderClock.ts"
import type { Span } from "./Timeline.ts"

const codecs: ReadonlyMap<string, Codec> = new Map([
  ["audio/opus", "opus"],
  ["video/vp8", "vp8"],
  ["video/vp9", "vp9"],
  ["video/h264", "h264"],
  ["video/av1", "av1"]
])

/** Hertz. A damaged or odd one would place frames nowhere. */
const tellsTime = (clockRate: number): boolean => clockRate >= 1000 && clockRate <= 1_000_000

export interface RecordedTrack {
  readonly track: TrackNumber
  readonly info: TrackInfo
  /** Undefined for one that cannot be muxed, or has no sensible clock: its packets are counted and stay in the journal. */
  readonly codec: Codec | undefined
  readonly clock: TrackClock
  readonly sequencer: RtpSequencer
  /** RTP packets in the journal, whatever became of them. */
  packets: number
  frames: number
  shownFrames: number
  /** Frames that a player can begin at; of sound, all. */
  keyFrames: number
  /** Of the largest picture: a sender may begin with a small one, and change at any key frame. */
  width: number
  height: number
  /** Of the first frame that has it: what the file must say of the codec. */
  codecPrivate: Uint8Array | undefined
  /** Kept without its data. */
  first: Frame | undefined
  readonly dropped: Map<string, number>
}

export interface RecordedTracks {
  readonly tracks: ReadonlyMap<TrackNumber, RecordedTrack>
  /** The clocks of the senders, by peer. */
  readonly peers: ReadonlyMap<string, PeerClock>
  /** When nothing was recorded. One that nothing ended reaches to the last record. */
  readonly pauses: ReadonlyArray<Span>
  /** What the part's own records said. */
  readonly part: {
    anchorUs: number | undefined
    packets: number
    gaps: number
    gapPackets: number
    /** Packets and messages of a track whose beginning cannot be read, or of none. */
    orphanPackets: number
    sealed: string | undefined
  }
  readonly visit: (record: JournalRecord) => void
  /** No more records will come: hands over what was still held back. */
  readonly finish: () => void
}

export interface RecordedTracksOptions {
  readonly onFrame: (track: RecordedTrack, frame: Frame) => void
  /** Told of each hole of `missing` packets, and between which two it lies. */
  readonly onMissing?: (
    track: RecordedTrack,
    missing: number,
    before: TimedPacket | undefined,
    after: TimedPacket
  ) => void
  readonly lossPolicy: LossPolicy
}

export const makeRecordedTracks = (options: RecordedTracksOptions): RecordedTracks => {
  const tracks = new Map<TrackNumber, RecordedTrack>()
  const assemblers = new Map<TrackNumber, FrameAssembler>()
  const restarts = new Map<TrackNumber, () => void>()
  const peers = new Map<string, PeerClock>()
  const pauses: Array<{ readonly fromUs: number; toUs: number }> = []
  /** The last of `pauses`, while it goes on. */
  let pause: (typeof pauses)[number] | undefined
  const part: RecordedTracks["part"] = {
    anchorUs: undefined,
    packets: 0,
    gaps: 0,
    gapPackets: 0,
    orphanPackets: 0,
    sealed: undefined
  }

  /** Of a producer without a peer: its layers are of one sender, too. An id has no blank. */
  const peerClock = ({ peerId, producerId }: TrackInfo): PeerClock => {
    const sender = peerId ?? `producer ${producerId}`
    const clock = peers.get(sender) ?? makePeerClock()
    peers.set(sender, clock)
    return clock
  }

  const begin = (number: TrackNumber, info: TrackInfo): void => {
    const codec = tellsTime(info.clockRate) ? codecs.get(info.mimeType.toLowerCase()) : undefined
    const parameterSets = info.parameters?.["sprop-parameter-sets"]
    const count = (reason: string) => track.dropped.set(reason, (track.dropped.get(reason) ?? 0) + 1)
    const drop = (reason: DropReason) => void count(reason)
    const emit = (frame: Frame) => {
      track.frames += 1
      if (frame.shown) track.shownFrames += 1
      if (frame.key) track.keyFrames += 1
      track.first ??= { ...frame, data: [] }
      track.codecPrivate ??= frame.codecPrivate
      if (frame.width * frame.height > track.width * track.height) {
        track.width = frame.width
        track.height = frame.height
      }
      options.onFrame(track, frame)
    }
    const assembler = makeFrameAssembler({
      // Of a track without one no packet comes that far.
      codec: codec ?? "opus",
      emit,
      drop,
      lossPolicy: options.lossPolicy,
      ...(typeof parameterSets === "string" ? { parameterSets } : {})
    })
    let before: TimedPacket | undefined
    const deliver = (packet: TimedPacket, missing: number): void => {
      if (missing > 0) options.onMissing?.(track, missing, before, packet)
      before = packet
      assembler.push(packet, missing)
    }
    const track: RecordedTrack = {
      track: number,
      info,
      codec,
      clock: makeTrackClock(info.clockRate, peerClock(info)),
      sequencer: makeRtpSequencer(deliver),
      packets: 0,
      frames: 0,
      shownFrames: 0,
      keyFrames: 0,
      width: 0,
      height: 0,
      codecPrivate: undefined,
      first: undefined,
      dropped: new Map()
    }
    tracks.set(number, track)
    assemblers.set(number, assembler)
    restarts.set(number, () => {
      track.sequencer.restart()
      assembler.restart()
      before = undefined
    })
  }

  const rtp = (track: RecordedTrack, bytes: Uint8Array, arrivalUs: number): void => {
    const count = (reason: string) => track.dropped.set(reason, (track.dropped.get(reason) ?? 0) + 1)
    track.packets += 1
    if (track.codec === undefined) return void count("unsupportedCodec")
    const packet = parseRtp(bytes)
    if (packet === undefined) return void count("malformedPacket")
    const { ssrc, payloadType } = track.info
    if (ssrc !== undefined && packet.ssrc !== ssrc) return void count("otherSsrc")
    if (payloadType !== undefined && packet.payloadType !== payloadType) return void count("otherPayloadType")
    track.sequencer.push({ packet, arrivalUs, ticks: track.clock.packet(packet.timestamp, arrivalUs) })
  }

  const resume = (): void => {
    pause = undefined
    // What was sent meanwhile is not lost, and a picture begins anew.
    for (const restart of restarts.values()) restart()
  }

  return {
    tracks,
    peers,
    pauses,
    part,
    visit: (record) => {
      if (pause !== undefined) {
        pause.toUs = Math.max(pause.toUs, record.arrivalUs)
        // None is written in a pause: it was resumed, and the record that said so is lost.
        if (record._tag === "Rtp" || record._tag === "Data") resume()
      }
      switch (record._tag) {
        case "Anchor":
          part.anchorUs ??= record.arrivalUs
          return
        case "Track":
          if (!tracks.has(record.track)) begin(record.track, record.info)
          return
        case "Rtp": {
          part.packets += 1
          const track = tracks.get(record.track)
          if (track === undefined) part.orphanPackets += 1
          else rtp(track, record.packet, record.arrivalUs)
          return
        }
        case "SenderReport": {
          const { ageMs = 0, ntpSeconds, ntpFraction, rtpTimestamp } = record.report
          tracks.get(record.track)?.clock.report({
            arrivalUs: record.arrivalUs - Math.round(ageMs * 1000),
            ntpUs: ntpToUs(ntpSeconds, ntpFraction),
            rtpTimestamp
          })
          return
        }
        case "Gap":
          part.gaps += 1
          part.gapPackets += record.gap.packets
          return
        case "Seal":
          part.sealed = record.seal.reason
          return
        case "Pause":
          if (pause === undefined) pauses.push((pause = { fromUs: record.arrivalUs, toUs: record.arrivalUs }))
          return
        case "Resume":
          resume()
          return
        case "Data":
          if (!tracks.has(record.track)) part.orphanPackets += 1
          return
        case "TrackEnd":
        case "Unknown":
          return
      }
    },
    finish: () => {
      for (const [number, track] of tracks) {
        track.sequencer.flush()
        assemblers.get(number)?.flush()
      }
    }
  }
}
