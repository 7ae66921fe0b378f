/** The codecs a room takes, and what may be asked of a producer or a consumer before mediasoup sees it. */
import { isIP } from "node:net"
import type { RouterRtpCodecCapability, RtpCapabilities, RtpParameters } from "mediasoup/types"
import * as Effect from "effect/Effect"
import { MediaRejected } from "../../MediaError.ts"
import type { Codec, CodecParameters, Kind, RtpAddress, RtpProducerOptions } from "../RoomMedia.ts"

interface CodecFormat {
  readonly kind: Kind
  readonly mimeType: `${Kind}/${string}`
  readonly clockRate: number
  readonly channels?: number
}

/** RFC 7587 and RFC 7741: the clocks are fixed by the payload formats. */
const formats: Record<Codec, CodecFormat> = {
  opus: { kind: "audio", mimeType: "audio/opus", clockRate: 48_000, channels: 2 },
  vp8: { kind: "video", mimeType: "video/VP8", clockRate: 90_000 }
}

export const routerCodecs: Array<RouterRtpCodecCapability> = Object.values(formats).map((format) => ({
  ...format
}))

/** How a sender may be asked to repair: packets sent again, a key frame. A sender that cannot ignores it. */
const videoFeedback = [
  { type: "nack" },
  { type: "nack", parameter: "pli" },
  { type: "ccm", parameter: "fir" }
]

export const producerRtpParameters = (options: RtpProducerOptions): RtpParameters => {
  const { kind, ...codec } = formats[options.codec]
  return {
    codecs: [
      { ...codec, payloadType: options.payloadType, rtcpFeedback: kind === "video" ? videoFeedback : [] }
    ],
    encodings: [{ ssrc: options.ssrc }]
  }
}

/**
 * What a receiver of plain RTP can do: ask again for packets and for key frames. It measures no bandwidth, and a worker
 * that believed it did would send it packets of its own to probe with.
 */
export const plainReceiver = (capabilities: RtpCapabilities): RtpCapabilities => ({
  codecs: (capabilities.codecs ?? []).map((codec) => ({
    ...codec,
    rtcpFeedback: (codec.rtcpFeedback ?? []).filter(({ type }) => type === "nack" || type === "ccm")
  })),
  headerExtensions: []
})

/** Of parameters that mediasoup made out of ours: one codec, named as we name it. */
export const codecParameters = (codec: Codec, parameters: RtpParameters): CodecParameters => {
  const { channels, clockRate } = formats[codec]
  // A consumer that mediasoup could make has a codec.
  const payloadType = parameters.codecs[0]?.payloadType ?? 0
  return { codec, payloadType, clockRate, ...(channels === undefined ? {} : { channels }) }
}

/** mediasoup truncates numbers that do not fit, so none that do not may get there. */
const inRange = (operation: string, name: string, value: number, min: number, max: number) =>
  Number.isInteger(value) && value >= min && value <= max
    ? Effect.void
    : Effect.fail(
        new MediaRejected({
          operation,
          reason: `${name} ${value}: give a whole number from ${min} to ${max}`
        })
      )

export const checkProducerOptions = Effect.fnUntraced(function* (
  operation: string,
  options: RtpProducerOptions
) {
  const format = formats[options.codec]
  if (format.kind !== options.kind) {
    return yield* new MediaRejected({
      operation,
      reason: `${options.codec} is ${format.kind}, not ${options.kind}`
    })
  }
  yield* inRange(operation, "payloadType", options.payloadType, 0, 127)
  yield* inRange(operation, "ssrc", options.ssrc, 1, 0xffff_ffff)
  if (options.remote !== undefined) yield* checkAddress(operation, options.remote, options.rtcpMux ?? true)
})

export const checkAddress = Effect.fnUntraced(function* (
  operation: string,
  address: RtpAddress,
  rtcpMux: boolean
) {
  if (isIP(address.ip) === 0) {
    return yield* new MediaRejected({ operation, reason: `ip '${address.ip}': give an IPv4 or IPv6 address` })
  }
  yield* inRange(operation, "port", address.port, 1, 65_535)
  if (address.rtcpPort !== undefined) yield* inRange(operation, "rtcpPort", address.rtcpPort, 1, 65_535)
  if (rtcpMux === (address.rtcpPort !== undefined)) {
    return yield* new MediaRejected({
      operation,
      reason: rtcpMux
        ? "rtcpPort: leave it out, or set rtcpMux to false"
        : "rtcpPort is missing, and rtcpMux is false"
    })
  }
})

/** 127.0.0.0/8 and ::1. */
export const isLoopback = (ip: string): boolean => (isIP(ip) === 4 && ip.startsWith("127.")) || ip === "::1"
