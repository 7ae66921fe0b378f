/** Reads numbers bit by bit, as codec headers write them. Past the end everything is 0, and `overrun` says so: to be asked at the end. */
export interface BitReader {
  /** Of the next bit. */
  readonly position: number
  readonly overrun: boolean
  /** An unsigned number of up to 32 bits, the highest first. */
  readonly bits: (count: number) => number
  readonly flag: () => boolean
  readonly skip: (count: number) => void
  /** Exp-Golomb codes (H.264, 9.1), unsigned and signed; `exp` is AV1's uvlc as well. */
  readonly exp: () => number
  readonly signedExp: () => number
}

export const makeBitReader = (bytes: Uint8Array): BitReader => {
  const end = bytes.length * 8
  let position = 0
  const bits = (count: number): number => {
    let value = 0
    for (let i = 0; i < count; i++) {
      const byte = bytes[position >> 3] ?? 0
      value = value * 2 + ((byte >> (7 - (position & 7))) & 1)
      position += 1
    }
    return value
  }
  const exp = (): number => {
    let zeros = 0
    while (zeros < 32 && position < end && bits(1) === 0) zeros += 1
    return 2 ** zeros - 1 + bits(zeros)
  }
  return {
    get position() {
      return position
    },
    get overrun() {
      return position > end
    },
    bits,
    flag: () => bits(1) === 1,
    skip: (count) => {
      position += count
    },
    exp,
    signedExp: () => {
      const code = exp()
      return code % 2 === 1 ? (code + 1) / 2 : -code / 2
    }
  }
}
