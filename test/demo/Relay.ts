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
  readonly sent: { packets: number; frames: number; firstMs: number; lastMs: number }
}

/** A packet with the marker bit ends a VP8 frame (RFC 7741, 4.1); an Opus packet is a frame (RFC 7587, 4.2). */
export const openRelay = Effect.fnUntraced(function* (kind: "audio" | "video") {
  const sent = { packets: 0, frames: 0, firstMs: 0, lastMs: 0 }
  let target: { readonly ip: string; readonly port: number } | undefined
  const socket = yield* openSocket((packet) => {
    if (target === undefined) return
    const isRtcp = (packet[1] ?? 0) >= 192 && (packet[1] ?? 0) <= 223
    if (!isRtcp) {
      sent.packets++
      if (kind === "audio" || ((packet[1] ?? 0) & 0x80) !== 0) sent.frames++
      sent.lastMs = performance.now()
      if (sent.firstMs === 0) sent.firstMs = sent.lastMs
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
