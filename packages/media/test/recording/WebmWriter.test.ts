import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { BufferSource, EncodedPacketSink, Input, WEBM } from "mediabunny"
import { makeWebmWriter } from "../../src/recording/WebmWriter.ts"

const video = { codec: "vp8", name: "camera", width: 640, height: 360, channels: 0 } as const
const audio = { codec: "opus", name: "mic", width: 0, height: 0, channels: 2 } as const

interface Written {
  readonly stream: number
  readonly timeMs: number
  readonly key: boolean
  readonly bytes: number
}

/** A file of the given frames, each filled with its index, patched as the caller of the writer has to. */
const fileOf = (frames: ReadonlyArray<Written>, durationMs: number): Uint8Array<ArrayBuffer> => {
  const writer = makeWebmWriter([video, audio], "test")
  const pieces: Array<Uint8Array> = []
  frames.forEach(({ bytes, key, stream, timeMs }, i) => {
    writer.frame(stream, timeMs, key, [Buffer.alloc(bytes - 1, i), Buffer.alloc(1, i)])
    pieces.push(...writer.drain())
  })
  const patches = writer.finish(durationMs)
  const file = Uint8Array.from(Buffer.concat([...pieces, ...writer.drain()]))
  for (const { bytes, position } of patches) file.set(bytes, position)
  return file
}

const open = (file: Uint8Array<ArrayBuffer>) => new Input({ source: new BufferSource(file), formats: [WEBM] })

describe("WebmWriter", () => {
  it.live("writes what another library reads: tracks, times, key frames, data, duration", () =>
    Effect.promise(async () => {
      const frames = Array.from({ length: 1500 }, (_, i): Written => {
        const stream = i % 3 === 0 ? 0 : 1
        return { stream, timeMs: i * 20, key: stream === 1 || i % 150 === 0, bytes: 1 + ((i * 37) % 700) }
      })
      const input = open(fileOf(frames, 30_000))
      assert.strictEqual(await input.computeDuration(), 29.98)
      const tracks = await input.getTracks()
      assert.deepStrictEqual(
        tracks.map((track) => track.codec),
        ["vp8", "opus"]
      )
      for (const [stream, track] of tracks.entries()) {
        const wanted = frames.flatMap((frame, i) => (frame.stream === stream ? [{ ...frame, i }] : []))
        let at = 0
        for await (const packet of new EncodedPacketSink(track).packets()) {
          const frame = wanted[at++]
          assert.strictEqual(Math.round(packet.timestamp * 1000), frame?.timeMs)
          assert.strictEqual(packet.type, frame?.key === true ? "key" : "delta")
          assert.strictEqual(packet.data.length, frame?.bytes)
          assert.strictEqual(packet.data[0], (frame?.i ?? 0) % 256)
        }
        assert.strictEqual(at, wanted.length)
      }
    })
  )

  it.live("can be sought to every key frame of a video by its cues", () =>
    Effect.promise(async () => {
      const frames = Array.from({ length: 3000 }, (_, i): Written => {
        const stream = i % 2
        return { stream, timeMs: i * 20, key: stream === 1 || i % 500 === 0, bytes: 300 }
      })
      const input = open(fileOf(frames, 60_000))
      const track = await input.getPrimaryVideoTrack()
      if (track === null) throw new Error("no video track")
      const sink = new EncodedPacketSink(track)
      for (const at of [0, 9.9, 10, 35, 59]) {
        const packet = await sink.getKeyPacket(at)
        assert.strictEqual(packet?.timestamp, Math.floor(at / 10) * 10, `sought ${at} s`)
      }
    })
  )

  it.live("takes frames of one track that are late, and hours without a frame", () =>
    Effect.promise(async () => {
      const hour = 3_600_000
      const frames: ReadonlyArray<Written> = [
        { stream: 1, timeMs: 0, key: true, bytes: 10 },
        { stream: 1, timeMs: hour, key: true, bytes: 10 },
        { stream: 0, timeMs: 5 * hour, key: true, bytes: 10 },
        { stream: 1, timeMs: 5 * hour - 400, key: true, bytes: 10 },
        { stream: 1, timeMs: 5 * hour - 60_000 + 59_980, key: true, bytes: 10 },
        { stream: 0, timeMs: 5 * hour + 40, key: false, bytes: 5_000_000 },
        { stream: 0, timeMs: 5 * hour + 80, key: false, bytes: 10 }
      ]
      const input = open(fileOf(frames, 5 * hour + 120))
      for (const [stream, track] of (await input.getTracks()).entries()) {
        const times: Array<number> = []
        for await (const packet of new EncodedPacketSink(track).packets())
          times.push(Math.round(packet.timestamp * 1000))
        assert.deepStrictEqual(
          times,
          frames.filter((frame) => frame.stream === stream).map((frame) => frame.timeMs)
        )
      }
    })
  )
})
