// Uses a worker as nodes do, before set-up accepts it: a WebRTC transport, SRTP with each suite, SCTP. Each packet goes from
// router to router by UDP on loopback, so that what is encrypted is also decrypted. Only the DTLS handshake is left out,
// which wants a browser: test/worker/dtls.test.ts.
import process from "node:process"
import { createWorker, type types } from "./mediasoup.ts"

const opus: types.RouterRtpCodecCapability = {
  kind: "audio",
  mimeType: "audio/opus",
  preferredPayloadType: 100,
  clockRate: 48_000,
  channels: 2
}
const suites = [
  "AEAD_AES_256_GCM",
  "AEAD_AES_128_GCM",
  "AES_CM_128_HMAC_SHA1_80",
  "AES_CM_128_HMAC_SHA1_32"
] as const
const loopback = { protocol: "udp", ip: "127.0.0.1" } as const
const ssrc = 0x0ebb0ebb
const patienceMillis = 5000

/** Calls `send` again and again until something has arrived, for UDP may drop and transports need a moment. */
const untilReceived = async (
  what: string,
  received: Promise<unknown>,
  send: (n: number) => void
): Promise<void> => {
  let n = 0
  const again = setInterval(() => send(n++), 10)
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: nothing arrived`)), patienceMillis)
  try {
    await Promise.race([received, late.promise])
  } finally {
    clearInterval(again)
    clearTimeout(timer)
  }
}

const rtpPacket = (n: number, payload: string): Buffer => {
  const header = Buffer.alloc(12)
  header.writeUInt8(0x80, 0)
  header.writeUInt8(100, 1)
  header.writeUInt16BE(n & 0xffff, 2)
  header.writeUInt32BE(n * 960, 4)
  header.writeUInt32BE(ssrc, 8)
  return Buffer.concat([header, Buffer.from(payload)])
}

/** One audio packet: near -> SRTP over UDP -> far. */
const verifySrtp = async (near: types.Router, far: types.Router, srtpCryptoSuite: types.SrtpCryptoSuite) => {
  const options = { listenInfo: loopback, rtcpMux: true, enableSrtp: true, srtpCryptoSuite }
  const out = await near.createPlainTransport(options)
  const into = await far.createPlainTransport(options)
  const connect = async (from: types.PlainTransport, to: types.PlainTransport) => {
    if (!to.srtpParameters) throw new Error(`${srtpCryptoSuite}: a transport without keys`)
    await from.connect({ ip: loopback.ip, port: to.tuple.localPort, srtpParameters: to.srtpParameters })
  }
  await connect(out, into)
  await connect(into, out)

  const source = await near.createDirectTransport()
  const sink = await far.createDirectTransport()
  const producer = await source.produce({
    kind: "audio",
    rtpParameters: {
      codecs: [{ mimeType: opus.mimeType, payloadType: 100, clockRate: 48_000, channels: 2 }],
      encodings: [{ ssrc }]
    }
  })
  const sent = await out.consume({ producerId: producer.id, rtpCapabilities: near.rtpCapabilities })
  const arrived = await into.produce({ kind: "audio", rtpParameters: sent.rtpParameters })
  const consumer = await sink.consume({ producerId: arrived.id, rtpCapabilities: far.rtpCapabilities })

  const received = new Promise<void>((resolve) => {
    consumer.on("rtp", (packet) => {
      if (packet.includes(srtpCryptoSuite)) resolve()
    })
  })
  await untilReceived(srtpCryptoSuite, received, (n) => producer.send(rtpPacket(n, srtpCryptoSuite)))
  for (const transport of [out, into, source, sink]) transport.close()
}

/** One message: near -> SCTP between two pipe transports -> far. */
const verifySctp = async (near: types.Router, far: types.Router) => {
  const source = await near.createDirectTransport()
  const sink = await far.createDirectTransport()
  const producer = await source.produceData()
  const { pipeDataProducer } = await near.pipeToRouter({
    dataProducerId: producer.id,
    router: far,
    listenInfo: loopback,
    enableSrtp: true,
    // Both routers are on one worker, where an id may be there once only.
    keepId: false
  })
  if (!pipeDataProducer) throw new Error("SCTP: no data producer at the far end")
  const consumer = await sink.consumeData({ dataProducerId: pipeDataProducer.id })
  const received = new Promise<void>((resolve) => {
    consumer.on("message", (message) => {
      if (message.toString() === "over SCTP") resolve()
    })
  })
  await untilReceived("SCTP", received, () => producer.send("over SCTP"))
}

/** Rejects, and says at what, if the worker does not do all that a node asks of it. Takes half a second. */
export const verifyWorker = async (workerBin: string): Promise<void> => {
  const worker = await createWorker({ workerBin, logLevel: "warn" })
  try {
    const died = new Promise<never>((_, reject) => {
      worker.on("died", (error) => reject(new Error(`the worker died: ${error.message}`)))
    })
    const verify = async () => {
      const near = await worker.createRouter({ mediaCodecs: [opus] })
      const far = await worker.createRouter({ mediaCodecs: [opus] })
      const webRtcServer = await worker.createWebRtcServer({ listenInfos: [loopback] })
      const transport = await near.createWebRtcTransport({ webRtcServer, enableSctp: true })
      if (transport.iceCandidates.length === 0 || transport.dtlsParameters.fingerprints.length === 0) {
        throw new Error("a WebRTC transport without candidates or fingerprints")
      }
      for (const suite of suites) await verifySrtp(near, far, suite)
      await verifySctp(near, far)
    }
    await Promise.race([verify(), died])
  } finally {
    worker.close()
  }
}

const [, , given] = process.argv
if (import.meta.main && given !== undefined) {
  await verifyWorker(given)
  console.log("the worker does its work")
}
