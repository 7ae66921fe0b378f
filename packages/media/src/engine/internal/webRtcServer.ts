/** A worker's one way in for browsers: one port for each address and protocol, the first free of a range, for all its rooms. */
import type { WebRtcServer, Worker } from "mediasoup/types"
import * as Effect from "effect/Effect"
import { WorkerUnavailable } from "../../MediaError.ts"
import type { MediaEngineOptions, WebRtcListen } from "../MediaEngine.ts"

/** As for plain RTP, and here for all that a worker's browsers send. */
const recvBufferSize = 4_194_304

const listenInfos = (
  { listen, portRange, tcp = true }: WebRtcListen,
  range: MediaEngineOptions["portRange"]
) =>
  listen.flatMap(({ announced, ip }) =>
    (tcp ? (["udp", "tcp"] as const) : (["udp"] as const)).map((protocol) => ({
      protocol,
      ip,
      portRange: portRange ?? range,
      ...(protocol === "udp" ? { recvBufferSize } : {}),
      ...(announced === undefined ? {} : { announcedAddress: announced })
    }))
  )

/** It closes with its worker. */
export const openWebRtcServer = (
  worker: Worker,
  { portRange, requestTimeout, webRtc }: Pick<MediaEngineOptions, "portRange" | "requestTimeout" | "webRtc">
): Effect.Effect<WebRtcServer | undefined, WorkerUnavailable> =>
  webRtc === undefined
    ? Effect.undefined
    : Effect.tryPromise({
        try: () => worker.createWebRtcServer({ listenInfos: listenInfos(webRtc, portRange) }),
        catch: (error) => {
          const { max, min } = webRtc.portRange ?? portRange
          const at = webRtc.listen.map(({ ip }) => ip).join(", ")
          const problem = error instanceof Error ? error.message : String(error)
          return new WorkerUnavailable({ reason: `no WebRTC on ${at}, ports ${min} to ${max}: ${problem}` })
        }
      }).pipe(
        Effect.timeoutOrElse({
          duration: requestTimeout,
          orElse: () => Effect.fail(new WorkerUnavailable({ reason: "it opened no WebRTC port in time" }))
        })
      )
