import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { BufferSource, EncodedPacketSink, Input, MATROSKA, WEBM } from "mediabunny"
import type { WebmTrack } from "../../src/recording/WebmWriter.ts"
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
const fileOf = (
  frames: ReadonlyArray<Written>,
  durationMs: number,
  tracks: ReadonlyArray<WebmTrack> = [video, audio]
): Uint8Array<ArrayBuffer> => {
  const writer = makeWebmWriter(tracks, "test")
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

/** The index read by hand: where each cue lies in the file, of which track it is, and where it points to. */
const cuesOf = (file: Buffer) => {
  const segment = file.indexOf(Buffer.of(0x18, 0x53, 0x80, 0x67)) + 12
  const cues: Array<{ readonly at: number; readonly track: number; readonly cluster: number }> = []
  const id = Buffer.of(0x1c, 0x53, 0xbb, 0x6b)
  // Named first by the list of what lies where.
  const start = file.indexOf(id, file.indexOf(id) + 4)
  const sizeBytes = Math.clz32((file[start + 4] ?? 0) << 24) + 1
  const bytes = file.readUIntBE(start + 4, sizeBytes) - 2 ** (7 * sizeBytes)
  const end = start < 0 ? 0 : start + 4 + sizeBytes + bytes
  // CueTrack and CueClusterPosition, each with its length in one byte.
  for (let at = start; at >= 0 && at < end; at++) {
    if (file[at] !== 0xf7 || file[at + 1] !== 0x81 || file[at + 3] !== 0xf1) continue
    const length = (file[at + 4] ?? 0) & 0x7f
    cues.push({ at, track: file[at + 2] ?? 0, cluster: segment + file.readUIntBE(at + 5, length) })
  }
  return cues
}

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

  it("has its index before the first frame, however many key frames there are", () => {
    for (const count of [0, 1, 3, 40, 2000]) {
      const frames = Array.from({ length: count }, (_, i): Written => ({
        stream: i % 2,
        timeMs: i * 600,
        key: true,
        bytes: 10
      }))
      for (const keyFrames of [0, 1, count]) {
        const tracks = [
          { ...video, keyFrames },
          { ...video, keyFrames }
        ]
        const file = Buffer.from(fileOf(frames, count * 600, tracks))
        const firstCluster = count === 0 ? file.length : file.indexOf(Buffer.of(0x1f, 0x43, 0xb6, 0x75))
        const cues = cuesOf(file)
        assert.isTrue(cues.every(({ at }) => at < firstCluster))
        assert.strictEqual(cues.length > 0, count > 0, `${count} key frames`)
        if (keyFrames === count) assert.strictEqual(cues.length, count)
        // What does not fit in is left out evenly, of both tracks.
        const [ofFirst, ofSecond] = [1, 2].map((track) => cues.filter((cue) => cue.track === track).length)
        assert.isAtMost(Math.abs((ofFirst ?? 0) - (ofSecond ?? 0)), 1)
        if (count === 2000) assert.isAtLeast(cues.length, keyFrames === count ? 2000 : 8)
        for (const { cluster } of cues) {
          assert.strictEqual(file.subarray(cluster, cluster + 4).toString("hex"), "1f43b675")
        }
      }
    }
  })

  it.live(
    "calls a file Matroska that WebM has no name for, and says of each codec what a player must know",
    () =>
      Effect.promise(async () => {
        const codecPrivate = Buffer.from(
          "0164000dffe100196764000dacd94141fb011000000300100000030320f142996001000668ebe3cb22c0fdf8f800",
          "hex"
        )
        const frames: ReadonlyArray<Written> = [{ stream: 0, timeMs: 0, key: true, bytes: 10 }]
        const of = (codec: WebmTrack["codec"]) => fileOf(frames, 40, [{ ...video, codec, codecPrivate }])
        const input = new Input({ source: new BufferSource(of("h264")), formats: [MATROSKA, WEBM] })
        assert.strictEqual(await input.getFormat(), MATROSKA)
        const track = await input.getPrimaryVideoTrack()
        assert.strictEqual(track?.codec, "avc")
        assert.deepStrictEqual(
          Buffer.from((await track?.getDecoderConfig())?.description as Uint8Array),
          codecPrivate
        )
        for (const [codec, name] of [
          ["vp9", "vp9"],
          ["av1", "av1"]
        ] as const) {
          const webm = open(of(codec))
          assert.strictEqual(await webm.getFormat(), WEBM)
          assert.strictEqual((await webm.getPrimaryVideoTrack())?.codec, name)
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
