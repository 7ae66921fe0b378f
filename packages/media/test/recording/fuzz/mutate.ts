/** Spoils bytes in the ways that wires, disks and strangers do. Everything follows from the numbers that `random` gives. */

export type Random = () => number

export const below = (random: Random, limit: number): number => Math.floor(random() * limit)

export const oneOf = <A>(random: Random, choices: readonly [A, ...ReadonlyArray<A>]): A =>
  choices[below(random, choices.length)] ?? choices[0]

export const anyBytes = (random: Random, maxLength: number): Buffer =>
  Buffer.from(Array.from({ length: below(random, maxLength + 1) }, () => below(random, 256)))

/** Bytes at which parsers have been wrong: ends of ranges, signs, "more follows". */
const edges = [0x00, 0x01, 0x7f, 0x80, 0xc0, 0xfe, 0xff] as const

const flipBit = (random: Random, bytes: Buffer): Buffer => {
  const at = below(random, bytes.length)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8))
  return bytes
}

const setByte = (random: Random, bytes: Buffer): Buffer => {
  bytes[below(random, bytes.length)] = random() < 0.5 ? oneOf(random, edges) : below(random, 256)
  return bytes
}

const cutShort = (random: Random, bytes: Buffer): Buffer => bytes.subarray(0, below(random, bytes.length))

const cutOut = (random: Random, bytes: Buffer): Buffer => {
  const from = below(random, bytes.length)
  return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + 1 + below(random, 8))])
}

const insert = (random: Random, bytes: Buffer): Buffer => {
  const at = below(random, bytes.length)
  return Buffer.concat([bytes.subarray(0, at), anyBytes(random, 8), bytes.subarray(at)])
}

const repeat = (random: Random, bytes: Buffer): Buffer => {
  const from = below(random, bytes.length)
  const piece = bytes.subarray(from, from + 1 + below(random, 16))
  return Buffer.concat([bytes.subarray(0, from), piece, bytes.subarray(from)])
}

const mutators = [flipBit, flipBit, setByte, setByte, cutShort, cutOut, insert, repeat] as const

/** A copy with one to four faults, most of them near the beginning, where headers are. */
export const mutate = (random: Random, bytes: Uint8Array): Buffer => {
  let spoilt = Buffer.from(bytes)
  for (let left = 1 + below(random, 4); left > 0 && spoilt.length > 0; left--) {
    const headOnly = random() < 0.6 ? Math.min(spoilt.length, 24) : spoilt.length
    const head = oneOf(random, mutators)(random, Buffer.from(spoilt.subarray(0, headOnly)))
    spoilt = Buffer.concat([head, spoilt.subarray(headOnly)])
  }
  return spoilt
}
