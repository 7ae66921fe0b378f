/**
 * Cuts AV1 temporal units into RTP packets by the payload specification: the test's own sender. Packets hold one, two, three or more
 * units, with and without a count, units go over several packets, and some senders leave a unit its size.
 */
import { seededRandom } from "@ebb/actors/testing"

export interface Av1PacketOptions {
  readonly ssrc: number
  readonly ticksPerUnit: number
  readonly maxBytes: number
}

const leb128 = (value: number): Buffer => {
  const bytes: Array<number> = []
  for (let rest = value; rest > 0 || bytes.length === 0; rest >>= 7) {
    bytes.push((rest & 0x7f) | (rest >= 0x80 ? 0x80 : 0))
  }
  return Buffer.from(bytes)
}

const readLeb128 = (bytes: Buffer, at: number) => {
  let value = 0
  let length = 0
  do value |= ((bytes[at + length] ?? 0) & 0x7f) << (7 * length)
  while ((bytes[at + length++] ?? 0) >= 0x80)
  return { value, length }
}

/** The units of a file's temporal unit, without delimiters, and without their sizes unless `keepSizes`. */
const unitsOf = (temporalUnit: Buffer, keepSizes: boolean): ReadonlyArray<Buffer> => {
  const units: Array<Buffer> = []
  for (let at = 0; at < temporalUnit.length;) {
    const first = temporalUnit[at] ?? 0
    const header = (first & 4) === 0 ? 1 : 2
    const size = readLeb128(temporalUnit, at + header)
    const content = at + header + size.length
    const end = content + size.value
    const type = (first >> 3) & 15
    const bare = Buffer.concat([
      Buffer.of(first & ~2),
      temporalUnit.subarray(at + 1, at + header),
      temporalUnit.subarray(content, end)
    ])
    if (type !== 2) units.push(keepSizes ? temporalUnit.subarray(at, end) : bare)
    at = end
  }
  return units
}

interface Share {
  readonly bytes: Buffer
  readonly continues: boolean
  readonly goesOn: boolean
}

export const av1Packets = (
  temporalUnits: ReadonlyArray<Buffer>,
  { maxBytes, ssrc, ticksPerUnit }: Av1PacketOptions
): ReadonlyArray<Buffer> => {
  const random = seededRandom(1)
  const packets: Array<Buffer> = []
  temporalUnits.forEach((temporalUnit, i) => {
    const units = unitsOf(temporalUnit, random() < 0.2)
    const shares: Array<Share> = units.flatMap((unit) => {
      const count = Math.ceil(unit.length / (maxBytes - 20))
      const length = Math.ceil(unit.length / count)
      return Array.from({ length: count }, (_, part) => ({
        bytes: unit.subarray(part * length, (part + 1) * length),
        continues: part > 0,
        goesOn: part < count - 1
      }))
    })
    const isKey = units.some((unit) => (((unit[0] ?? 0) >> 3) & 15) === 1)
    let first = true
    while (shares.length > 0) {
      const taken: Array<Share> = []
      let bytes = 1
      for (let next = shares[0]; next !== undefined; next = shares[0]) {
        // What goes on in the next packet has to be the last of this one.
        const full = bytes + next.bytes.length + 2 > maxBytes || taken.at(-1)?.goesOn === true
        if (taken.length > 0 && (full || random() < 0.2)) break
        taken.push(next)
        shares.shift()
        bytes += next.bytes.length + 2
      }
      const counted = taken.length <= 3 && random() < 0.7
      const flags =
        (taken[0]?.continues === true ? 0x80 : 0) |
        (taken.at(-1)?.goesOn === true ? 0x40 : 0) |
        (counted ? taken.length << 4 : 0) |
        (isKey && first ? 0x08 : 0)
      const body = taken.flatMap((share, at) =>
        counted && at === taken.length - 1 ? [share.bytes] : [leb128(share.bytes.length), share.bytes]
      )
      const header = Buffer.alloc(12)
      header[0] = 0x80
      header[1] = 96 | (shares.length === 0 ? 0x80 : 0)
      header.writeUInt16BE(packets.length & 0xffff, 2)
      header.writeUInt32BE((i * ticksPerUnit) >>> 0, 4)
      header.writeUInt32BE(ssrc, 8)
      packets.push(Buffer.concat([header, Buffer.of(flags), ...body]))
      first = false
    }
  })
  return packets
}
