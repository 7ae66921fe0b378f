/** A sequence parameter set of H.264 (7.3.2.1.1), as far as a file must know it, and the avcC record made of it (ISO 14496-15, 5.3.3). */
import type { BitReader } from "./BitReader.ts"
import { makeBitReader } from "./BitReader.ts"

export interface SpsInfo {
  readonly id: number
  readonly width: number
  readonly height: number
  /** 1 is 4:2:0. */
  readonly chromaFormat: number
  readonly bitDepthLuma: number
  readonly bitDepthChroma: number
}

const profilesWithChroma = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135])

/** `unit` with its header byte. Undefined for what no decoder would take. */
export const parseSps = (unit: Uint8Array): SpsInfo | undefined => {
  const reader = makeBitReader(withoutEmulation(unit.subarray(1)))
  const profile = reader.bits(8)
  reader.skip(16)
  const id = reader.exp()
  let chromaFormat = 1
  let bitDepthLuma = 8
  let bitDepthChroma = 8
  let separatePlanes = false
  if (profilesWithChroma.has(profile)) {
    chromaFormat = reader.exp()
    if (chromaFormat === 3) separatePlanes = reader.flag()
    bitDepthLuma += reader.exp()
    bitDepthChroma += reader.exp()
    reader.skip(1)
    if (reader.flag()) skipScalingMatrix(reader, chromaFormat === 3 ? 12 : 8)
  }
  reader.exp()
  const orderType = reader.exp()
  if (orderType === 0) reader.exp()
  else if (orderType === 1) {
    reader.skip(1)
    reader.exp()
    reader.exp()
    for (let left = Math.min(reader.exp(), 255); left > 0; left--) reader.exp()
  }
  reader.exp()
  reader.skip(1)
  const columns = reader.exp() + 1
  const rows = reader.exp() + 1
  const framesOnly = reader.flag()
  if (!framesOnly) reader.skip(1)
  reader.skip(1)
  const cropped = reader.flag()
  const [left, right, top, bottom] = cropped
    ? [reader.exp(), reader.exp(), reader.exp(), reader.exp()]
    : [0, 0, 0, 0]
  const planes = chromaFormat === 0 || separatePlanes
  const unitX = planes || chromaFormat === 3 ? 1 : 2
  const unitY = (planes || chromaFormat !== 1 ? 1 : 2) * (framesOnly ? 1 : 2)
  const width = 16 * columns - unitX * (left + right)
  const height = 16 * rows * (framesOnly ? 1 : 2) - unitY * (top + bottom)
  const possible = width > 0 && height > 0 && width <= 16_384 && height <= 16_384
  if (reader.overrun || !possible || id > 31 || chromaFormat > 3) return undefined
  if (bitDepthLuma > 14 || bitDepthChroma > 14) return undefined
  return { id, width, height, chromaFormat, bitDepthLuma, bitDepthChroma }
}

const skipScalingMatrix = (reader: BitReader, lists: number): void => {
  for (let list = 0; list < lists; list++) {
    if (!reader.flag()) continue
    let next = 8
    for (let left = list < 6 ? 16 : 64; left > 0 && next !== 0; left--) {
      next = (next + reader.signedExp() + 256) % 256
    }
  }
}

/** Two zeros are followed by a three that is not part of the content wherever they could be taken for a start code. */
const withoutEmulation = (bytes: Uint8Array): Uint8Array => {
  const kept: Array<number> = []
  let zeros = 0
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0
      continue
    }
    zeros = byte === 0 ? zeros + 1 : 0
    kept.push(byte)
  }
  return Uint8Array.from(kept)
}

/** `sps` is not empty; `info` is of the first. */
export const avcC = (
  sps: ReadonlyArray<Uint8Array>,
  pps: ReadonlyArray<Uint8Array>,
  info: SpsInfo
): Uint8Array => {
  const [first = new Uint8Array()] = sps
  const profile = first[1] ?? 0
  const list = (units: ReadonlyArray<Uint8Array>) =>
    units.flatMap((unit) => [Uint8Array.of(unit.length >> 8, unit.length & 0xff), unit])
  const extended = [100, 110, 122, 144].includes(profile)
  const { chromaFormat, bitDepthLuma, bitDepthChroma } = info
  return Buffer.concat([
    Uint8Array.of(1, profile, first[2] ?? 0, first[3] ?? 0, 0xff, 0xe0 | Math.min(sps.length, 31)),
    ...list(sps.slice(0, 31)),
    Uint8Array.of(Math.min(pps.length, 255)),
    ...list(pps.slice(0, 255)),
    extended
      ? Uint8Array.of(0xfc | chromaFormat, 0xf8 | (bitDepthLuma - 8), 0xf8 | (bitDepthChroma - 8), 0)
      : new Uint8Array()
  ])
}
