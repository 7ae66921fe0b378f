/**
 * Stands between ffmpeg and a node and counts, packet by packet, what is sent: the demo's own figures, not the node's word. One relay
 * carries one RTP stream; RTCP passes uncounted.
 */
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"

export interface Relay {
  /** Where ffmpeg sends to. */
  readonly port: number
  /** Begins to pass packets on; what comes before is dropped and not counted. */
  readonly passTo: (ip: string, port: number) => void
  readonly sent: Sent
}

export interface Sent {
  packets: number
  frames: number
  /** From the first frame to the last, by their RTP timestamps: what a player would show, however ffmpeg paced it. */
  seconds: number
}

/** A packet with the marker bit ends a VP8 frame (RFC 7741, 4.1); an Opus packet is a frame (RFC 7587, 4.2). */
export const openRelay = Effect.fnUntraced(function* (kind: "audio" | "video") {
  const sent: Sent = { packets: 0, frames: 0, seconds: 0 }
  const clockRate = kind === "audio" ? 48_000 : 90_000
  let last: number | undefined
  let target: { readonly ip: string; readonly port: number } | undefined
  const socket = yield* openSocket((packet) => {
    if (target === undefined) return
    const isRtcp = (packet[1] ?? 0) >= 192 && (packet[1] ?? 0) <= 223
    if (!isRtcp) {
      sent.packets++
      if (kind === "audio" || ((packet[1] ?? 0) & 0x80) !== 0) sent.frames++
      const timestamp = packet.readUInt32BE(4)
      // The difference of two neighbours, so that the 32 bits may wrap.
      if (last !== undefined) sent.seconds += ((timestamp - last) | 0) / clockRate
      last = timestamp
    }
    socket.send(packet, target.port, target.ip)
  })
  const relay: Relay = {
    port: socket.address().port,
    passTo: (ip, port) => {
      target = { ip, port }
    },
    sent
  }
  return relay
})

/** A UDP socket on a free loopback port, until the scope closes. */
export const openSocket = (onPacket: (packet: Buffer) => void) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createSocket>>((resume) => {
      const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 })
      socket.on("message", onPacket)
      socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
  )
