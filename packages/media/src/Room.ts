/**
 * A room: one name in the cluster and one router on a worker, for the life of its scope. Owns its name's directory entry and its
 * media; leaves admission to its node, and recordings to their own actors, which watch it.
 *
 * It ends when it is closed, when its worker dies, when its node evacuates, or when its name was taken by another process
 * while this one was cut off; the directory entry goes last.
 */
import type { Self } from "@ebb/actors"
import { concurrently, define } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { claimName } from "./claimName.ts"
import { MediaEngine } from "./engine/MediaEngine.ts"
import type { RoomMedia } from "./engine/RoomMedia.ts"
import { asProtocolError } from "./mediaErrors.ts"
import type { RoomOptions } from "./protocol/Room.ts"
import { TokenRefused } from "./protocol/Common.ts"
import { roomKind, RoomProtocol } from "./protocol/Room.ts"
import type { Grant } from "./protocol/WebRtc.ts"
import { TokenCheck } from "./token/TokenCheck.ts"

export interface RoomArgs {
  readonly nodeId: string
  readonly options: RoomOptions
  /** Told once, when its media is there: its node gives it to recordings. */
  readonly opened: (media: RoomMedia) => void
}

export const room = define(roomKind, RoomProtocol, (self: Self, { nodeId, opened, options }: RoomArgs) =>
  Effect.gen(function* () {
    const roomId = self.address.id
    const engine = yield* MediaEngine
    // The name first: two nodes that both think they own a room must find out before either has a port open.
    yield* claimName(self, (detail) => self.stop(detail))
    const media = yield* asProtocolError(engine.openRoom(roomId))
    opened(media)
    yield* Effect.forkScoped(Effect.flatMap(media.ended, (died) => self.stop(died.message)))
    const tokens = yield* TokenCheck
    /** For the peer that the token names; `grant` is what it has to let him do. */
    const asPeer = <A, E, R>(
      token: string,
      grant: Grant | undefined,
      act: (peerId: string) => Effect.Effect<A, E, R>
    ) =>
      Effect.flatMap(tokens.admit(token, roomId), ({ can, peerId }): Effect.Effect<A, E | TokenRefused, R> =>
        grant === undefined || can.has(grant)
          ? act(peerId)
          : Effect.fail(new TokenRefused({ reason: "grant" }))
      )
    const { webRtc } = media
    const startedAt = yield* Effect.clockWith((clock) => clock.monotonicTimeNanos)

    // The engine serialises what belongs together; a slow port must not hold up the next message.
    return {
      Get: () =>
        concurrently(
          asProtocolError(
            Effect.gen(function* () {
              const now = yield* Effect.clockWith((clock) => clock.monotonicTimeNanos)
              return {
                roomId,
                nodeId,
                options,
                ageMs: Number((now - startedAt) / 1_000_000n),
                producers: yield* media.producers,
                consumers: yield* media.consumers,
                dataProducers: yield* media.dataProducers,
                transports: yield* webRtc.transports
              }
            })
          )
        ),
      AddProducer: ({ ip, port, rtcpPort, ...producer }) =>
        concurrently(asProtocolError(media.addRtpProducer({ ...producer, ...sentFrom(ip, port, rtcpPort) }))),
      CloseProducer: ({ producerId }) => concurrently(asProtocolError(media.closeProducer(producerId))),
      AddConsumer: (consumer) => concurrently(asProtocolError(media.addRtpConsumer(consumer))),
      CloseConsumer: ({ consumerId }) => concurrently(asProtocolError(media.closeConsumer(consumerId))),
      Capabilities: () => Effect.succeed({ rtpCapabilities: media.rtpCapabilities }),
      OpenTransport: ({ token, ...o }) =>
        concurrently(asPeer(token, undefined, (peerId) => asProtocolError(webRtc.open({ ...o, peerId })))),
      ConnectTransport: ({ token, ...o }) =>
        concurrently(asPeer(token, undefined, (peerId) => asProtocolError(webRtc.connect({ ...o, peerId })))),
      RestartIce: ({ token, transportId }) =>
        concurrently(
          asPeer(token, undefined, (peerId) =>
            Effect.map(asProtocolError(webRtc.restartIce({ transportId, peerId })), (iceParameters) => ({
              iceParameters
            }))
          )
        ),
      CloseTransport: ({ token, transportId }) =>
        concurrently(
          asPeer(token, undefined, (peerId) => asProtocolError(webRtc.close({ transportId, peerId })))
        ),
      Produce: ({ token, ...o }) =>
        concurrently(asPeer(token, o.kind, (peerId) => asProtocolError(webRtc.produce({ ...o, peerId })))),
      ProduceData: ({ token, ...o }) =>
        concurrently(
          asPeer(token, "data", (peerId) => asProtocolError(webRtc.produceData({ ...o, peerId })))
        ),
      Mute: ({ token, ...o }) =>
        concurrently(asPeer(token, undefined, (peerId) => asProtocolError(webRtc.mute({ ...o, peerId })))),
      EndProducer: ({ producerId, token }) =>
        concurrently(
          asPeer(token, undefined, (peerId) => asProtocolError(webRtc.closeProducer({ producerId, peerId })))
        ),
      Close: ({ reason }) => self.stop(`closed: ${reason}`)
    }
  })
)

/** Half an address is given on, to be refused: whoever names a sender does not want to hear another. */
const sentFrom = (ip = "", port = 0, rtcpPort?: number) =>
  ip === "" && port === 0 && rtcpPort === undefined
    ? {}
    : { remote: { ip, port, ...(rtcpPort === undefined ? {} : { rtcpPort }) } }
