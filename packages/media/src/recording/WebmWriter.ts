/**
 * WebM (Matroska, RFC 9559) of finished frames: all tracks of a recording in one file, in clusters of a few seconds. The index of key frames that
 * video can be sought to lies before the clusters, so that a player opens a file from its first bytes: its room is kept free, and when more
 * come than fit in, every second one goes. Pure: bytes come out in order, and at the end a few to be written over earlier ones.
 *
 * Own code, because a recording has tracks that are silent for an hour: a muxer that waits for a frame of every track before it writes
 * any (mediabunny does) would hold that hour in memory. Frames need not come in exact order across tracks.
 */
import type { Codec } from "./rtp/Frame.ts"
import { opusHead } from "./rtp/opus.ts"

export interface WebmTrack {
  readonly codec: Codec
  readonly name: string
  readonly width: number
  readonly height: number
  readonly channels: number
  /** Of H.264 (avcC) and AV1 (av1C), which cannot do without. */
  readonly codecPrivate?: Uint8Array | undefined
  /** How many can be expected, for the size of the index. When more come than fit in, every second, fourth, ... is in it. */
  readonly keyFrames?: number
}

export interface WebmPatch {
  readonly position: number
  readonly bytes: Uint8Array
}

export interface WebmWriter {
  /** `timeMs` is a whole number ≥ 0, and grows within a stream. The pieces of `data` must not change afterwards. */
  readonly frame: (stream: number, timeMs: number, key: boolean, data: ReadonlyArray<Uint8Array>) => void
  /** Takes what has to be appended to the file by now. */
  readonly drain: () => Array<Uint8Array>
  /** After it, `drain` once more; then the patches. */
  readonly finish: (durationMs: number) => ReadonlyArray<WebmPatch>
}

/** A cluster's limits: its times are 16 bits signed, and all of it is in memory until it is complete. */
const maxClusterMs = 5_000
const minClusterMs = 500
const maxClusterBytes = 4 << 20

/** Bytes of the longest cue: track, time and places in their greatest lengths. */
const cueBytes = 34
const maxCues = 10_000

const matroskaCodec: Readonly<Record<Codec, string>> = {
  opus: "A_OPUS",
  vp8: "V_VP8",
  vp9: "V_VP9",
  h264: "V_MPEG4/ISO/AVC",
  av1: "V_AV1"
}

/** WebM is Matroska with the codecs that its definition names. */
export const isWebm = (codecs: ReadonlyArray<Codec>): boolean => !codecs.includes("h264")

interface Cue {
  readonly stream: number
  readonly bytes: Uint8Array
}

export const makeWebmWriter = (tracks: ReadonlyArray<WebmTrack>, software: string): WebmWriter => {
  let out: Array<Uint8Array> = []
  let position = 0
  const append = (...pieces: ReadonlyArray<Uint8Array>): void => {
    for (const piece of pieces) {
      out.push(piece)
      position += piece.length
    }
  }

  append(
    element(0x1a45dfa3, [
      uint(0x4286, 1),
      uint(0x42f7, 1),
      uint(0x42f2, 4),
      uint(0x42f3, 8),
      text(0x4282, isWebm(tracks.map(({ codec }) => codec)) ? "webm" : "matroska"),
      uint(0x4287, 4),
      uint(0x4285, 2)
    ])
  )
  append(Uint8Array.of(0x18, 0x53, 0x80, 0x67))
  const segmentSizeAt = position
  append(size8(0))
  const segmentAt = position

  const seekHead = (info: number, trackList: number, cues: number) =>
    element(
      0x114d9b74,
      [[0x1549a966, info] as const, [0x1654ae6b, trackList] as const, [0x1c53bb6b, cues] as const].map(
        ([id, at]) => element(0x4dbb, [element(0x53ab, [idBytes(id)]), element(0x53ac, [fixed8(at)])])
      )
    )
  append(seekHead(0, 0, 0))

  const infoAt = position - segmentAt
  const info = (durationMs: number) =>
    element(0x1549a966, [
      uint(0x2ad7b1, 1_000_000),
      element(0x4489, [float8(durationMs)]),
      text(0x4d80, software),
      text(0x5741, software)
    ])
  append(info(0))

  const tracksAt = position - segmentAt
  append(element(0x1654ae6b, tracks.map(trackEntry)))

  const cuesAt = position - segmentAt
  const cueRoom = cueBytes * Math.min(10 + sum(tracks.map(expectedCues)), maxCues)
  append(empty(cueRoom))

  let videoSeen = false
  let cues: Array<Cue> = []
  let cluster: { readonly startMs: number; readonly pieces: Array<Uint8Array>; bytes: number } | undefined

  const closeCluster = (): void => {
    if (cluster !== undefined) append(idBytes(0x1f43b675), size(cluster.bytes), ...cluster.pieces)
    cluster = undefined
  }

  const openCluster = (timeMs: number) => {
    closeCluster()
    const time = uint(0xe7, timeMs)
    return (cluster = { startMs: timeMs, pieces: [time], bytes: time.length })
  }

  /** Of each stream by itself, so that none loses all. */
  const thinOut = (): void => {
    const odd = new Map<number, boolean>()
    cues = cues.filter(({ stream }) => {
      const drop = odd.get(stream) ?? false
      odd.set(stream, !drop)
      return !drop
    })
  }

  return {
    frame: (stream, timeMs, key, data) => {
      const codec = tracks[stream]?.codec
      const video = codec !== undefined && codec !== "opus"
      const age = timeMs - (cluster?.startMs ?? 0)
      const full = age > maxClusterMs || age < -maxClusterMs || (cluster?.bytes ?? 0) > maxClusterBytes
      const goodPlace = video && key && age >= minClusterMs
      let fresh = false
      if (cluster === undefined || full || goodPlace) {
        openCluster(timeMs)
        fresh = true
      }
      if (cluster === undefined) return
      // Until there is a picture to seek to, the beginning of a cluster is as good a place as any.
      videoSeen ||= video
      if (video ? key : fresh && !videoSeen) {
        const bytes = element(0xbb, [
          uint(0xb3, timeMs),
          element(0xb7, [uint(0xf7, stream + 1), uint(0xf1, position - segmentAt), uint(0xf0, cluster.bytes)])
        ])
        cues.push({ stream, bytes })
        if (cues.length > maxCues) thinOut()
      }
      const relative = timeMs - cluster.startMs
      const head = [vint(stream + 1), Uint8Array.of((relative >> 8) & 0xff, relative & 0xff, key ? 0x80 : 0)]
      const length = lengthOf(head) + lengthOf(data)
      const block = [Uint8Array.of(0xa3), size(length), ...head, ...data]
      cluster.pieces.push(...block)
      cluster.bytes += lengthOf(block)
    },
    drain: () => {
      const ready = out
      out = []
      return ready
    },
    finish: (durationMs) => {
      closeCluster()
      const written = () =>
        element(
          0x1c53bb6b,
          cues.map(({ bytes }) => bytes)
        )
      let index = written()
      // What is left of the room has to be an element itself, and so two bytes at least, or nothing.
      while (cues.length > 1 && index.length > cueRoom - 2) {
        thinOut()
        index = written()
      }
      const fits = cues.length > 0 && index.length <= cueRoom - 2
      return [
        { position: segmentSizeAt, bytes: size8(position - segmentAt) },
        { position: segmentAt, bytes: seekHead(infoAt, tracksAt, cuesAt) },
        { position: segmentAt + infoAt, bytes: info(durationMs) },
        ...(fits
          ? [
              {
                position: segmentAt + cuesAt,
                bytes: Buffer.concat([index, empty(cueRoom - index.length)])
              }
            ]
          : [])
      ]
    }
  }
}

/** Of sound the beginning of a cluster, and only where there is no picture yet. */
const expectedCues = ({ codec, keyFrames = 1000 }: WebmTrack): number =>
  codec === "opus" ? Math.ceil(keyFrames / 80) : keyFrames

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, each) => total + each, 0)

const trackEntry = (track: WebmTrack, index: number): Uint8Array => {
  const { channels, codec, codecPrivate, height, width } = track
  const about = codec === "opus" ? opusHead(channels) : codecPrivate
  return element(0xae, [
    uint(0xd7, index + 1),
    uint(0x73c5, index + 1),
    uint(0x83, codec === "opus" ? 2 : 1),
    uint(0x9c, 0),
    text(0x22b59c, "und"),
    text(0x536e, track.name),
    text(0x86, matroskaCodec[codec]),
    ...(about === undefined ? [] : [element(0x63a2, [about])]),
    ...(codec === "opus"
      ? [uint(0x56bb, 80_000_000), element(0xe1, [element(0xb5, [float8(48_000)]), uint(0x9f, channels)])]
      : [element(0xe0, [uint(0xb0, width), uint(0xba, height)])])
  ])
}

/** A Void element of so many bytes altogether, 2 at least. */
const empty = (bytes: number): Uint8Array => {
  const room = Buffer.alloc(bytes)
  room[0] = 0xec
  if (bytes < 10) room[1] = 0x80 | (bytes - 2)
  else size8(bytes - 9).forEach((byte, at) => (room[1 + at] = byte))
  return room
}

const lengthOf = (pieces: ReadonlyArray<Uint8Array>): number =>
  pieces.reduce((total, piece) => total + piece.length, 0)

const element = (id: number, content: ReadonlyArray<Uint8Array>): Uint8Array =>
  Buffer.concat([idBytes(id), size(lengthOf(content)), ...content])

const text = (id: number, value: string): Uint8Array => element(id, [Buffer.from(value, "utf8")])

const uint = (id: number, value: number): Uint8Array => element(id, [bigEndian(value)])

/** Without leading zeros: element ids are written as they are, numbers as short as they can be. */
const bigEndian = (value: number): Uint8Array => {
  const bytes: Array<number> = []
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 256))
    bytes.unshift(rest % 256)
  return Uint8Array.from(bytes)
}
const idBytes = bigEndian

const fixed8 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

const float8 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}

/** EBML's variable-length number; all ones is reserved for "unknown". */
const vint = (value: number): Uint8Array => {
  let width = 1
  while (value >= 2 ** (7 * width) - 1) width += 1
  const bytes = Buffer.alloc(width)
  bytes.writeUIntBE(value, 0, Math.min(width, 6))
  bytes[0] = (bytes[0] ?? 0) | (0x80 >> (width - 1))
  return bytes
}
const size = vint

const size8 = (value: number): Uint8Array => {
  const bytes = fixed8(value)
  bytes[0] = 0x01
  return bytes
}
