/**
 * A sample of every message: what is asked, what is answered, and every error, in the plain form that MessagePack has of it. Where a later
 * version says more, its sample is another, `after` the release that did not.
 */
import { after, isLater, type Later, type Plain, type Sample } from "./Golden.ts"

export interface MessageSamples {
  /** Absent for a message without a payload. */
  readonly request?: ReadonlyArray<Sample>
  /** Absent for a message that answers nothing. */
  readonly success?: ReadonlyArray<Sample>
}
export type ProtocolSamples = Readonly<Record<string, MessageSamples>>

const epoch = { registry: "reg", revision: 7 }
const target = { kind: "node", id: "n1" }
const cause = { by: "ada", reason: "new version" }
const deadlines = { drainMs: 3_600_000, evacuationMs: 30_000, sealingMs: 600_000.5 }
const blocker = { kind: "room", id: "r1", ageMs: 1234.5 }
const at = 1_795_000_000_000

export const system: ProtocolSamples = {
  Drain: {
    request: [
      { ...target, ...cause, reversible: true, evacuate: false, deadlines },
      { ...target, ...cause, reversible: false, evacuate: true, deadlines: {} }
    ]
  },
  Undrain: { request: [{ ...target, ...cause }] },
  Admit: { request: [{ ...target, ...cause, admission: "cordoned" }], success: [{ changed: true }] },
  Progress: {
    request: [after("0.1.0", target)],
    success: [
      after("0.1.0", {
        state: { life: "Draining", admission: "closed", control: "connected" },
        serving: 2,
        sealing: 1,
        blockers: [{ kind: "room", id: "r1", holds: "serving", ageMs: 1234.5 }],
        deadlines,
        phaseMs: 17,
        leftMs: 3_599_983
      }),
      after("0.1.0", {
        state: { life: "Serving", admission: "open", control: "isolated" },
        serving: 0,
        sealing: 0,
        blockers: [],
        deadlines: {}
      })
    ]
  },
  Stop: { request: [{ ...target, detail: "over", kill: false }] },
  Watch: {
    request: [{ ...target, holdMs: 15_000 }, after("0.1.0", { ...target, holdMs: 0, life: 3, epoch })],
    success: [
      { terminated: { by: "itself", detail: "drained" } },
      {},
      after("0.1.0", { terminated: { by: "crash", detail: "of it" }, life: 3 }),
      after("0.1.0", { life: 3 })
    ]
  }
}

const recordingInfo = {
  recordingId: "rec",
  roomId: "r1",
  nodeId: "n1",
  state: "Capturing",
  startedAt: at,
  packets: 70_000,
  lostPackets: 0,
  tracks: 2
}
const computedRecording = {
  ...recordingInfo,
  state: "Computed",
  folder: "/data/incarnations/inc/rec",
  file: "/data/results/rec/recording.webm",
  bytes: 4_294_967_296,
  sha256: "00ff",
  durationMs: 61_000.25,
  computedAt: at + 61_000
}
const givenUpRecording = {
  ...recordingInfo,
  state: "Failed",
  problem: "given up by ada: the camera was broken",
  givenUp: { by: "ada", at, reason: "the camera was broken" }
}
const pausedRecording = {
  ...recordingInfo,
  options: { result: "tracks", kinds: ["audio"], data: true },
  paused: { at, by: "ada", reason: "off the record" }
}
const queuedRecording = {
  ...recordingInfo,
  state: "Sealing",
  progress: { step: "queued", fraction: 0, position: 2 }
}
const severalFiles = {
  ...computedRecording,
  files: ["/data/results/rec/camera.webm", "/data/results/rec/microphone.webm"]
}
const recordingOptions = { result: "grid", kinds: ["audio", "video"], data: true }
const pauseCause = { by: "ada", reason: "off the record" }
const openedRoom = { roomId: "r1", nodeId: "n1", created: true }
const deletedRecording = {
  ...recordingInfo,
  state: "Deleted",
  deleted: { by: "ada", at: 1_795_000_009_000, reason: "asked to" }
}
const startedRecording = { created: true, recording: recordingInfo }
const report = {
  nodeId: "n1",
  incarnation: "inc",
  version: "v2",
  pid: 4711,
  startedAt: at,
  life: "Draining",
  admission: "closed",
  control: "connected",
  rooms: [blocker],
  recordings: [],
  unfinished: [{ recordingId: "rec", problem: "no such file" }],
  since: { axis: "life", from: "Serving", to: "Draining", ...cause, at },
  blockers: [blocker],
  deadlines
}
const idleReport = {
  nodeId: "n1",
  incarnation: "inc",
  version: "",
  pid: 1,
  startedAt: at,
  life: "Serving",
  admission: "open",
  control: "isolated",
  rooms: [],
  recordings: [],
  unfinished: [],
  blockers: []
}

const busyReport = {
  ...idleReport,
  computing: [
    { recordingId: "rec", startedAt: at, step: "mux", fraction: 0.35 },
    { recordingId: "rec-2", startedAt: at, step: "queued", fraction: 0, position: 1 }
  ]
}

const reportOfDisk = {
  ...idleReport,
  disk: { freeBytes: 79_000_000_000, wantedBytes: 1_500_000_000, stalledMs: 0, queuedBytes: 4096 }
}

export const node: ProtocolSamples = {
  OpenRoom: {
    request: [
      { roomId: "r1", options: {} },
      { roomId: "r1", options: { metadata: "Ada's" }, admission: "prefer" }
    ],
    success: [openedRoom]
  },
  StartRecording: {
    request: [
      { recordingId: "rec", roomId: "r1" },
      after("0.1.0", { recordingId: "rec", roomId: "r1", options: recordingOptions })
    ],
    success: [startedRecording]
  },
  DeleteRecording: {
    request: [
      after("0.1.0", {
        recordingId: "rec",
        roomId: "r1",
        nodeId: "n1",
        startedAt: 1_795_000_000_000,
        by: "ada",
        at: 1_795_000_009_000,
        reason: "asked to"
      })
    ],
    success: [
      after("0.1.0", { journals: 1, held: [] }),
      after("0.1.0", { journals: 0, held: ["/data/incarnations/inc/rec"] })
    ]
  },
  Report: { success: [report, idleReport, after("0.1.0", busyReport), after("0.1.0", reportOfDisk)] }
}

const srtp = { cryptoSuite: "AEAD_AES_256_GCM", keyBase64: "a2V5" }
const addProducer = { producerId: "p1", kind: "video", codec: "vp8", payloadType: 101, ssrc: 4_294_967_295 }
const addProducerFully = { ...addProducer, rtcpMux: false, srtp }
const h264 = { "packetization-mode": 1, "profile-level-id": "42e01f" }
const addLabelledProducer = {
  ...addProducer,
  parameters: h264,
  peerId: "ada",
  source: "screen"
}
const addNamedProducer = { ...addProducer, ip: "127.0.0.1", port: 5004, rtcpPort: 5005, rtcpMux: false }
const addConsumer = { consumerId: "c1", producerId: "p1", ip: "127.0.0.1", port: 5004 }
const addConsumerFully = { ...addConsumer, rtcpPort: 5005, rtcpMux: false, srtp }
const producer = { producerId: "p1", ip: "127.0.0.1", port: 40_000 }
const consumer = {
  consumerId: "c1",
  producerId: "p1",
  kind: "audio",
  codec: "opus",
  payloadType: 100,
  clockRate: 48_000,
  ssrc: 2222,
  sourceIp: "127.0.0.1",
  sourcePort: 40_001
}
const consumerOfVideo = { ...consumer, mimeType: "video/VP9", parameters: { "profile-id": 0 } }
const roomInfo = {
  roomId: "r1",
  nodeId: "n1",
  options: { metadata: "Ada's" },
  ageMs: 1234.5,
  producers: [
    { producerId: "p1", kind: "video", codec: "vp8", ssrc: 1111, packetsReceived: 70_000, silentMs: 20 }
  ],
  consumers: [{ consumerId: "c1", producerId: "p1" }]
}
const labelledProducer = {
  producerId: "p2",
  kind: "video",
  codec: "h264",
  ssrc: 0,
  packetsReceived: 70_000,
  silentMs: 20,
  mimeType: "video/H264",
  parameters: h264,
  layers: [{ rid: "r0", scalabilityMode: "L1T3" }, { rid: "r1" }, { ssrc: 2222 }],
  peerId: "ada",
  source: "screen"
}
const roomOfPeers = { ...roomInfo, producers: [labelledProducer] }
const reason = { reason: "over" }

const token = { token: "eyJhbGciOiJIUzI1NiJ9.eyJyb29tIjoicjEifQ.c2ln" }
const bearing = (...requests: ReadonlyArray<{ readonly [key: string]: Plain }>) =>
  requests.map((request) => after("0.1.0", { ...token, ...request }))
const transportId = { transportId: "t1" }
const dtlsParameters = { fingerprints: [{ algorithm: "sha-256", value: "00:FF" }] }
const feedback = [{ type: "nack" }, { type: "nack", parameter: "pli" }]
const simulcast = {
  mid: "0",
  msid: "s t",
  codecs: [
    { mimeType: "video/VP8", payloadType: 96, clockRate: 90_000, rtcpFeedback: feedback },
    { mimeType: "video/rtx", payloadType: 97, clockRate: 90_000, parameters: { apt: 96 } }
  ],
  headerExtensions: [{ uri: "urn:ietf:params:rtp-hdrext:sdes:mid", id: 4, encrypt: false, parameters: {} }],
  encodings: [
    { rid: "r0", scalabilityMode: "L1T3", dtx: false, maxBitrate: 100_000 },
    { ssrc: 4_294_967_295, rtx: { ssrc: 1112 }, codecPayloadType: 96 }
  ],
  rtcp: { cname: "c", reducedSize: true, mux: true }
}
const microphone = {
  codecs: [{ mimeType: "audio/opus", payloadType: 111, clockRate: 48_000, channels: 2 }]
}
const stream = { streamId: 0, ordered: false, maxPacketLifeTime: 100 }
const iceParameters = { usernameFragment: "u", password: "p", iceLite: true }
const candidate = {
  foundation: "udpcandidate",
  priority: 1_076_302_079,
  ip: "127.0.0.1",
  address: "127.0.0.1",
  protocol: "udp",
  port: 40_000,
  type: "host"
}
const openedTransport = {
  ...transportId,
  iceParameters,
  iceCandidates: [candidate, { ...candidate, protocol: "tcp", tcpType: "passive" }],
  dtlsParameters: { role: "auto", ...dtlsParameters }
}
const sctpParameters = {
  port: 5000,
  OS: 65_535,
  MIS: 65_535,
  maxMessageSize: 262_144,
  maxSendMessageSize: 262_144,
  maxReceiveMessageSize: 262_144,
  sendBufferSize: 2_000_000,
  perStreamSendQueueLimit: 2_000_000,
  maxReceiverWindowBufferSize: 5_242_880,
  isDataChannel: true
}
const rtpCapabilities = {
  codecs: [
    {
      kind: "video",
      mimeType: "video/H264",
      clockRate: 90_000,
      preferredPayloadType: 107,
      parameters: h264,
      rtcpFeedback: feedback
    },
    { kind: "audio", mimeType: "audio/opus", clockRate: 48_000, channels: 2 }
  ],
  headerExtensions: [
    {
      kind: "video",
      uri: "urn:ietf:params:rtp-hdrext:sdes:mid",
      preferredId: 1,
      preferredEncrypt: false,
      direction: "recvonly"
    }
  ]
}
const roomOfBrowsers = {
  ...roomInfo,
  producers: [{ ...labelledProducer, muted: true }],
  dataProducers: [
    { producerId: "d1", label: "chat", protocol: "", peerId: "ada", messagesReceived: 2, bytesReceived: 10 }
  ],
  transports: [{ ...transportId, peerId: "ada", ice: "completed", dtls: "connected" }]
}

/** Of browsers, as a room is asked; a control command has the room's id too. */
const webRtc = {
  open: {
    request: bearing(transportId, { ...transportId, data: false }),
    success: [after("0.1.0", openedTransport), after("0.1.0", { ...openedTransport, sctpParameters })]
  },
  connect: {
    request: bearing(
      { ...transportId, dtlsParameters },
      { ...transportId, dtlsParameters: { role: "client", ...dtlsParameters } }
    )
  },
  restartIce: { request: bearing(transportId), success: [after("0.1.0", { iceParameters })] },
  close: { request: bearing(transportId) },
  produce: {
    request: bearing(
      { ...transportId, producerId: "p1", kind: "audio", rtpParameters: microphone },
      {
        ...transportId,
        producerId: "p1",
        kind: "video",
        rtpParameters: simulcast,
        source: "camera",
        muted: true
      }
    ),
    success: [after("0.1.0", { producerId: "p1" })]
  },
  produceData: {
    request: bearing(
      { ...transportId, producerId: "d1", sctpStreamParameters: { streamId: 0 } },
      {
        ...transportId,
        producerId: "d1",
        sctpStreamParameters: stream,
        label: "chat",
        protocol: "p",
        source: "chat"
      },
      {
        ...transportId,
        producerId: "d1",
        sctpStreamParameters: { streamId: 65_535, ordered: false, maxRetransmits: 3 }
      }
    ),
    success: [after("0.1.0", { producerId: "d1" })]
  },
  mute: { request: bearing({ producerId: "p1", muted: true }) },
  closeProducer: { request: bearing({ producerId: "p1" }) }
} satisfies ProtocolSamples
const capabilities = [after("0.1.0", { rtpCapabilities })]
const withRoom = ({ request, ...samples }: MessageSamples): MessageSamples => ({
  ...samples,
  request: (request ?? []).map((sample) =>
    isLater(sample) ? after(sample.after, { roomId: "r1", ...(sample.value as object) }) : sample
  )
})

export const room: ProtocolSamples = {
  Get: { success: [roomInfo, after("0.1.0", roomOfPeers), after("0.1.0", roomOfBrowsers)] },
  Capabilities: { success: capabilities },
  OpenTransport: webRtc.open,
  ConnectTransport: webRtc.connect,
  RestartIce: webRtc.restartIce,
  CloseTransport: webRtc.close,
  Produce: webRtc.produce,
  ProduceData: webRtc.produceData,
  Mute: webRtc.mute,
  EndProducer: webRtc.closeProducer,
  AddProducer: {
    request: [
      addProducer,
      addProducerFully,
      after("0.1.0", addLabelledProducer),
      after("0.1.0", addNamedProducer)
    ],
    success: [producer, { ...producer, rtcpPort: 40_001, srtp }]
  },
  CloseProducer: { request: [{ producerId: "p1" }] },
  AddConsumer: {
    request: [addConsumer, addConsumerFully],
    success: [consumer, { ...consumer, sourceRtcpPort: 40_002, srtp }, after("0.1.0", consumerOfVideo)]
  },
  CloseConsumer: { request: [{ consumerId: "c1" }] },
  Close: { request: [reason] }
}

const anyRecording = [
  recordingInfo,
  computedRecording,
  after("0.1.0", givenUpRecording),
  after("0.1.0", pausedRecording),
  after("0.1.0", queuedRecording),
  after("0.1.0", severalFiles)
]
const pausing: MessageSamples = {
  request: [after("0.1.0", {}), after("0.1.0", pauseCause)],
  success: [after("0.1.0", pausedRecording)]
}

export const recording: ProtocolSamples = {
  Get: { success: anyRecording },
  Stop: { request: [reason], success: anyRecording },
  Pause: pausing,
  Resume: pausing
}

const inRoom = { roomId: "r1" }
const nodeId = { nodeId: "n1" }
const pages = [{}, { after: "r0", limit: 2 }]
const summary = {
  nodeId: "n1",
  incarnation: "inc",
  version: "v2",
  life: "Serving",
  admission: "cordoned",
  control: "connected",
  host: "host",
  pid: 4711,
  startedAt: at,
  rooms: 3,
  recordings: 1
}
const cordon: MessageSamples = { request: [nodeId, { ...nodeId, ...cause }], success: [{ changed: true }] }

const pausingRecording: MessageSamples = {
  request: [
    after("0.1.0", { recordingId: "rec" }),
    after("0.1.0", { recordingId: "rec", by: "ada", reason: "off the record" })
  ],
  success: [after("0.1.0", pausedRecording)]
}

export const control: ProtocolSamples = {
  "room.create": {
    request: [inRoom, { ...inRoom, options: { metadata: "Ada's" }, admission: "prefer" }],
    success: [openedRoom]
  },
  "room.capabilities": { request: [after("0.1.0", inRoom)], success: capabilities },
  "webrtc.open": withRoom(webRtc.open),
  "webrtc.connect": withRoom(webRtc.connect),
  "webrtc.restartIce": withRoom(webRtc.restartIce),
  "webrtc.close": withRoom(webRtc.close),
  "webrtc.produce": withRoom(webRtc.produce),
  "webrtc.produceData": withRoom(webRtc.produceData),
  "webrtc.mute": withRoom(webRtc.mute),
  "webrtc.closeProducer": withRoom(webRtc.closeProducer),
  "room.get": { request: [inRoom], success: [roomInfo] },
  "room.list": {
    request: pages,
    success: [{ rooms: [{ ...inRoom, ...nodeId, lost: false }] }, { rooms: [], next: "r1" }]
  },
  "room.close": { request: [inRoom, { ...inRoom, ...reason }] },
  "producer.add": {
    request: [
      { ...inRoom, ...addProducer },
      { ...inRoom, ...addProducerFully },
      after("0.1.0", { ...inRoom, ...addNamedProducer })
    ],
    success: [producer]
  },
  "producer.close": { request: [{ ...inRoom, producerId: "p1" }] },
  "consumer.add": {
    request: [
      { ...inRoom, ...addConsumer },
      { ...inRoom, ...addConsumerFully }
    ],
    success: [consumer]
  },
  "consumer.close": { request: [{ ...inRoom, consumerId: "c1" }] },
  "recording.start": {
    request: [
      { recordingId: "rec", ...inRoom },
      after("0.1.0", { recordingId: "rec", ...inRoom, options: recordingOptions })
    ],
    success: [startedRecording]
  },
  "recording.pause": pausingRecording,
  "recording.resume": pausingRecording,
  "recording.stop": {
    request: [{ recordingId: "rec" }, { recordingId: "rec", ...reason }],
    success: [recordingInfo]
  },
  "recording.delete": {
    request: [
      after("0.1.0", { recordingId: "rec", reason: "asked to" }),
      after("0.1.0", { recordingId: "rec", by: "ada", reason: "asked to" })
    ],
    success: [
      after("0.1.0", { recording: deletedRecording, journals: 1, left: [] }),
      after("0.1.0", {
        recording: deletedRecording,
        journals: 0,
        left: [{ nodeId: "n2", problem: "no answer" }]
      }),
      after("0.1.0", {
        recording: { ...deletedRecording, deleted: { ...deletedRecording.deleted, policy: true } },
        journals: 0,
        left: []
      })
    ]
  },
  "recording.get": { request: [{ recordingId: "rec" }], success: anyRecording },
  "recording.list": {
    request: [...pages, after("0.1.0", { deleted: true })],
    success: [{ recordings: [recordingInfo, computedRecording] }, { recordings: [], next: "rec" }]
  },
  "node.list": {
    success: [{ nodes: [summary] }, after("0.1.0", { nodes: [{ ...summary, lastHeardMs: 1234.5 }] })]
  },
  "node.status": {
    request: [nodeId],
    success: [report, idleReport, after("0.1.0", busyReport), after("0.1.0", reportOfDisk)]
  },
  "node.cordon": cordon,
  "node.uncordon": cordon,
  "node.drain": { request: [nodeId, { ...nodeId, ...cause, evacuate: true, deadlines }] },
  "node.undrain": { request: [nodeId, { ...nodeId, ...cause }] }
}

export const deployer: ProtocolSamples = {
  Status: { success: [{ state: "Draining", rollout: "r", to: "v2", replaced: 1, of: 3 }, { state: "Idle" }] }
}

/** By tag: an error is the same whichever message it answers. */
export const errors: Readonly<Record<string, ReadonlyArray<{ readonly [field: string]: Plain } | Later>>> = {
  NoSuchActor: [{ kind: "room", id: "r1" }],
  MailboxFull: [{ kind: "room", id: "r1", capacity: 1024 }],
  NodeDraining: [nodeId],
  NodeUnreachable: [{ target: "room/r1@inc", reason: "nobody listens there now" }],
  StaleEpoch: [
    { kind: "room", id: "r1", current: epoch },
    { kind: "room", id: "r1" }
  ],
  MalformedMessage: [{ problem: "a request is a map" }],
  UnsupportedMessage: [{ tag: "Explode" }],
  AskTimeout: [{ tag: "Get", timeoutMs: 5000 }],
  ActorCrashed: [{ kind: "room", id: "r1", reason: "boom" }],
  UndrainRefused: [{ nodeId: "n1", reason: "it is Sealing" }],
  NodeIsolated: [nodeId],
  RegistryUnavailable: [{ reason: "not connected" }],
  Conflict: [{ entity: "room", id: "r1", problem: "it has other options" }],
  NotFound: [
    { entity: "room", id: "r1" },
    { entity: "room", id: "r1", problem: "its node 'n1' is dead" }
  ],
  Elsewhere: [{ nodeId: "n1", incarnation: "inc" }],
  MediaRefused: [{ code: "MediaRejected", reason: "rtcpPort is missing" }],
  MediaUnavailable: [{ code: "WorkerDied", reason: "the worker has died" }],
  StorageUnavailable: [
    { reason: "ENOSPC" },
    after("0.1.0", { reason: "nearly full", freeBytes: 1_000_000, wantedBytes: 2_000_000 })
  ],
  NoNodeAdmits: [{ nodes: [{ nodeId: "n1", life: "Draining", admission: "closed" }] }],
  AnswerTooLarge: [{ bytes: 1_100_000, maxBytes: 1_048_576 }],
  TokenRefused: [{ reason: "expired" }],
  NoTokenKey: [{}]
}

/** Errors that older messages have learned. */
export const newErrors: ReadonlySet<string> = new Set(["TokenRefused", "NoTokenKey"])
