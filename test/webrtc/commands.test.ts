/** The way in for browsers by NATS commands, and whom a token lets in. */
import { createHmac, generateKeyPairSync } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { signToken } from "@ebb/media/token"
import * as Effect from "effect/Effect"
import {
  browserPeer,
  openBrowser,
  tokenFor,
  tokenSecret,
  webRtcEnvironment
} from "../support/browser/browserPeer.ts"
import { ebbProgram } from "../deployer/ebbCluster.ts"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const roomId = "talk"
const inRoom = { roomId, transportId: "t" }
const dtlsParameters = {
  role: "client",
  fingerprints: [{ algorithm: "sha-256", value: Array.from({ length: 32 }, () => "AB").join(":") }]
} as const
const codec = { mimeType: "audio/opus", payloadType: 111, clockRate: 48_000, channels: 2 }
const opus = {
  mid: "0",
  codecs: [codec],
  encodings: [{ ssrc: 2222 }]
}
const microphone = { ...inRoom, producerId: "mic", kind: "audio", rtpParameters: opus } as const

const roomWith = Effect.fnUntraced(function* (cluster: TestCluster, env: Readonly<Record<string, string>>) {
  const node = yield* cluster.node("a", { env })
  yield* cluster.call("room.create", { roomId })
  return node
})

const refusal = (of: Effect.Effect<unknown, { readonly _tag: string; readonly reason?: string }>) =>
  Effect.map(Effect.flip(of), ({ _tag, reason }) => [_tag, reason])

it.live(
  "a browser sends camera, screen, microphone and messages into a node, restarts ICE, and hangs up",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* roomWith(cluster, webRtcEnvironment)
      const recording = { recordingId: "talk-1" }
      yield* call("recording.start", { roomId, ...recording })
      const browser = yield* openBrowser
      const ada = yield* browserPeer(browser, { call, roomId, token: yield* tokenFor(roomId, "ada") })
      yield* ada.open
      yield* ada.camera({ producerId: "camera" })
      yield* ada.screen({ producerId: "screen" })
      yield* ada.microphone({ producerId: "microphone" })
      yield* ada.page((peer) => peer.openData({ producerId: "chat", label: "chat", ordered: true }))
      yield* ada.page((peer) => peer.sendText("chat", "hello"))

      const look = call("room.get", { roomId })
      const packetsIn = (room: Effect.Success<typeof look>) =>
        new Map(room.producers.map(({ packetsReceived, producerId }) => [producerId, packetsReceived]))
      const room = yield* until(
        look,
        ({ dataProducers, producers }) =>
          producers.length === 3 &&
          producers.every(({ packetsReceived }) => packetsReceived > 50) &&
          dataProducers?.[0]?.messagesReceived === 1
      )
      expect(room.producers.map(({ mimeType, peerId, source }) => [mimeType, peerId, source])).toEqual([
        ["video/VP8", "ada", "camera"],
        ["video/VP8", "ada", "screen"],
        ["audio/opus", "ada", "microphone"]
      ])
      expect(room.producers[0]?.layers?.map(({ rid }) => rid)).toEqual(["r0", "r1", "r2"])
      expect(room.transports).toEqual([
        { transportId: "t", peerId: "ada", ice: "completed", dtls: "connected" }
      ])
      const received = (of: Effect.Success<typeof look>) =>
        [...packetsIn(of).values()].reduce((sum, packets) => sum + packets, 0)
      const recorded = yield* call("recording.get", recording)
      expect(recorded.packets).toBeGreaterThan(received(room) / 2)

      yield* ada.page((peer) => peer.restartIce())
      yield* until(
        look,
        (later) =>
          later.producers.length === 3 &&
          later.producers.every(
            ({ packetsReceived, producerId }) => packetsReceived > (packetsIn(room).get(producerId) ?? 0) + 50
          )
      )
      expect(yield* ada.page((peer) => peer.connectionState())).toBe("connected")

      yield* ada.page((peer) => peer.hangUp())
      const empty = yield* until(look, ({ transports }) => transports?.length === 0)
      expect(empty.producers).toEqual([])
      expect(empty.dataProducers).toEqual([])
    })
)

it.live("what is sent twice is done once, and other options are a Conflict", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    yield* roomWith(cluster, webRtcEnvironment)
    const token = yield* tokenFor(roomId, "ada")
    const ada = { ...inRoom, token }
    const opened = yield* call("webrtc.open", ada)
    expect(yield* call("webrtc.open", ada)).toEqual(opened)
    expect((yield* refusal(call("webrtc.open", { ...ada, data: false })))[0]).toBe("Conflict")
    expect(opened.sctpParameters).toMatchObject({ isDataChannel: true })

    yield* call("webrtc.connect", { ...ada, dtlsParameters })
    yield* call("webrtc.connect", { ...ada, dtlsParameters })
    const other = { ...dtlsParameters, role: "server" } as const
    expect((yield* refusal(call("webrtc.connect", { ...ada, dtlsParameters: other })))[0]).toBe("Conflict")

    const produced = yield* call("webrtc.produce", { ...microphone, token })
    expect(yield* call("webrtc.produce", { ...microphone, token })).toEqual(produced)
    expect((yield* refusal(call("webrtc.produce", { ...microphone, token, source: "x" })))[0]).toBe(
      "Conflict"
    )
    const plain = {
      roomId,
      producerId: "mic",
      kind: "audio",
      codec: "opus",
      payloadType: 111,
      ssrc: 1
    } as const
    expect((yield* refusal(call("producer.add", plain)))[0]).toBe("Conflict")

    const chat = { ...ada, producerId: "chat", sctpStreamParameters: { streamId: 1 }, label: "chat" }
    yield* call("webrtc.produceData", chat)
    yield* call("webrtc.produceData", chat)
    expect((yield* refusal(call("webrtc.produceData", { ...chat, label: "other" })))[0]).toBe("Conflict")

    const restarted = yield* call("webrtc.restartIce", ada)
    expect(restarted.iceParameters.usernameFragment).not.toBe(opened.iceParameters.usernameFragment)

    yield* call("webrtc.closeProducer", { roomId, token, producerId: "mic" })
    yield* call("webrtc.close", ada)
    expect(yield* call("room.get", { roomId })).toMatchObject({
      producers: [],
      dataProducers: [],
      transports: []
    })
    expect((yield* refusal(call("webrtc.close", ada)))[0]).toBe("NotFound")
    // The id is free again, for whoever comes.
    yield* call("webrtc.open", { ...inRoom, token: yield* tokenFor(roomId, "bob") })
    const odd = { ...microphone, token: yield* tokenFor(roomId, "bob") }
    const unheard = { ...opus, codecs: [{ ...codec, mimeType: "audio/ILBC" }] }
    expect((yield* refusal(call("webrtc.produce", { ...odd, rtpParameters: unheard })))[0]).toBe(
      "MediaRefused"
    )
  })
)

it.live(
  "a token is refused that is no token, of another key, too old, of another room or peer, or lets nobody do that",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const node = yield* roomWith(cluster, webRtcEnvironment)
      const sign = (claims: Partial<Parameters<typeof signToken>[0]>, secret = tokenSecret) =>
        Effect.promise(() => signToken({ roomId, peerId: "ada", can: ["audio"], ...claims }, secret))
      const ada = yield* sign({})
      yield* call("webrtc.open", { ...inRoom, token: ada })
      yield* call("webrtc.produce", { ...microphone, token: ada })

      const [header = "", claims = "", signature = ""] = ada.split(".")
      const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${claims}.`
      const refused = {
        "not a token": "malformed",
        "": "malformed",
        [`${header}.${claims}`]: "malformed",
        [unsigned]: "signature",
        [`${header}.${claims}.${signature.slice(1)}A`]: "signature",
        [yield* sign({}, "another-secret-of-thirty-two-bytes-and-more")]: "signature",
        [yield* sign({ expiresInSeconds: -60 })]: "expired",
        [yield* sign({ roomId: "other" })]: "room",
        [yield* sign({ peerId: "no id" })]: "malformed",
        [yield* sign({ peerId: "bob" })]: "peer"
      }
      for (const [token, reason] of Object.entries(refused)) {
        const open = call("webrtc.open", { ...inRoom, token })
        expect([token, ...(yield* refusal(open))]).toEqual([token, "TokenRefused", reason])
      }

      const bob = yield* sign({ peerId: "bob", can: ["audio", "video", "data"] })
      const notBobs = [
        call("webrtc.connect", { ...inRoom, token: bob, dtlsParameters }),
        call("webrtc.restartIce", { ...inRoom, token: bob }),
        call("webrtc.produce", { ...microphone, producerId: "bobs", token: bob }),
        call("webrtc.mute", { roomId, token: bob, producerId: "mic", muted: true }),
        call("webrtc.closeProducer", { roomId, token: bob, producerId: "mic" }),
        call("webrtc.close", { ...inRoom, token: bob })
      ]
      for (const command of notBobs) expect(yield* refusal(command)).toEqual(["TokenRefused", "peer"])
      const sctpStreamParameters = { streamId: 1 }
      const chat = { ...inRoom, token: ada, producerId: "chat", sctpStreamParameters }
      expect(yield* refusal(call("webrtc.produceData", chat))).toEqual(["TokenRefused", "grant"])

      const told = [...node.lines, JSON.stringify(yield* Effect.flip(call("webrtc.produceData", chat)))].join(
        "\n"
      )
      for (const secret of [tokenSecret, signature, ada, bob]) expect(told).not.toContain(secret)
    })
)

it.live(
  "a token for one kind lets in no codec of the other, whichever kind is named, and wherever it stands",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* roomWith(cluster, webRtcEnvironment)
      const tokenOf = (kind: "audio" | "video") =>
        Effect.promise(() => signToken({ roomId, peerId: "ada", can: [kind] }, tokenSecret))
      const token = yield* tokenOf("audio")
      yield* call("webrtc.open", { ...inRoom, token })
      const vp8 = { mimeType: "video/VP8", payloadType: 96, clockRate: 90_000 }
      const rtx = { mimeType: "video/rtx", payloadType: 97, clockRate: 90_000, parameters: { apt: 96 } }
      const produce = (kind: "audio" | "video", token: string, codecs: ReadonlyArray<typeof vp8>) =>
        call("webrtc.produce", { ...microphone, token, kind, rtpParameters: { ...opus, codecs } })
      for (const codecs of [
        [vp8],
        [codec, vp8],
        [vp8, codec],
        [codec, rtx],
        [{ ...vp8, mimeType: "VIDEO/vp8" }]
      ]) {
        expect((yield* refusal(produce("audio", token, codecs)))[0]).toBe("MediaRefused")
      }
      const forVideo = yield* tokenOf("video")
      for (const codecs of [[codec], [vp8, codec], [codec, vp8]]) {
        expect((yield* refusal(produce("video", forVideo, codecs)))[0]).toBe("MediaRefused")
      }
      expect(yield* call("room.get", { roomId })).toMatchObject({ producers: [] })
      yield* produce("video", forVideo, [vp8, rtx])
    })
)

it.live("a fingerprint that no certificate can have counts for nothing, nor do two streams of one name", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    yield* roomWith(cluster, webRtcEnvironment)
    const ada = { ...inRoom, token: yield* tokenFor(roomId, "ada") }
    yield* call("webrtc.open", ada)
    const [{ value }] = dtlsParameters.fingerprints
    const odd = ["", "AB", `${value}:AB`, value.replaceAll(":", "-"), value.replace("AB", "XY"), `${value} `]
    for (const value of odd) {
      const fingerprints = [{ algorithm: "sha-256", value }] as const
      const connect = call("webrtc.connect", { ...ada, dtlsParameters: { fingerprints } })
      expect([value, (yield* refusal(connect))[0]]).toEqual([value, "MediaRefused"])
    }
    const none = call("webrtc.connect", { ...ada, dtlsParameters: { fingerprints: [] } })
    expect((yield* refusal(none))[0]).toBe("MediaRefused")
    yield* call("webrtc.connect", { ...ada, dtlsParameters })

    const camera = {
      ...ada,
      producerId: "camera",
      kind: "video",
      rtpParameters: {
        mid: "0",
        codecs: [{ mimeType: "video/VP8", payloadType: 96, clockRate: 90_000 }],
        headerExtensions: [{ uri: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", id: 10 }],
        encodings: [{ rid: "a" }, { rid: "b" }, { rid: "a" }]
      }
    } as const
    const [tag, reason] = yield* refusal(call("webrtc.produce", camera))
    expect(tag).toBe("MediaRefused")
    expect(reason).toContain("rid 'a'")
  })
)

it.live("a node without a key refuses, and says what it has to be started with", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    yield* roomWith(cluster, {})
    const token = yield* tokenFor(roomId, "ada")
    const refused = yield* Effect.flip(cluster.call("webrtc.open", { ...inRoom, token }))
    expect(refused).toMatchObject({ _tag: "NoTokenKey", retry: "never" })
    expect(refused.message).toContain("EBB_TOKEN_SECRET")
  })
)

it.live("keys are changed by having both: a file with a public key beside a secret", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { privateKey, publicKey } = generateKeyPairSync("ed25519")
    const file = join(yield* temporaryFolder, "keys.pem")
    yield* Effect.promise(() => writeFile(file, publicKey.export({ type: "spki", format: "pem" })))
    yield* roomWith(cluster, { EBB_TOKEN_SECRET: tokenSecret, EBB_TOKEN_KEYS: file })
    const claims = { roomId, peerId: "ada", can: ["audio"] } as const
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString()
    for (const key of [pem, tokenSecret]) {
      const token = yield* Effect.promise(() => signToken(claims, key))
      yield* cluster.call("webrtc.open", { ...inRoom, token })
    }
    // The public key is no secret: whoever signs with it as with one is not let in.
    const [, said = ""] = (yield* Effect.promise(() => signToken(claims, tokenSecret))).split(".")
    const signed = `${Buffer.from('{"alg":"HS256"}').toString("base64url")}.${said}`
    const asSecret = publicKey.export({ type: "spki", format: "pem" })
    const forged = `${signed}.${createHmac("sha256", asSecret).update(signed).digest("base64url")}`
    expect(yield* refusal(cluster.call("webrtc.open", { ...inRoom, token: forged }))).toEqual([
      "TokenRefused",
      "signature"
    ])
  })
)

it.live("`ebb token` signs what a node takes", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    yield* roomWith(cluster, webRtcEnvironment)
    const words = ["token", roomId, "ada", "--can", "audio", "--ttl", "60"]
    const signed = yield* startProgram(process.execPath, [ebbProgram, ...words], { env: webRtcEnvironment })
    expect(yield* signed.exited).toMatchObject({ code: 0 })
    const [token = "", ...more] = signed.lines
    expect(more).toEqual([])
    yield* cluster.call("webrtc.open", { ...inRoom, token })
    yield* cluster.call("webrtc.produce", { ...microphone, token })
    const chat = { ...inRoom, token, producerId: "chat", sctpStreamParameters: { streamId: 1 } }
    expect(yield* refusal(cluster.call("webrtc.produceData", chat))).toEqual(["TokenRefused", "grant"])

    const unsigned = yield* startProgram(process.execPath, [ebbProgram, "token", roomId, "ada"], {
      env: { EBB_TOKEN_SECRET: "too-short-for-anybody" }
    })
    expect(yield* unsigned.exited).toMatchObject({ code: 1 })
    expect(unsigned.lines.join()).not.toContain("too-short-for-anybody")
  })
)

it.live("a node that could let nobody in by WebRTC, or listens nowhere, says so and does not start", () =>
  Effect.gen(function* () {
    const options = { nodeId: "a", cluster: "test", nats: "127.0.0.1:1", dataDir: yield* temporaryFolder }
    const wrong = [
      [["--webrtc-ip=127.0.0.1"], {}, /wants --token-keys or EBB_TOKEN_SECRET/],
      [["--token-keys=/nonexistent"], {}, /'\/nonexistent' cannot be read: ENOENT/],
      [["--webrtc-ports=2-1"], webRtcEnvironment, /--webrtc-ports is MIN-MAX/],
      [["--webrtc-announced=a,b"], webRtcEnvironment, /more addresses than --webrtc-ip/]
    ] as const
    for (const [args, env, words] of wrong) {
      const node = yield* startProgram(process.execPath, ebbNodeArgs({ ...options, args }), { env })
      expect(yield* node.exited).toMatchObject({ code: 64 })
      expect(node.lines.join("\n")).toMatch(words)
      expect(node.lines.join("\n")).not.toContain(tokenSecret)
    }
  })
)
