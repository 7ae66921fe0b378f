/** A port belongs to the sender that `producer.add` names, whoever else sends to it and however early. */
import { createSocket } from "node:dgram"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { opus, vp8 } from "../support/mediaSender.ts"
import { testCluster } from "../support/testCluster.ts"
import { openUdp } from "../support/udpCounter.ts"
import { until } from "../support/until.ts"

/** RFC 8489, without credentials: as long as a multiple of 4, so that the worker takes it for SCTP. */
const bindingRequest = Buffer.from("000100002112a442000000000000000000000001", "hex")
const receiverReport = Buffer.from("80c9000100000001", "hex")

const rtp = (sequence: number) => {
  const packet = Buffer.from("806f000000000000000008aefcfffe", "hex")
  packet.writeUInt16BE(sequence, 2)
  packet.writeUInt32BE(sequence * 960, 4)
  return packet
}

const send = (from: ReturnType<typeof createSocket>, packet: Buffer, port: number) =>
  Effect.callback<void>((resume) => from.send(packet, port, "127.0.0.1", () => resume(Effect.void)))

it.live("whom a producer is to come from is heard, and no stranger's packet takes the port before", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    yield* cluster.node("a")
    const { call } = cluster
    const inRoom = { roomId: "talk" }
    yield* call("room.create", inRoom)
    const [sender, rtcp, stranger] = [yield* openUdp, yield* openUdp, yield* openUdp]
    const named = { ip: "127.0.0.1", port: sender.address().port }
    const shared = { ...inRoom, ...opus, ...named, producerId: "shared" }
    const two = { rtcpMux: false, rtcpPort: rtcp.address().port }
    const ports = [
      yield* call("producer.add", shared),
      yield* call("producer.add", { ...shared, ...two, producerId: "two" })
    ]
    expect(yield* call("producer.add", shared)).toEqual(ports[0])
    const elsewhere = call("producer.add", { ...shared, port: stranger.address().port })
    expect(yield* Effect.flip(elsewhere)).toMatchObject({ _tag: "Conflict" })

    for (const { port, rtcpPort = port } of ports) {
      yield* send(stranger, bindingRequest, port)
      yield* send(stranger, rtp(1), port)
      yield* send(stranger, receiverReport, rtcpPort)
      for (let n = 1; n <= 20; n++) yield* send(sender, rtp(n), port)
    }
    const { producers } = yield* until(call("room.get", inRoom), ({ producers }) =>
      producers.every(({ packetsReceived }) => packetsReceived >= 20)
    )
    expect(producers.map(({ packetsReceived }) => packetsReceived)).toEqual([20, 20])

    // Half an address would be none: whoever comes first.
    const video = { ...inRoom, ...vp8, producerId: "video" }
    for (const half of [{ ip: named.ip }, { port: named.port }, two, { ...named, rtcpMux: false }]) {
      const refused = yield* Effect.flip(call("producer.add", { ...video, ...half }))
      expect(refused).toMatchObject({ _tag: "MediaRefused", code: "MediaRejected" })
    }
  })
)
