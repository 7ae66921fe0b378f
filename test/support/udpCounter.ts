/** A UDP socket that counts the RTP packets that come: a receiver that depends on nobody's word. */
import { createSocket } from "node:dgram"
import * as Effect from "effect/Effect"
import { untilTrue } from "./until.ts"

export interface UdpCounter {
  readonly port: number
  readonly packets: () => number
  /** Waits until so many have come from now on. */
  readonly more: (packets: number) => Effect.Effect<void>
}

/** RFC 5761: RTCP packet types lie from 192 to 223 in the second byte. */
export const isRtcp = (packet: Uint8Array): boolean => {
  const type = packet[1] ?? 0
  return type >= 192 && type <= 223
}

/** On loopback, with room for what comes while this process is busy. */
export const openUdp = Effect.acquireRelease(
  Effect.callback<ReturnType<typeof createSocket>>((resume) => {
    const opened = createSocket({ type: "udp4", recvBufferSize: 4 << 20 })
    opened.bind(0, "127.0.0.1", () => resume(Effect.succeed(opened)))
  }),
  (opened) => Effect.callback<void>((resume) => void opened.close(() => resume(Effect.void)))
)

export const udpCounter = Effect.gen(function* () {
  const socket = yield* openUdp
  let packets = 0
  socket.on("message", (packet) => {
    if (!isRtcp(packet)) packets++
  })
  const counter: UdpCounter = {
    port: socket.address().port,
    packets: () => packets,
    more: (count) =>
      Effect.suspend(() => {
        const wanted = packets + count
        return untilTrue(() => packets >= wanted)
      })
  }
  return counter
})
