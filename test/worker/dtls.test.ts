// The one thing of the worker that nothing but a browser exercises: the DTLS handshake, in both roles. A worker built on a
// distribution's OpenSSL can pass every other check and die at exactly this (tools/worker/recipe/CMakeLists.txt says why).
import { createWorker, type types } from "mediasoup"
import type { Browser, Page } from "playwright-core"
import { afterAll, beforeAll, expect, test } from "vitest"
import { launchChromium } from "../support/browser/chromium.ts"

const loopback = { protocol: "udp", ip: "127.0.0.1" } as const

let browser: Browser
let worker: types.Worker
let webRtcServer: types.WebRtcServer
let router: types.Router

beforeAll(async () => {
  worker = await createWorker({ logLevel: "warn" })
  webRtcServer = await worker.createWebRtcServer({ listenInfos: [loopback] })
  router = await worker.createRouter({
    mediaCodecs: [{ kind: "video", mimeType: "video/VP8", clockRate: 90_000 }]
  })
  browser = await launchChromium()
})

afterAll(async () => {
  await browser?.close()
  worker?.close()
})

/** A page that may use the camera: it is served from nowhere, under a name that browsers take for secure. */
const openPage = async (): Promise<Page> => {
  const page = await browser.newPage()
  await page.route("**/*", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }))
  await page.goto("http://localhost/")
  return page
}

declare global {
  var peer: RTCPeerConnection
}

/** Makes the page offer its fake camera; answers with the offer's SDP. */
const offerCamera = (page: Page): Promise<string> =>
  page.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } })
    globalThis.peer = new RTCPeerConnection()
    for (const track of stream.getTracks()) globalThis.peer.addTransceiver(track, { direction: "sendonly" })
    const offer = await globalThis.peer.createOffer()
    await globalThis.peer.setLocalDescription(offer)
    return offer.sdp ?? ""
  })

const acceptAnswer = (page: Page, sdp: string): Promise<void> =>
  page.evaluate((sdp) => globalThis.peer.setRemoteDescription({ type: "answer", sdp }), sdp)

const connected = (page: Page): Promise<unknown> =>
  page.waitForFunction(() => globalThis.peer.connectionState === "connected")

const find = (sdp: string, pattern: RegExp): string => {
  const found = pattern.exec(sdp)?.[1]
  if (found === undefined) throw new Error(`the offer has no ${pattern}`)
  return found
}

const answerFor = (
  transport: types.WebRtcTransport,
  payloadType: string,
  setup: "active" | "passive"
): string => {
  const { iceParameters, iceCandidates, dtlsParameters } = transport
  const fingerprint = dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === "sha-256")
  return [
    "v=0",
    "o=- 1 1 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    "a=group:BUNDLE 0",
    `a=fingerprint:sha-256 ${fingerprint?.value}`,
    `m=video 9 UDP/TLS/RTP/SAVPF ${payloadType}`,
    "c=IN IP4 127.0.0.1",
    "a=mid:0",
    "a=recvonly",
    "a=rtcp-mux",
    `a=rtpmap:${payloadType} VP8/90000`,
    `a=setup:${setup}`,
    `a=ice-ufrag:${iceParameters.usernameFragment}`,
    `a=ice-pwd:${iceParameters.password}`,
    ...iceCandidates.map(
      ({ foundation, protocol, priority, address, port }) =>
        `a=candidate:${foundation} 1 ${protocol} ${priority} ${address} ${port} typ host`
    ),
    "a=end-of-candidates",
    ""
  ].join("\r\n")
}

test.for([
  { name: "as server", setup: "passive", browserRole: "client" },
  { name: "as client", setup: "active", browserRole: "server" }
] as const)(
  "the worker shakes hands with a browser $name, and gets its video",
  async ({ setup, browserRole }) => {
    const died = new Promise<never>((_, reject) => {
      worker.on("died", (error) => reject(new Error(`the worker died: ${error.message}`)))
    })
    const shakeHands = async () => {
      const page = await openPage()
      const offer = await offerCamera(page)
      const payloadType = find(offer, /^a=rtpmap:(\d+) VP8\/90000/m)
      const transport = await router.createWebRtcTransport({ webRtcServer })
      const dtls = new Promise<void>((resolve) => {
        transport.on("dtlsstatechange", (state) => {
          if (state === "connected") resolve()
        })
      })
      await transport.connect({
        dtlsParameters: {
          role: browserRole,
          fingerprints: [{ algorithm: "sha-256", value: find(offer, /^a=fingerprint:sha-256 (\S+)/m) }]
        }
      })
      const producer = await transport.produce({
        kind: "video",
        rtpParameters: {
          mid: "0",
          codecs: [{ mimeType: "video/VP8", payloadType: Number(payloadType), clockRate: 90_000 }],
          encodings: [{ ssrc: Number(find(offer, /^a=ssrc:(\d+) /m)) }]
        }
      })
      await producer.enableTraceEvent(["rtp"])
      const video = new Promise<void>((resolve) => {
        let packets = 0
        producer.on("trace", () => {
          packets += 1
          if (packets === 10) resolve()
        })
      })
      await acceptAnswer(page, answerFor(transport, payloadType, setup))
      await Promise.all([connected(page), dtls, video])

      expect(transport.dtlsState).toBe("connected")
      const [stats] = await producer.getStats()
      expect(stats?.byteCount).toBeGreaterThan(1000)
      transport.close()
      await page.close()
    }
    await Promise.race([shakeHands(), died])
  }
)
