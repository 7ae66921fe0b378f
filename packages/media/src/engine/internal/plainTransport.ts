/** One UDP port (two without rtcpMux) for one sender or receiver, refused where RTP would cross a network in the clear. */
import type { PlainTransport, Router } from "mediasoup/types"
import * as Effect from "effect/Effect"
import { PlainOnNetworkRefused } from "../../MediaError.ts"
import type { RtpAddress, SrtpParameters } from "../RoomMedia.ts"
import { request, type Door } from "./mediasoupDoor.ts"
import { isLoopback } from "./rtpCodecs.ts"

export interface PlainTransportRequest {
  readonly rtcpMux: boolean
  /** Absent: whoever sends first is the remote side. */
  readonly remote: RtpAddress | undefined
  readonly srtp: SrtpParameters | undefined
}

/**
 * Bytes. A key frame comes as one burst of packets, and what the socket cannot hold while the worker is busy is lost. The
 * kernel gives what net.core.rmem_max allows, with Debian's default already twice what a socket has by itself.
 */
const recvBufferSize = 1_048_576

export const openPlainTransport = Effect.fnUntraced(function* (
  door: Door,
  router: Router,
  operation: string,
  { remote, rtcpMux, srtp }: PlainTransportRequest
) {
  if (srtp === undefined && !door.allowPlainOnNetwork) {
    const open = [door.listenIp, remote?.ip].find((ip) => ip !== undefined && !isLoopback(ip))
    if (open !== undefined) return yield* new PlainOnNetworkRefused({ ip: open })
  }

  const transport = yield* request(door, operation, () =>
    router.createPlainTransport({
      listenInfo: {
        protocol: "udp",
        ip: door.listenIp,
        portRange: door.portRange,
        recvBufferSize,
        ...(door.announcedIp === undefined ? {} : { announcedAddress: door.announcedIp })
      },
      rtcpMux,
      comedia: remote === undefined,
      ...(srtp === undefined ? {} : { enableSrtp: true, srtpCryptoSuite: srtp.cryptoSuite })
    })
  )
  if (remote !== undefined || srtp !== undefined) {
    yield* request(door, operation, () =>
      transport.connect({ ...remote, ...(srtp === undefined ? {} : { srtpParameters: srtp }) })
    ).pipe(Effect.onError(() => Effect.sync(() => transport.close())))
  }
  return transport
})

/** What the other side has to know of it. */
export const localSide = (
  transport: PlainTransport
): { ip: string; port: number; rtcpPort?: number; srtp?: SrtpParameters } => {
  const { rtcpTuple, srtpParameters: srtp, tuple } = transport
  return {
    ip: tuple.localAddress,
    port: tuple.localPort,
    ...(rtcpTuple === undefined ? {} : { rtcpPort: rtcpTuple.localPort }),
    ...(srtp === undefined ? {} : { srtp: { cryptoSuite: srtp.cryptoSuite, keyBase64: srtp.keyBase64 } })
  }
}
