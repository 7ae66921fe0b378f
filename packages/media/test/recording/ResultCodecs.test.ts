import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { compute } from "../../src/recording/Compute.ts"
import { probe } from "../../src/recording/Ffprobe.ts"
import type { TrackInfo } from "../../src/recording/JournalFormat.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { arriving, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import type { CaptureEvent } from "./fixtures.ts"
import { realVideo } from "./realVideo.ts"
import type { VideoCodec } from "./realVideo.ts"

const seconds = 4
const ms = 1000
/** Milliseconds: much is encoded, on a machine that may be busy. */
const patience = 180_000

const mimeTypes: Readonly<Record<VideoCodec, string>> = {
  vp8: "video/VP8",
  vp9: "video/VP9",
  h264: "video/H264",
  av1: "video/AV1"
}
const codecs: ReadonlyArray<VideoCodec> = ["vp8", "vp9", "h264", "av1"]

/** A camera for each codec, a second after each other. */
const cameras = Effect.gen(function* () {
  const tracks: Record<string, TrackInfo> = {}
  const events: Array<CaptureEvent> = []
  for (const [at, codec] of codecs.entries()) {
    const { packets } = yield* realVideo({ codec, seconds })
    tracks[codec] = vp8Track({ producerId: codec, mimeType: mimeTypes[codec], peerId: codec })
    events.push(...arriving(codec, packets, 90_000, at * 1000 * ms))
  }
  return { tracks, events }
})

const computed = Effect.fnUntraced(function* (
  result: "file" | "tracks" | "grid",
  tracks: Readonly<Record<string, TrackInfo>>,
  events: ReadonlyArray<CaptureEvent>
) {
  const folder = yield* temporaryFolder
  const part = path.join(folder, "rec")
  yield* writePart({ folder: part, manifest: { options: { result } }, tracks, events })
  const receipt = yield* compute(part, { computedBy: "test" }).pipe(
    Effect.provide(RecordingStore.folder(path.join(folder, "results")))
  )
  return { receipt, at: (name: string) => path.join(folder, "results", "rec", name) }
})

describe("cameras of every codec", () => {
  it.live(
    "become one Matroska file, as H.264 is no codec of WebM, with every frame",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* cameras
        const { at, receipt } = yield* computed("file", tracks, events)
        assert.strictEqual(receipt.file, "recording.mkv")
        const { errors, streams } = yield* probe(at("recording.mkv"))
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual(
          [...streams.values()].map(({ codec, firstMs, frames }) => ({ codec, firstMs, frames })),
          codecs.map((codec, second) => ({ codec, firstMs: second * 1000, frames: seconds * 25 }))
        )
      }),
    patience
  )

  it.live(
    "become a file each, H.264 an MP4 with its index in front",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* cameras
        const { at, receipt } = yield* computed("tracks", tracks, events)
        const names = ["track-0-video.webm", "track-1-video.webm", "track-2-video.mp4", "track-3-video.webm"]
        assert.deepStrictEqual(
          receipt.files?.map(({ name }) => name),
          names
        )
        for (const name of names) {
          const { errors, streams } = yield* probe(at(name))
          assert.deepStrictEqual(errors, [])
          assert.deepInclude(streams.get(0), { frames: seconds * 25, firstMs: 0 })
        }
        assert.deepStrictEqual(boxesOf(at("track-2-video.mp4")), ["ftyp", "moov", "free", "mdat"])
      }),
    patience
  )

  it.live(
    "become one grid that plays",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* cameras
        const { at, receipt } = yield* computed("grid", tracks, events)
        const { durationMs, errors, streams } = yield* probe(at("recording.mp4"))
        assert.deepStrictEqual(errors, [])
        assert.closeTo(durationMs, 7000, 100)
        assert.strictEqual(receipt.durationMs, 7000)
        assert.closeTo(streams.get(0)?.frames ?? 0, 7 * 25, 2)
      }),
    patience
  )
})

describe("a camera of several encodings", () => {
  /** Three layers of one camera; the best comes a second later than the others, and is away from 2 to 3 s. */
  const simulcast = Effect.gen(function* () {
    const sizes = ["160x120", "320x240", "640x480"]
    const tracks: Record<string, TrackInfo> = {}
    const events: Array<CaptureEvent> = []
    for (const [layer, size] of sizes.entries()) {
      const { packets } = yield* realVideo({ codec: "vp8", seconds, size, keyEvery: 25, ssrc: 100 + layer })
      tracks[size] = vp8Track({ producerId: "camera", layer, rid: `r${layer}`, ssrc: 100 + layer })
      const own = arriving(size, packets, 90_000, 0)
      const isAway = (atMs: number) => layer === 2 && (atMs < 1000 || (atMs >= 2000 && atMs < 3000))
      events.push(...own.filter(({ atUs }) => !isAway(atUs / ms)))
    }
    return { tracks, events }
  })

  it.live(
    "is one track: the best of them at each moment, from key frame to key frame, with no moment lost",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* simulcast
        const { at, receipt } = yield* computed("file", tracks, events)
        assert.strictEqual(receipt.tracks.length, 1)
        const [camera] = receipt.tracks
        assert.deepInclude(camera, { frames: seconds * 25, layerSwitches: 3, producerId: "camera" })
        assert.deepStrictEqual(
          camera?.sources?.map(({ frames, layer, rid }) => ({ frames, layer, rid })),
          [
            { layer: 0, rid: "r0", frames: 0 },
            { layer: 1, rid: "r1", frames: 50 },
            { layer: 2, rid: "r2", frames: 50 }
          ]
        )
        const { errors, streams } = yield* probe(at("recording.webm"))
        assert.deepStrictEqual(errors, [])
        assert.strictEqual(streams.get(0)?.frames, seconds * 25)
        assert.deepStrictEqual(widthsOf(at("recording.webm")), [320, 640, 320, 640])
      }),
    patience
  )

  it.live(
    "changes its size in a grid, and stays in its place",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* simulcast
        const { at } = yield* computed("grid", tracks, events)
        const { errors, streams } = yield* probe(at("recording.mp4"))
        assert.deepStrictEqual(errors, [])
        assert.closeTo(streams.get(0)?.frames ?? 0, seconds * 25, 2)
        // 4:3 in 16:9: black at the sides, and the picture in between, whatever its size was.
        for (const second of [0.5, 1.5, 2.5, 3.5]) {
          assert.isBelow(brightness(at("recording.mp4"), second, 10), 20, `${second} s`)
          assert.isAbove(brightness(at("recording.mp4"), second, 300), 40, `${second} s`)
        }
      }),
    patience
  )
})

describe.each(codecs)("a track of %s", (codec) => {
  it.live(
    "goes on in another part with another encoder's size and parameters, as a file and as a grid",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        for (const result of ["file", "tracks", "grid"] as const) {
          const recordingId = `rec-${result}`
          const sizes = ["320x240", "480x360"]
          const parts = yield* Effect.forEach(sizes, (size, part) =>
            Effect.gen(function* () {
              const { packets } = yield* realVideo({ codec, seconds: 2, size, keyEvery: 25 })
              const own = path.join(folder, `${recordingId}-${part}`)
              yield* writePart({
                folder: own,
                manifest: { recordingId, part, incarnation: `i${part}`, options: { result } },
                tracks: { camera: vp8Track({ producerId: "camera", mimeType: mimeTypes[codec] }) },
                events: arriving("camera", packets, 90_000, 0),
                // By the clock on the wall it begins when the first one ends.
                clocks: { monotonicUs: 1000 * ms + part, wallMs: 1_795_000_000_000 + part * 2000 }
              })
              return own
            })
          )
          const receipt = yield* compute(parts, { computedBy: "test" }).pipe(
            Effect.provide(RecordingStore.folder(path.join(folder, "results")))
          )
          assert.deepInclude(receipt.tracks[0], { frames: 100, durationMs: 4000, lostPackets: 0 })
          assert.isUndefined(receipt.instead)
          if (result === "grid") continue
          const file = path.join(folder, "results", recordingId, receipt.file ?? "")
          assert.deepStrictEqual(widthsOf(file), [320, 480])
        }
      }),
    patience
  )
})

describe("what is not encoded again", () => {
  it.live(
    "has the same bytes when it is computed a second time, as one file and as a file for each track",
    () =>
      Effect.gen(function* () {
        const { events, tracks } = yield* cameras
        for (const result of ["file", "tracks"] as const) {
          const [one, other] = [
            yield* computed(result, tracks, events),
            yield* computed(result, tracks, events)
          ].map(({ receipt }) => receipt.files?.map(({ name, sha256 }) => ({ name, sha256 })))
          assert.deepStrictEqual(other, one)
        }
      }),
    patience
  )
})

/** How bright a column of the picture is, 0 to 255. */
const brightness = (file: string, second: number, x: number): number => {
  const args = ["-v", "error", "-ss", String(second), "-i", file, "-frames:v", "1"]
  const filter = ["-vf", `crop=60:700:${x}:10,scale=1:1:flags=area,format=gray`]
  return execFileSync("ffmpeg", [...args, ...filter, "-f", "rawvideo", "-"])[0] ?? -1
}

/** The widths of the pictures, in their order, without repetition. */
const widthsOf = (file: string): ReadonlyArray<number> =>
  execFileSync("ffprobe", ["-v", "error", "-show_entries", "frame=width", "-of", "csv=p=0", file], {
    encoding: "utf8"
  })
    .trim()
    .split("\n")
    .map((line) => Number.parseInt(line, 10))
    .filter((width) => width > 0)
    .filter((width, i, all) => width !== all[i - 1])

/** What lies at the top of an MP4. */
const boxesOf = (file: string): ReadonlyArray<string> => {
  const bytes = fs.readFileSync(file)
  const found: Array<string> = []
  for (let at = 0; at + 8 <= bytes.length; at += bytes.readUInt32BE(at)) {
    found.push(bytes.toString("latin1", at + 4, at + 8))
  }
  return found
}
