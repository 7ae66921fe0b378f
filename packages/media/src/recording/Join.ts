/**
 * The parts of a recording as one: which journal tracks, of whatever part and layer, are one track of the recording, and the timeline that
 * all lie on. A track goes on in another part under the same producer id, or as the same peer's same source. Pure.
 */
import type { IndexedTrack, PartIndex } from "./PartIndex.ts"
import type { Timeline } from "./Timeline.ts"
import { makeTimeline } from "./Timeline.ts"

/** A journal track that a track of the recording is made of. */
export interface Source extends IndexedTrack {
  readonly part: number
}

export interface JoinedTrack {
  /** Its place in `tracks`, and in the receipt. */
  readonly index: number
  /** The worst first: a later part is preferred to an earlier one, and within a part the layer with the most pixels. */
  readonly sources: ReadonlyArray<Source>
  /** The source that describes it. */
  readonly best: Source
}

export interface JoinedRecording {
  readonly parts: ReadonlyArray<PartIndex>
  readonly timeline: Timeline
  readonly tracks: ReadonlyArray<JoinedTrack>
  /** Those of `tracks` that have frames and are not left out. */
  readonly streams: ReadonlyArray<JoinedTrack>
  /** Those of `tracks` that have messages of a data channel. */
  readonly texts: ReadonlyArray<JoinedTrack>
}

/** `parts` in the order of the recording; `without`: indexes of tracks to be left out. */
export const joinParts = (parts: ReadonlyArray<PartIndex>, without: ReadonlySet<number>): JoinedRecording => {
  const groups: Array<Array<Source>> = []
  parts.forEach(({ tracks }, part) => {
    for (const track of tracks) {
      const source = { part, ...track }
      const known = groups.findLast((group) => goesOn(group, source))
      if (known === undefined) groups.push([source])
      else known.push(source)
    }
  })
  const tracks = groups.map((group, index): JoinedTrack => {
    const sources = group.toSorted(
      (a, b) =>
        a.part - b.part || pixels(a) - pixels(b) || layer(a) - layer(b) || a.track.track - b.track.track
    )
    const most = sources.reduce((best, each) => (pixels(each) >= pixels(best) ? each : best))
    return { index, sources, best: most }
  })
  return {
    parts,
    timeline: makeTimeline(parts),
    tracks,
    streams: tracks.filter(
      ({ index, sources }) => !without.has(index) && sources.some(({ track }) => track.first !== undefined)
    ),
    texts: tracks.filter(({ sources }) => sources.some(({ messages }) => messages > 0))
  }
}

const pixels = ({ track: { height, width } }: Source) => width * height
const layer = ({ track: { info } }: Source) => info.layer ?? 0

const goesOn = (group: ReadonlyArray<Source>, { part, track: { info } }: Source): boolean =>
  group.every(({ track: { info: own }, part: ownPart }) => {
    if (own.kind !== info.kind || own.mimeType.toLowerCase() !== info.mimeType.toLowerCase()) return false
    const isLayer = own.layer !== undefined && info.layer !== undefined && own.layer !== info.layer
    if (own.producerId === info.producerId) return ownPart !== part || isLayer
    return (
      ownPart !== part &&
      own.peerId !== undefined &&
      own.peerId === info.peerId &&
      own.source !== undefined &&
      own.source === info.source
    )
  })
