/**
 * One good request for each control command, with every field it knows. They speak of things that nobody has, so that one that is
 * executed by mistake does no harm.
 */
import type { Tag } from "@ebb/actors"
import type { ControlMessage } from "@ebb/media/protocol"

const room = { roomId: "nowhere" }
const node = { nodeId: "nobody", by: "test", reason: "to see" }
const srtp = { cryptoSuite: "AES_CM_128_HMAC_SHA1_80", keyBase64: Buffer.alloc(30, 7).toString("base64") }

export const goodRequests: Readonly<Record<Tag<ControlMessage>, Readonly<Record<string, unknown>>>> = {
  "room.create": { ...room, options: { metadata: "m" }, admission: "strict" },
  "room.get": room,
  "room.list": { after: "a", limit: 10 },
  "room.close": { ...room, reason: "over" },
  "producer.add": {
    ...room,
    producerId: "p",
    kind: "video",
    codec: "vp8",
    payloadType: 96,
    ssrc: 1111,
    rtcpMux: true,
    srtp
  },
  "producer.close": { ...room, producerId: "p" },
  "consumer.add": {
    ...room,
    consumerId: "c",
    producerId: "p",
    ip: "127.0.0.1",
    port: 5004,
    rtcpPort: 5005,
    rtcpMux: false,
    srtp
  },
  "consumer.close": { ...room, consumerId: "c" },
  "recording.start": {
    ...room,
    recordingId: "r",
    options: { result: "grid", kinds: ["audio", "video"], data: true }
  },
  "recording.pause": { recordingId: "r", by: "test", reason: "off the record" },
  "recording.resume": { recordingId: "r", by: "test", reason: "on it again" },
  "recording.stop": { recordingId: "r", reason: "over" },
  "recording.get": { recordingId: "r" },
  "recording.list": { after: "a", limit: 10 },
  "node.list": {},
  "node.status": { nodeId: "nobody" },
  "node.cordon": node,
  "node.uncordon": node,
  "node.drain": {
    ...node,
    evacuate: false,
    deadlines: { drainMs: 1000, evacuationMs: 1000, sealingMs: 1000 }
  },
  "node.undrain": node
}
