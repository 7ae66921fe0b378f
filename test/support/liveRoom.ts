/** A room with real media in it, made by control commands alone: two producers, somebody who sends, somebody who counts. */
import * as Effect from "effect/Effect"
import { opus, sendMedia, vp8 } from "./mediaSender.ts"
import type { TestCluster } from "./testCluster.ts"
import { type UdpCounter, udpCounter } from "./udpCounter.ts"

/** Recording, when asked for, begins before the first packet is sent. */
export const liveRoom = Effect.fnUntraced(function* (
  { call }: Pick<TestCluster, "call">,
  roomId: string,
  options: { readonly recordingId?: string } = {}
) {
  const { nodeId } = yield* call("room.create", { roomId })
  const video = yield* call("producer.add", { roomId, producerId: "video", ...vp8 })
  const audio = yield* call("producer.add", { roomId, producerId: "audio", ...opus })
  if (options.recordingId !== undefined) {
    yield* call("recording.start", { roomId, recordingId: options.recordingId })
  }
  const receiver = yield* consume({ call }, { roomId, producerId: "video", consumerId: "counter" })
  const sender = yield* sendMedia({ videoPort: video.port, audioPort: audio.port })
  return { roomId, nodeId, sender, receiver }
})

/** A new receiver of a producer's packets. */
export const consume = Effect.fnUntraced(function* (
  { call }: Pick<TestCluster, "call">,
  ids: { readonly roomId: string; readonly producerId: string; readonly consumerId: string }
) {
  const receiver: UdpCounter = yield* udpCounter
  yield* call("consumer.add", { ...ids, ip: "127.0.0.1", port: receiver.port })
  return receiver
})
