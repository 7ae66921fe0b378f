/**
 * From the room's media into the journal, synchronously: one journal track for each layer of a producer, told apart by SSRC, one for each data
 * channel. What comes while the recording is paused is left out and is no loss; sender reports are kept then, too: the clocks go on.
 */
import type { CaptureInfo, CaptureSink, DataProducerInfo, DataSink } from "./engine/RoomMedia.ts"
import type { JournalWriter, TrackNumber } from "./recording/index.ts"

type Journal = JournalWriter.JournalWriter

/** An SSRC that is none of the capture's goes with the first layer: it is kept, and left out by whoever computes. */
export const captureSink = (journal: Journal, capture: CaptureInfo, isPaused: () => boolean): CaptureSink => {
  const of = trackOf(capture)
  const layers = capture.layers.map(({ rid, ssrc }, layer) => ({
    ssrc,
    track: journal.track({
      ...of,
      ssrc,
      ...(capture.layers.length > 1 ? { layer } : {}),
      ...(rid === undefined ? {} : { rid })
    })
  }))
  const first = layers[0]?.track ?? journal.track(of)
  const trackOfSsrc = new Map<number, TrackNumber>(layers.map(({ ssrc, track }) => [ssrc, track]))
  const trackFor = (ssrc: number) => trackOfSsrc.get(ssrc) ?? first
  return {
    rtp: (packet) => {
      if (!isPaused()) journal.rtp(trackFor(ssrcOf(packet)), packet)
    },
    senderReport: ({ ageMs, ntpMs, rtpTimestamp, ssrc }) =>
      journal.senderReport(trackFor(ssrc), { ...ntpOf(ntpMs), rtpTimestamp, ageMs }),
    closed: () => new Set([first, ...trackOfSsrc.values()]).forEach(journal.endTrack)
  }
}

/** A channel is a track from its first message on, and one of text when that is text. */
export const dataSink = (journal: Journal, channel: DataProducerInfo, isPaused: () => boolean): DataSink => {
  const { label, producerId, protocol } = channel
  let track: TrackNumber | undefined
  return {
    message: ({ payload, ppid }) => {
      if (isPaused()) return
      track ??= journal.track({
        producerId,
        kind: "data",
        mimeType: textPpids.has(ppid) ? "text/plain" : "application/octet-stream",
        clockRate: 1000,
        label,
        protocol,
        ...whose(channel)
      })
      journal.data(track, { ppid, payload })
    },
    closed: () => {
      if (track !== undefined) journal.endTrack(track)
    }
  }
}

/** RFC 8831, section 8: text, and text without a character. */
const textPpids: ReadonlySet<number> = new Set([51, 56])

const whose = ({ peerId, source }: { readonly peerId?: string; readonly source?: string }) => ({
  ...(peerId === undefined ? {} : { peerId }),
  ...(source === undefined ? {} : { source })
})

const trackOf = (capture: CaptureInfo) => {
  const { channels, clockRate, kind, mimeType, parameters, payloadType, producerId } = capture
  return {
    producerId,
    kind,
    mimeType,
    clockRate,
    payloadType,
    ...(channels === undefined ? {} : { channels }),
    ...(Object.keys(parameters).length === 0 ? {} : { parameters }),
    ...whose(capture)
  }
}

/** RFC 3550, section 5.1. */
const ssrcOf = (packet: Uint8Array): number =>
  (((packet[8] ?? 0) << 24) | ((packet[9] ?? 0) << 16) | ((packet[10] ?? 0) << 8) | (packet[11] ?? 0)) >>> 0

/** Unix milliseconds as NTP: seconds since 1900 and their fraction in 2^-32 s (RFC 3550, section 4). */
const ntpOf = (unixMs: number) => {
  const seconds = Math.floor(unixMs / 1000)
  return {
    ntpSeconds: seconds + 2_208_988_800,
    ntpFraction: Math.floor(((unixMs - seconds * 1000) / 1000) * 2 ** 32)
  }
}
