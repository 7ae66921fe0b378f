/**
 * One room with real media: two senders, a listener that counts what comes out, and a recording if asked for. Recorded from before the first
 * packet to after the last, so that every frame sent is a frame that must be in the result.
 */
import type { ControlClient } from "@ebb/media/protocol"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { payloadTypes, sendClip } from "./clip.ts"
import type { Sent } from "./Relay.ts"
import { openRelay, openSocket } from "./Relay.ts"

export interface MediaRoom {
  readonly roomId: string
  readonly nodeId: string
  readonly recordingId: string | undefined
  readonly video: Sent
  readonly audio: Sent
  /** Wall clock at which the room was closed by the demo, and the longest silence its listener heard until then. */
  closedAtMs: number | undefined
  longestSilenceMs: number
  /** Somebody else ended it. */
  cut: string | undefined
  /** Stops the senders, lets the last packets through, closes the room. */
  readonly close: Effect.Effect<void>
}

let nextSsrc = 1000

/** A listener that hears nothing for this long while the sender sends has lost its room, in milliseconds. */
export const silenceMs = 3000

export const openMediaRoom = Effect.fnUntraced(function* (
  control: ControlClient,
  options: { readonly roomId: string; readonly record: boolean; readonly clip: string }
) {
  const { clip, record, roomId } = options
  const scope = yield* Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer))
  const { nodeId } = yield* control.call("room.create", { roomId })
  const recordingId = record ? `rec-${roomId}` : undefined
  if (recordingId !== undefined) yield* control.call("recording.start", { recordingId, roomId })

  const video = yield* Scope.provide(openRelay("video"), scope)
  const audio = yield* Scope.provide(openRelay("audio"), scope)
  const [videoSsrc, audioSsrc] = [nextSsrc++, nextSsrc++]
  const producer = { roomId, producerId: "camera", kind: "video", codec: "vp8", ssrc: videoSsrc } as const
  const camera = yield* control.call("producer.add", { ...producer, payloadType: payloadTypes.video })
  const microphone = yield* control.call("producer.add", {
    roomId,
    producerId: "microphone",
    kind: "audio",
    codec: "opus",
    ssrc: audioSsrc,
    payloadType: payloadTypes.audio
  })
  video.passTo(camera.ip, camera.port)
  audio.passTo(microphone.ip, microphone.port)

  let heardMs = 0
  const ear = yield* Scope.provide(
    openSocket(() => {
      const now = performance.now()
      if (heardMs !== 0) room.longestSilenceMs = Math.max(room.longestSilenceMs, now - heardMs)
      heardMs = now
    }),
    scope
  )
  const { port } = ear.address()
  yield* control.call("consumer.add", {
    roomId,
    consumerId: "ear",
    producerId: "microphone",
    ip: "127.0.0.1",
    port
  })

  const sender = yield* Scope.fork(scope)
  yield* Scope.provide(
    sendClip(clip, { videoPort: video.port, audioPort: audio.port, videoSsrc, audioSsrc }),
    sender
  )

  const close = Effect.gen(function* () {
    room.longestSilenceMs = Math.max(room.longestSilenceMs, performance.now() - heardMs)
    yield* Scope.close(sender, Exit.void)
    // The last packets are on their way through three sockets and a worker; loopback takes well under a millisecond each.
    yield* Effect.sleep("300 millis")
    yield* control
      .call("room.close", { roomId })
      .pipe(Effect.catch((error) => Effect.sync(() => void (room.cut ??= error.message))))
    room.closedAtMs = yield* Clock.currentTimeMillis
    if (room.longestSilenceMs > silenceMs)
      room.cut ??= `its listener heard nothing for ${Math.round(room.longestSilenceMs)} ms`
    yield* Scope.close(scope, Exit.void)
  })
  const room: MediaRoom = {
    roomId,
    nodeId,
    recordingId,
    video: video.sent,
    audio: audio.sent,
    closedAtMs: undefined,
    longestSilenceMs: 0,
    cut: undefined,
    close
  }
  return room
})
