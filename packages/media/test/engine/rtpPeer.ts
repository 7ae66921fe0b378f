/** Both ends of real RTP over UDP on loopback: a sender that counts what it sent, a receiver that counts what came. */
import { createSocket, type Socket } from "node:dgram"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

export interface RtpHeader {
  readonly payloadType: number
  readonly marker: boolean
  readonly sequence: number
  readonly timestamp: number
  readonly ssrc: number
}

export const rtpPacket = (header: RtpHeader, payload: Uint8Array): Buffer => {
  const packet = Buffer.alloc(12 + payload.length)
  packet.writeUInt8(0x80, 0)
  packet.writeUInt8((header.marker ? 0x80 : 0) | header.payloadType, 1)
  packet.writeUInt16BE(header.sequence & 0xffff, 2)
  packet.writeUInt32BE(header.timestamp >>> 0, 4)
  packet.writeUInt32BE(header.ssrc, 8)
  packet.set(payload, 12)
  return packet
}

export const rtpHeader = (packet: Uint8Array): RtpHeader => {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  return {
    payloadType: view.getUint8(1) & 0x7f,
    marker: (view.getUint8(1) & 0x80) !== 0,
    sequence: view.getUint16(2),
    timestamp: view.getUint32(4),
    ssrc: view.getUint32(8)
  }
}

/** RFC 5761: RTCP packet types lie from 192 to 223 in the second byte. */
export const isRtcp = (packet: Uint8Array): boolean => {
  const type = packet[1] ?? 0
  return type >= 192 && type <= 223
}

/** A sender report without report blocks. */
export const senderReport = (ssrc: number, ntpMs: number, timestamp: number): Buffer => {
  const packet = Buffer.alloc(28)
  packet.writeUInt8(0x80, 0)
  packet.writeUInt8(200, 1)
  packet.writeUInt16BE(6, 2)
  packet.writeUInt32BE(ssrc, 4)
  packet.writeUInt32BE(Math.floor(ntpMs / 1000) + 2_208_988_800, 8)
  packet.writeUInt32BE(Math.floor(((ntpMs % 1000) / 1000) * 2 ** 32), 12)
  packet.writeUInt32BE(timestamp, 16)
  return packet
}

const openSocket: Effect.Effect<Socket, never, Scope.Scope> = Effect.acquireRelease(
  Effect.callback<Socket>((resume) => {
    const socket = createSocket("udp4")
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
)

export interface RtpReceiver {
  readonly port: number
  /** Every RTP packet that came, in order; RTCP is left out. */
  readonly packets: ReadonlyArray<Buffer>
  /** Waits until that many have come, all in all. */
  readonly count: (packets: number) => Effect.Effect<void>
  /** Waits for one more than there are now. */
  readonly another: Effect.Effect<void>
}

export const makeRtpReceiver: Effect.Effect<RtpReceiver, never, Scope.Scope> = Effect.gen(function* () {
  const socket = yield* openSocket
  const packets: Array<Buffer> = []
  const arrivals = yield* Queue.unbounded<void>()
  socket.on("message", (packet) => {
    if (isRtcp(packet)) return
    packets.push(packet)
    Queue.offerUnsafe(arrivals, undefined)
  })
  const count = (wanted: number): Effect.Effect<void> =>
    Effect.suspend(() =>
      packets.length >= wanted ? Effect.void : Queue.take(arrivals).pipe(Effect.andThen(count(wanted)))
    )
  return {
    port: socket.address().port,
    packets,
    count,
    another: Effect.suspend(() => count(packets.length + 1))
  }
})

export interface RtpSender {
  readonly sent: () => number
  /** Sends the next packet; each is a frame of its own. Sequence numbers and timestamps go on from the last. */
  readonly send: (options?: { readonly keyFrame?: boolean; readonly skip?: number }) => Effect.Effect<void>
  /** The same for so many packets, all of them given to the kernel before this returns. */
  readonly burst: (packets: number) => void
  readonly report: (ntpMs: number) => Effect.Effect<void>
  readonly timestamp: () => number
}

export interface RtpSenderOptions {
  readonly ip?: string
  readonly port: number
  readonly ssrc: number
  readonly payloadType: number
  readonly codec: "opus" | "vp8"
  readonly firstSequence?: number
}

/** RFC 7741: a payload descriptor with S set, then a frame header whose lowest bit is 0 for a key frame. */
const vp8Payload = (keyFrame: boolean): Uint8Array =>
  keyFrame
    ? Uint8Array.of(0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 0x00)
    : Uint8Array.of(0x10, 0x11, 0x02, 0x00, 0x00, 0x00)

/** RFC 6716: 20 ms of CELT, then anything. */
const opusPayload = Uint8Array.of(0xfc, 0xff, 0xfe)

export const makeRtpSender = Effect.fnUntraced(function* (options: RtpSenderOptions) {
  const socket = yield* openSocket
  const step = options.codec === "opus" ? 960 : 3000
  let sent = 0
  let sequence = options.firstSequence ?? 1000
  let timestamp = 90_000
  // Connected, a socket sends at once and not after a look-up. Nobody there is nobody's concern.
  yield* Effect.callback<void>((resume) => {
    socket.once("connect", () => resume(Effect.void))
    socket.connect(options.port, options.ip ?? "127.0.0.1")
  })
  socket.on("error", () => undefined)
  const next = (keyFrame: boolean, skip: number): Buffer => {
    sequence += 1 + skip
    timestamp += step * (1 + skip)
    sent += 1
    const { payloadType, ssrc } = options
    const payload = options.codec === "opus" ? opusPayload : vp8Payload(keyFrame)
    return rtpPacket({ payloadType, ssrc, marker: true, sequence, timestamp }, payload)
  }
  const transmit = (packet: Buffer) =>
    Effect.callback<void>((resume) => {
      socket.send(packet, () => resume(Effect.void))
    })
  const sender: RtpSender = {
    sent: () => sent,
    timestamp: () => timestamp,
    send: ({ keyFrame = sent === 0, skip = 0 } = {}) => Effect.suspend(() => transmit(next(keyFrame, skip))),
    burst: (packets) => {
      for (let i = 0; i < packets; i++) socket.send(next(sent === 0, 0))
    },
    report: (ntpMs) => transmit(senderReport(options.ssrc, ntpMs, timestamp))
  }
  return sender
})
