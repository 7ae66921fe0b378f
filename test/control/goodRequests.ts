/**
 * One good request for each control command, with every field it knows. They speak of things that nobody has, so that one that is
 * executed by mistake does no harm.
 */
import type { Tag } from "@ebb/actors"
import type { ControlMessage } from "@ebb/media/protocol"

const room = { roomId: "nowhere" }
const node = { nodeId: "nobody", by: "test", reason: "to see" }
const srtp = { cryptoSuite: "AES_CM_128_HMAC_SHA1_80", keyBase64: Buffer.alloc(30, 7).toString("base64") }

const bearer = { token: "eyJhbGciOiJub25lIn0.e30." }
const transport = { transportId: "t" }

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
    ip: "127.0.0.1",
    port: 5004,
    rtcpPort: 5005,
    srtp,
    parameters: {},
    peerId: "ada",
    source: "camera"
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
  "room.capabilities": room,
  "webrtc.open": { ...room, ...bearer, ...transport, data: true },
  "webrtc.connect": {
    ...room,
    ...bearer,
    ...transport,
    dtlsParameters: { role: "client", fingerprints: [{ algorithm: "sha-256", value: "00:FF" }] }
  },
  "webrtc.restartIce": { ...room, ...bearer, ...transport },
  "webrtc.close": { ...room, ...bearer, ...transport },
  "webrtc.produce": {
    ...room,
    ...bearer,
    ...transport,
    producerId: "p",
    kind: "audio",
    rtpParameters: {
      mid: "0",
      msid: "- m",
      codecs: [
        {
          mimeType: "audio/opus",
          payloadType: 111,
          clockRate: 48_000,
          channels: 2,
          parameters: { useinbandfec: 1 },
          rtcpFeedback: [{ type: "nack", parameter: "pli" }]
        }
      ],
      headerExtensions: [
        { uri: "urn:ietf:params:rtp-hdrext:sdes:mid", id: 4, encrypt: false, parameters: { a: 1 } }
      ],
      encodings: [
        {
          ssrc: 2222,
          rid: "r0",
          codecPayloadType: 111,
          rtx: { ssrc: 2223 },
          dtx: false,
          scalabilityMode: "L1T1",
          maxBitrate: 32_000
        }
      ],
      rtcp: { cname: "c", reducedSize: true, mux: true }
    },
    source: "microphone",
    muted: false
  },
  "webrtc.produceData": {
    ...room,
    ...bearer,
    ...transport,
    producerId: "d",
    sctpStreamParameters: { streamId: 0, ordered: false, maxRetransmits: 1, maxPacketLifeTime: 1 },
    label: "chat",
    protocol: "",
    source: "chat"
  },
  "webrtc.mute": { ...room, ...bearer, producerId: "p", muted: true },
  "webrtc.closeProducer": { ...room, ...bearer, producerId: "p" },
  "recording.start": {
    ...room,
    recordingId: "r",
    options: { result: "grid", kinds: ["audio", "video"], data: true }
  },
  "recording.pause": { recordingId: "r", by: "test", reason: "off the record" },
  "recording.resume": { recordingId: "r", by: "test", reason: "on it again" },
  "recording.stop": { recordingId: "r", reason: "over" },
  "recording.delete": { recordingId: "r", by: "ada", reason: "asked to" },
  "recording.get": { recordingId: "r" },
  "recording.list": { after: "a", limit: 10, deleted: false },
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
