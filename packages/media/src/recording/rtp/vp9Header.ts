/**
 * The uncompressed header of a VP9 frame (VP9 bitstream specification, 6.2 and 7.2), and how a frame is made a hidden one.
 *
 * Spatial layers are the reason: each layer of a picture is a frame that says "show me". libvpx shows the last of a superframe, ffmpeg
 * shows all of them. So in the file the lower ones are hidden, which changes what is displayed and nothing that is decoded from them:
 * pictures of different sizes take no motion vectors from each other.
 */
import type { BitReader } from "./BitReader.ts"
import { makeBitReader } from "./BitReader.ts"

export interface Size {
  readonly width: number
  readonly height: number
}

export interface Vp9Header {
  /** Repeats a frame that was decoded before, and has no content. */
  readonly repeats: boolean
  readonly key: boolean
  readonly shown: boolean
  readonly size: Size
  /** Which of the eight places for references take this frame, a bit for each. */
  readonly refreshes: number
  /** Bits of the uncompressed header, and where in it a hidden frame has one bit more. */
  readonly bits: number
  readonly hiddenBitAt: number
}

/** The sizes of the frames in the eight places for references, as far as they are known. */
export type References = ReadonlyArray<Size | undefined>

/** Longer ones are possible only by parameters that nobody uses. */
export const maxHeaderBytes = 256

const noSize: Size = { width: 0, height: 0 }

/** `head` is the frame's first bytes. Undefined for what no decoder would take, and for a size that references would have to give. */
export const parseVp9Header = (head: Uint8Array, references: References): Vp9Header | undefined => {
  const reader = makeBitReader(head)
  if (reader.bits(2) !== 2) return undefined
  const profile = reader.bits(1) + 2 * reader.bits(1)
  if (profile === 3 && reader.flag()) return undefined
  if (reader.flag()) {
    reader.skip(3)
    const repeat = { repeats: true, key: false, shown: true, size: noSize, refreshes: 0 }
    return reader.overrun ? undefined : { ...repeat, bits: reader.position, hiddenBitAt: 0 }
  }
  const key = !reader.flag()
  const shown = reader.flag()
  const resilient = reader.flag()
  const hiddenBitAt = reader.position
  let size: Size | undefined
  let refreshes = 0xff
  let intra = key
  if (key) {
    if (reader.bits(24) !== syncCode) return undefined
    readColor(reader, profile)
    size = readSize(reader)
  } else {
    intra = !shown && reader.flag()
    if (!resilient) reader.skip(2)
    if (intra) {
      if (reader.bits(24) !== syncCode) return undefined
      if (profile > 0) readColor(reader, profile)
      refreshes = reader.bits(8)
      size = readSize(reader)
    } else {
      refreshes = reader.bits(8)
      size = readInterFrame(reader, references)
    }
  }
  if (size === undefined) return undefined
  if (resilient) reader.skip(2)
  else reader.skip(4)
  readFilterAndQuantizer(reader)
  readSegmentation(reader)
  readTiles(reader, size.width)
  const compressedHeader = reader.bits(16)
  if (reader.overrun || compressedHeader === 0) return undefined
  return { repeats: false, key, shown, size, refreshes, bits: reader.position, hiddenBitAt }
}

const syncCode = 0x498342

const readColor = (reader: BitReader, profile: number): void => {
  if (profile >= 2) reader.skip(1)
  const sRgb = reader.bits(3) === 7
  if (!sRgb) reader.skip(1)
  if (profile === 1 || profile === 3) reader.skip(sRgb ? 1 : 3)
}

const readSize = (reader: BitReader): Size => {
  const size = { width: reader.bits(16) + 1, height: reader.bits(16) + 1 }
  readRenderSize(reader)
  return size
}

const readRenderSize = (reader: BitReader): void => {
  if (reader.flag()) reader.skip(32)
}

const readInterFrame = (reader: BitReader, references: References): Size | undefined => {
  const places = [0, 1, 2].map(() => {
    const place = reader.bits(3)
    reader.skip(1)
    return place
  })
  const like = places.find(() => reader.flag())
  const size = like === undefined ? undefined : references[like]
  if (like !== undefined) readRenderSize(reader)
  const own = like === undefined ? readSize(reader) : size
  reader.skip(1)
  // Whether the interpolation filter can be switched; if not, which it is.
  if (!reader.flag()) reader.skip(2)
  return own
}

const readFilterAndQuantizer = (reader: BitReader): void => {
  reader.skip(9)
  if (reader.flag() && reader.flag()) {
    for (let delta = 0; delta < 6; delta++) if (reader.flag()) reader.skip(7)
  }
  reader.skip(8)
  for (let delta = 0; delta < 3; delta++) if (reader.flag()) reader.skip(5)
}

const segmentFeatureBits = [9, 7, 2, 0]

const readSegmentation = (reader: BitReader): void => {
  if (!reader.flag()) return
  if (reader.flag()) {
    for (let i = 0; i < 7; i++) if (reader.flag()) reader.skip(8)
    const temporal = reader.flag()
    for (let i = 0; i < 3; i++) if (temporal && reader.flag()) reader.skip(8)
  }
  if (!reader.flag()) return
  reader.skip(1)
  for (let segment = 0; segment < 8; segment++) {
    for (const bits of segmentFeatureBits) if (reader.flag()) reader.skip(bits)
  }
}

const readTiles = (reader: BitReader, width: number): void => {
  const superblocks = Math.ceil(width / 64)
  let log2 = 0
  while (64 << log2 < superblocks) log2 += 1
  let maxLog2 = 1
  while (superblocks >> maxLog2 >= 4) maxLog2 += 1
  maxLog2 -= 1
  while (log2 < maxLog2 && reader.flag()) log2 += 1
  if (reader.flag()) reader.skip(1)
}

/** The frame's pieces with a header that hides it; `header` is of a shown frame with content. */
export const hideVp9Frame = (
  data: ReadonlyArray<Uint8Array>,
  head: Uint8Array,
  header: Vp9Header
): ReadonlyArray<Uint8Array> => {
  const added = header.key ? 0 : 1
  const hidden = new Uint8Array(Math.ceil((header.bits + added) / 8))
  const showBitAt = header.hiddenBitAt - 2
  for (let from = 0; from < header.bits; from++) {
    const bit = ((head[from >> 3] ?? 0) >> (7 - (from & 7))) & 1
    const to = from < header.hiddenBitAt ? from : from + added
    if (bit === 1 && from !== showBitAt) hidden[to >> 3] = (hidden[to >> 3] ?? 0) | (0x80 >> (to & 7))
  }
  return [hidden, ...withoutFirst(data, Math.ceil(header.bits / 8))]
}

const withoutFirst = (data: ReadonlyArray<Uint8Array>, count: number): ReadonlyArray<Uint8Array> => {
  let left = count
  return data.flatMap((piece) => {
    const cut = Math.min(left, piece.length)
    left -= cut
    return cut === piece.length ? [] : [piece.subarray(cut)]
  })
}
