/** AV1's sequence header (bitstream specification, 5.5), as far as a file must know it, and the av1C record made of it (AV1 in ISOBMFF, 2.3.3). */
import type { BitReader } from "./BitReader.ts"
import { makeBitReader } from "./BitReader.ts"

export interface SequenceInfo {
  readonly width: number
  readonly height: number
  readonly profile: number
  readonly level: number
  readonly tier: number
  readonly highBitDepth: boolean
  readonly twelveBit: boolean
  readonly monochrome: boolean
  readonly subsamplingX: boolean
  readonly subsamplingY: boolean
  readonly chromaPosition: number
}

export const isReducedStill = (content: Uint8Array): boolean => ((content[0] ?? 0) & 0x08) !== 0

/** `content` is without the unit's header. Undefined for what no decoder would take. */
export const parseSequenceHeader = (content: Uint8Array): SequenceInfo | undefined => {
  const reader = makeBitReader(content)
  const profile = reader.bits(3)
  reader.skip(1)
  const reduced = reader.flag()
  const { level, tier } = reduced ? { level: reader.bits(5), tier: 0 } : readOperatingPoints(reader)
  const widthBits = reader.bits(4) + 1
  const heightBits = reader.bits(4) + 1
  const width = reader.bits(widthBits) + 1
  const height = reader.bits(heightBits) + 1
  if (!reduced && reader.flag()) reader.skip(7)
  reader.skip(3)
  if (!reduced) readTools(reader)
  reader.skip(3)
  const color = readColor(reader, profile)
  return reader.overrun || profile > 2 ? undefined : { width, height, profile, level, tier, ...color }
}

/** Level and tier of the first operating point, which has all layers. */
const readOperatingPoints = (reader: BitReader): { readonly level: number; readonly tier: number } => {
  let delayBits = 0
  if (reader.flag()) {
    reader.skip(64)
    if (reader.flag()) reader.exp()
    if (reader.flag()) {
      delayBits = reader.bits(5) + 1
      reader.skip(32 + 5 + 5)
    }
  }
  const hasDisplayDelay = reader.flag()
  const points = reader.bits(5) + 1
  let first: { readonly level: number; readonly tier: number } | undefined
  for (let i = 0; i < points; i++) {
    reader.skip(12)
    const level = reader.bits(5)
    const tier = level > 7 ? reader.bits(1) : 0
    if (delayBits > 0 && reader.flag()) reader.skip(2 * delayBits + 1)
    if (hasDisplayDelay && reader.flag()) reader.skip(4)
    first ??= { level, tier }
  }
  return first ?? { level: 0, tier: 0 }
}

const readTools = (reader: BitReader): void => {
  reader.skip(4)
  const orderHint = reader.flag()
  if (orderHint) reader.skip(2)
  const screenContent = reader.flag() || reader.flag()
  // Chosen frame by frame, or once for all in one bit more.
  if (screenContent && !reader.flag()) reader.skip(1)
  if (orderHint) reader.skip(3)
}

const readColor = (reader: BitReader, profile: number) => {
  const highBitDepth = reader.flag()
  const twelveBit = profile === 2 && highBitDepth && reader.flag()
  const monochrome = profile !== 1 && reader.flag()
  const described = reader.flag()
  const sRgb = described && reader.bits(24) === 0x01_0d_00
  let subsamplingX = true
  let subsamplingY = true
  let chromaPosition = 0
  if (monochrome) reader.skip(1)
  else if (sRgb) {
    subsamplingX = false
    subsamplingY = false
  } else {
    reader.skip(1)
    if (profile === 1) subsamplingX = false
    else if (profile === 2) subsamplingX = twelveBit ? reader.flag() : true
    subsamplingY = profile === 0 || (twelveBit && subsamplingX && reader.flag())
    if (subsamplingX && subsamplingY) chromaPosition = reader.bits(2)
  }
  return { highBitDepth, twelveBit, monochrome, subsamplingX, subsamplingY, chromaPosition }
}

/** `sequenceUnit` is the whole unit, with its size. */
export const av1C = (info: SequenceInfo, sequenceUnit: Uint8Array): Uint8Array =>
  Buffer.concat([
    Uint8Array.of(
      0x81,
      (info.profile << 5) | info.level,
      (info.tier << 7) |
        (Number(info.highBitDepth) << 6) |
        (Number(info.twelveBit) << 5) |
        (Number(info.monochrome) << 4) |
        (Number(info.subsamplingX) << 3) |
        (Number(info.subsamplingY) << 2) |
        info.chromaPosition,
      0
    ),
    sequenceUnit
  ])
