/** The codecs a room takes, and what may be asked of a producer or a consumer before mediasoup sees it. */
import { isIP } from "node:net"
import type { RouterRtpCodecCapability, RtpCapabilities, RtpParameters } from "mediasoup/types"
import * as Effect from "effect/Effect"
import { MediaRejected } from "../../MediaError.ts"
import type * as Answer from "../../protocol/WebRtc.ts"
import type {
  Codec,
  CodecParameters,
  FormatParameters,
  Kind,
  Layer,
  RtpAddress,
  RtpProducerOptions
} from "../RoomMedia.ts"
import { plain } from "./mediasoupDoor.ts"

interface CodecFormat {
  readonly kind: Kind
  readonly mimeType: `${Kind}/${string}`
  readonly clockRate: number
  readonly channels?: number
  /** What a router takes of it: mediasoup tells these profiles apart. None: it has no profiles. */
  readonly profiles: ReadonlyArray<FormatParameters>
}

const h264 = (profileLevelId: string, packetizationMode: 0 | 1): FormatParameters => ({
  "packetization-mode": packetizationMode,
  "profile-level-id": profileLevelId,
  "level-asymmetry-allowed": 1
})

/**
 * RFC 7587, RFC 7741, RFC 9628, RFC 6184 and AV1's own: the clocks are fixed by the payload formats. Of profiles what browsers send:
 * VP9 0 and 2; H.264 constrained baseline, baseline, main and high. The first is the usual one.
 */
const formats: Record<Codec, CodecFormat> = {
  opus: { kind: "audio", mimeType: "audio/opus", clockRate: 48_000, channels: 2, profiles: [] },
  vp8: { kind: "video", mimeType: "video/VP8", clockRate: 90_000, profiles: [] },
  vp9: {
    kind: "video",
    mimeType: "video/VP9",
    clockRate: 90_000,
    profiles: [{ "profile-id": 0 }, { "profile-id": 2 }]
  },
  h264: {
    kind: "video",
    mimeType: "video/H264",
    clockRate: 90_000,
    profiles: [
      h264("42e01f", 1),
      h264("42001f", 1),
      h264("4d001f", 1),
      h264("64001f", 1),
      h264("42e01f", 0),
      h264("42001f", 0)
    ]
  },
  av1: { kind: "video", mimeType: "video/AV1", clockRate: 90_000, profiles: [] }
}

const codecs = Object.keys(formats) as ReadonlyArray<Codec>

export const routerCodecs: Array<RouterRtpCodecCapability> = Object.values(formats).flatMap(
  ({ profiles, ...format }) =>
    (profiles.length === 0 ? [{}] : profiles).map((parameters) => ({ ...format, parameters }))
)

/** How a sender may be asked to repair: packets sent again, a key frame. A sender that cannot ignores it. */
const videoFeedback = [
  { type: "nack" },
  { type: "nack", parameter: "pli" },
  { type: "ccm", parameter: "fir" }
]

export const producerRtpParameters = (options: RtpProducerOptions): RtpParameters => {
  const { kind, profiles, ...codec } = formats[options.codec]
  return {
    codecs: [
      {
        ...codec,
        payloadType: options.payloadType,
        parameters: { ...profiles[0], ...options.parameters },
        rtcpFeedback: kind === "video" ? videoFeedback : []
      }
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

/** Of parameters that mediasoup took or made: their first codec (the others repair it), named as we name it. */
export const codecParameters = (rtp: RtpParameters): CodecParameters => {
  const [given] = rtp.codecs
  // What mediasoup takes or makes has a codec, and one that the router has.
  const codec = codecs.find((each) => sameType(formats[each].mimeType, given?.mimeType)) ?? "opus"
  const { channels, clockRate, mimeType } = formats[codec]
  return {
    codec,
    mimeType,
    payloadType: given?.payloadType ?? 0,
    clockRate,
    ...(channels === undefined ? {} : { channels }),
    parameters: formatOf(given?.parameters)
  }
}

const formatOf = (given: Record<string, unknown> = {}): FormatParameters => {
  const parameters: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "string" || typeof value === "number") parameters[name] = value
  }
  return parameters
}

/** For comparing options. */
export const formatKey = (parameters: FormatParameters | undefined) =>
  Object.entries(parameters ?? {}).toSorted(([a], [b]) => a.localeCompare(b))

const sameType = (a: string, b: string | undefined) => a.toLowerCase() === b?.toLowerCase()

/** As a client is told them. Of a codec's parameters mediasoup has numbers and texts only, and its types do not say so. */
export const capabilitiesOf = ({
  codecs = [],
  headerExtensions = []
}: RtpCapabilities): Answer.RtpCapabilities =>
  plain({
    codecs: codecs.map(({ parameters, ...codec }) => ({ ...codec, parameters: formatOf(parameters) })),
    headerExtensions
  })

/** What a sender says of its encodings, in its order. */
export const layersOf = ({ encodings = [] }: RtpParameters): ReadonlyArray<Layer> =>
  encodings.map(({ rid, scalabilityMode, ssrc }) => ({
    ...(ssrc === undefined ? {} : { ssrc }),
    ...(rid === undefined ? {} : { rid }),
    ...(scalabilityMode === undefined ? {} : { scalabilityMode })
  }))

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
  const { payloadType } = options
  yield* inRange(operation, "payloadType", payloadType, 0, 127)
  // RFC 5761, section 4: with the marker they are RTCP's packet types.
  if ((options.rtcpMux ?? true) && payloadType >= 64 && payloadType <= 95) {
    return yield* new MediaRejected({
      operation,
      reason: `payloadType ${payloadType}: 64 to 95 are taken for RTCP on a shared port; give another, or set rtcpMux to false`
    })
  }
  yield* inRange(operation, "ssrc", options.ssrc, 1, 0xffff_ffff)
  if (options.remote !== undefined) yield* checkAddress(operation, options.remote, options.rtcpMux ?? true)
})

/**
 * mediasoup does not compare a producer's kind with its codecs, and a token's grant is by kind: none of them may be of another, not one that
 * comes second, nor one that repairs. Streams that share a `rid` could not be told apart.
 */
export const checkRtpParameters = Effect.fnUntraced(function* (
  operation: string,
  kind: Kind,
  { codecs, encodings = [] }: Answer.RtpParameters
) {
  const other = codecs.find(({ mimeType }) => !mimeType.toLowerCase().startsWith(`${kind}/`))
  if (other !== undefined) {
    return yield* new MediaRejected({ operation, reason: `codec '${other.mimeType}' is not ${kind}` })
  }
  const rids = encodings.flatMap(({ rid }) => rid ?? [])
  const twice = rids.find((rid, i) => rids.indexOf(rid) !== i)
  if (twice !== undefined) {
    return yield* new MediaRejected({
      operation,
      reason: `rid '${twice}' is there twice: give each encoding its own`
    })
  }
})

/** Bytes of each hash. */
const fingerprintBytes = { "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64 }

/** As the worker compares them: letters in upper case. It takes any text, and one that no certificate can have leaves a dead transport. */
export const checkFingerprints = Effect.fnUntraced(function* (
  operation: string,
  fingerprints: Answer.DtlsParameters["fingerprints"]
) {
  if (fingerprints.length === 0) {
    return yield* new MediaRejected({ operation, reason: "fingerprints is empty: give the certificate's" })
  }
  for (const { algorithm, value } of fingerprints) {
    const bytes = fingerprintBytes[algorithm]
    if (value.length === 3 * bytes - 1 && /^[\da-f]{2}(:[\da-f]{2})*$/i.test(value)) continue
    return yield* new MediaRejected({
      operation,
      reason: `fingerprint '${value}': give ${bytes} bytes for ${algorithm}, each as two hex digits, with colons between`
    })
  }
  return fingerprints.map(({ algorithm, value }) => ({ algorithm, value: value.toUpperCase() }))
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
