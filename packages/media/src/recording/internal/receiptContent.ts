/** What a receipt says of parts and tracks, from what was read and what was muxed. Pure. */
import type { JoinedTrack, Source } from "../Join.ts"
import type { Manifest } from "../Manifest.ts"
import type { MuxedStream } from "../Mux.ts"
import type { PartIndex } from "../PartIndex.ts"
import type { ReceiptPart, ReceiptSource, ReceiptTrack } from "../Receipt.ts"
import type { Result } from "../Results.ts"
import type { Alignment } from "../Timeline.ts"

export const receiptPart = (
  manifest: Manifest,
  { journal, part }: PartIndex,
  aligned: Alignment | undefined
): ReceiptPart => ({
  incarnation: manifest.incarnation,
  nodeId: manifest.nodeId,
  part: manifest.part,
  startedAt: manifest.startedAt,
  packets: part.packets,
  orphanPackets: part.orphanPackets,
  gaps: part.gaps,
  gapPackets: part.gapPackets,
  damagedRecords: journal.damaged,
  damagedBytes: journal.damagedBytes,
  unknownRecords: journal.unknownRecords,
  tornBytes: journal.tornBytes,
  ...(part.sealed === undefined ? {} : { sealed: part.sealed }),
  ...(aligned === undefined ? {} : { aligned })
})

export const receiptTracks = ({ files, muxed, recording }: Result): ReadonlyArray<ReceiptTrack> =>
  recording.tracks.map((track): ReceiptTrack => {
    const stream = muxed.streams.find((each) => each.track === track)
    const { best, sources } = track
    const { info } = best.track
    const text = muxed.texts.get(track)
    const file = files.find(({ tracks }) => tracks.includes(track))
    const sum = (of: (source: Source) => number) => sources.reduce((all, each) => all + of(each), 0)
    const overlap = stream?.leftOut.reduce((all, each) => all + each, 0) ?? 0
    const isUndecodable = stream === undefined && sources.some(({ track }) => track.first !== undefined)
    const dropped = new Map<string, number>()
    const count = (reason: string, by: number) => {
      if (by > 0) dropped.set(reason, (dropped.get(reason) ?? 0) + by)
    }
    for (const { track: each } of sources) {
      for (const [reason, by] of each.dropped) count(reason, by)
      count("undecodable", isUndecodable ? each.frames : 0)
      count("duplicate", each.sequencer.counts.duplicate)
      count("late", each.sequencer.counts.late)
      count("restarts", each.sequencer.counts.restarts)
    }
    count("overlap", overlap)
    count("overlap", text?.counts.repeated ?? 0)
    const gaps = sources.flatMap((source) =>
      source.holes.map(({ fromUs, packets, toUs }) => ({
        fromMs: Math.round(recording.timeline.timeMs(source.part, fromUs)),
        toMs: Math.round(recording.timeline.timeMs(source.part, toUs)),
        packets
      }))
    )
    return {
      producerId: info.producerId,
      ...(info.peerId === undefined ? {} : { peerId: info.peerId }),
      ...(info.source === undefined ? {} : { source: info.source }),
      kind: info.kind,
      codec: info.mimeType,
      ...(info.ssrc === undefined ? {} : { ssrc: info.ssrc }),
      ...(info.label === undefined ? {} : { label: info.label }),
      ...(stream === undefined ? {} : { stream: file?.tracks.indexOf(track) ?? 0 }),
      clock: stream === undefined ? "arrival" : best.times.source,
      offsetMs: stream?.firstMs ?? text?.firstMs ?? 0,
      durationMs: lengthOf(stream) ?? (text === undefined ? 0 : text.endMs - (text.firstMs ?? 0)),
      packets: sum((each) => each.track.packets),
      frames: stream?.frames ?? text?.counts.messages ?? 0,
      shownFrames: stream?.shownFrames ?? text?.counts.messages ?? 0,
      lostPackets: sum((each) => each.track.sequencer.counts.lost),
      dropped: Object.fromEntries(dropped),
      ...(gaps.length === 0 ? {} : { gaps: gaps.toSorted((a, b) => a.fromMs - b.fromMs) }),
      ...(sources.length === 1
        ? {}
        : { sources: sources.map((each, at) => receiptSource(each, at, stream)) }),
      ...(stream === undefined || stream.seams.length === 0 ? {} : { seams: seamsOf(track, stream) }),
      ...(stream === undefined || stream.layerSwitches === 0 ? {} : { layerSwitches: stream.layerSwitches })
    }
  })

const lengthOf = (stream: MuxedStream | undefined) => stream && stream.endMs - stream.firstMs

const receiptSource = (
  { part, track: { info, packets, sequencer } }: Source,
  at: number,
  stream: MuxedStream | undefined
): ReceiptSource => ({
  part,
  producerId: info.producerId,
  ...(info.ssrc === undefined ? {} : { ssrc: info.ssrc }),
  ...(info.layer === undefined ? {} : { layer: info.layer }),
  ...(info.rid === undefined ? {} : { rid: info.rid }),
  packets,
  lostPackets: sequencer.counts.lost,
  frames: stream?.kept[at] ?? 0,
  overlappingFrames: stream?.leftOut[at] ?? 0
})

const seamsOf = ({ sources }: JoinedTrack, { seams }: MuxedStream) =>
  seams.map(({ atMs, from, gapMs, to }) => ({
    atMs: Math.round(atMs),
    gapMs: Math.round(gapMs * 10) / 10,
    from: sources[from]?.part ?? 0,
    to: sources[to]?.part ?? 0
  }))
