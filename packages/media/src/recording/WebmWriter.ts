/**
 * WebM (Matroska, RFC 9559) of finished frames: all tracks of a recording in one file, in clusters of a few seconds, with a cue
 * for every key frame that video can be sought to. Pure: bytes come out in order, and at the end a few to be written over earlier ones.
 *
 * Own code, because a recording has tracks that are silent for an hour: a muxer that waits for a frame of every track before it writes
 * any (mediabunny does) would hold that hour in memory. Frames need not come in exact order across tracks.
 */
import { opusHead } from "./rtp/opus.ts"

export interface WebmTrack {
  readonly codec: "vp8" | "opus"
  readonly name: string
  readonly width: number
  readonly height: number
  readonly channels: number
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
      text(0x4282, "webm"),
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

  let videoSeen = false
  const cues: Array<Uint8Array> = []
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

  return {
    frame: (stream, timeMs, key, data) => {
      const video = tracks[stream]?.codec === "vp8"
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
        cues.push(
          element(0xbb, [
            uint(0xb3, timeMs),
            element(0xb7, [
              uint(0xf7, stream + 1),
              uint(0xf1, position - segmentAt),
              uint(0xf0, cluster.bytes)
            ])
          ])
        )
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
      const cuesAt = position - segmentAt
      if (cues.length > 0) append(element(0x1c53bb6b, cues))
      return [
        { position: segmentSizeAt, bytes: size8(position - segmentAt) },
        { position: segmentAt, bytes: seekHead(infoAt, tracksAt, cuesAt) },
        { position: segmentAt + infoAt, bytes: info(durationMs) }
      ]
    }
  }
}

const trackEntry = (track: WebmTrack, index: number): Uint8Array =>
  element(0xae, [
    uint(0xd7, index + 1),
    uint(0x73c5, index + 1),
    uint(0x83, track.codec === "vp8" ? 1 : 2),
    uint(0x9c, 0),
    text(0x22b59c, "und"),
    text(0x536e, track.name),
    text(0x86, track.codec === "vp8" ? "V_VP8" : "A_OPUS"),
    ...(track.codec === "vp8"
      ? [element(0xe0, [uint(0xb0, track.width), uint(0xba, track.height)])]
      : [
          element(0x63a2, [opusHead(track.channels)]),
          uint(0x56bb, 80_000_000),
          element(0xe1, [element(0xb5, [float8(48_000)]), uint(0x9f, track.channels)])
        ])
  ])

const lengthOf = (pieces: ReadonlyArray<Uint8Array>): number =>
  pieces.reduce((sum, piece) => sum + piece.length, 0)

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
