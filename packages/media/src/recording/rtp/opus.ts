/** Opus in RTP (RFC 7587): one packet is one frame of the file. Its length is in its first bytes (RFC 6716, 3). */

/** Samples at 48 kHz of one frame, by the configuration number of the packet's first byte. */
const frameSamples = (configuration: number): number => {
  if (configuration < 12) return [480, 960, 1920, 2880][configuration % 4] ?? 0
  if (configuration < 16) return configuration % 2 === 0 ? 480 : 960
  return [120, 240, 480, 960][configuration % 4] ?? 0
}

/** Samples at 48 kHz, or undefined for a packet that no decoder would take. */
export const opusSamples = (packet: Uint8Array): number | undefined => {
  const first = packet[0]
  if (first === undefined) return undefined
  const samples = frameSamples(first >> 3)
  switch (first & 3) {
    case 0:
      return samples
    case 1:
      return packet.length % 2 === 1 ? 2 * samples : undefined
    case 2:
      return packet.length >= 2 ? 2 * samples : undefined
    default: {
      const count = (packet[1] ?? 0) & 0x3f
      return count > 0 && count * samples <= 5760 ? count * samples : undefined
    }
  }
}

/** The `OpusHead` of a stream that begins in the middle of a conversation: nothing to skip, gain 0 (RFC 7845, 5.1). */
export const opusHead = (channels: number): Uint8Array =>
  Uint8Array.of(0x4f, 0x70, 0x75, 0x73, 0x48, 0x65, 0x61, 0x64, 1, channels, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0)

const silentFrame = [0xff, 0xfe]
/** CELT, full band, 20 ms, stereo: one frame of nothing, and six of them (RFC 6716, 3.2.5). */
const silence20 = Uint8Array.of(0xfc, ...silentFrame)
const silence120 = Uint8Array.of(0xff, 6, ...Array.from({ length: 6 }, () => silentFrame).flat())

/** The longest packet of silence that is not longer than `ms`, which may be none. */
export const silenceFor = (ms: number): { readonly ms: number; readonly packet: Uint8Array } =>
  ms >= 120 ? { ms: 120, packet: silence120 } : { ms: ms >= 20 ? 20 : 0, packet: silence20 }
