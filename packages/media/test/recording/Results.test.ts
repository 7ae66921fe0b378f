import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { compute } from "../../src/recording/Compute.ts"
import { ffmpeg } from "../../src/recording/Ffmpeg.ts"
import { probe } from "../../src/recording/Ffprobe.ts"
import { gridGraph } from "../../src/recording/Grid.ts"
import type { TrackInfo } from "../../src/recording/JournalFormat.ts"
import { readReceipt } from "../../src/recording/Receipt.ts"
import type { Receipt } from "../../src/recording/Receipt.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { arriving, opusTrack, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import type { CaptureEvent } from "./fixtures.ts"
import { startProgram } from "./processes.ts"
import { realRtp } from "./realRtp.ts"

const seconds = 4
const ms = 1000
/** Milliseconds: a grid is encoded, on a machine that may be busy. */
const patience = 180_000

const setUp = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const source = yield* realRtp({ seconds })
  const store = path.join(folder, "results")
  const part = path.join(folder, "rec")
  return {
    folder,
    source,
    store,
    part,
    at: (name: string) => path.join(store, "rec", name),
    write: (
      result: "file" | "tracks" | "grid",
      tracks: Readonly<Record<string, TrackInfo>>,
      events: ReadonlyArray<CaptureEvent>
    ) => writePart({ folder: part, manifest: { options: { result } }, tracks, events }),
    compute: (...folders: ReadonlyArray<string>) =>
      compute(folders.length === 0 ? part : folders, { computedBy: "test" }).pipe(
        Effect.provide(RecordingStore.folder(store))
      )
  }
})

const filesOf = (receipt: Receipt) => receipt.files?.map(({ name, tracks }) => ({ name, tracks }))

describe("a result", () => {
  it.live(
    "of tracks is a file for each, which begins with its first frame, and the receipt says where that is",
    () =>
      Effect.gen(function* () {
        const { at, compute, source, write } = yield* setUp
        const events = [
          ...arriving("video", source.video, 90_000, 0),
          ...arriving("audio", source.audio, 48_000, 2500 * ms)
        ]
        yield* write("tracks", { video: vp8Track(), audio: opusTrack() }, events)
        const receipt = yield* compute()
        assert.strictEqual(receipt.result, "tracks")
        assert.deepStrictEqual(filesOf(receipt), [
          { name: "track-0-video.webm", tracks: [0] },
          { name: "track-1-audio.webm", tracks: [1] }
        ])
        assert.deepStrictEqual(
          receipt.tracks.map(({ offsetMs, stream }) => ({ offsetMs, stream })),
          [
            { offsetMs: 0, stream: 0 },
            { offsetMs: 2500, stream: 0 }
          ]
        )
        const { durationMs, streams } = yield* probe(at("track-1-audio.webm"))
        assert.deepInclude(streams.get(0), { codec: "opus", firstMs: 0, frames: source.audioFrames })
        assert.closeTo(durationMs, source.audioFrames * 20, 2)
        assert.strictEqual(receipt.file, "track-0-video.webm")
        assert.strictEqual(receipt.sha256, receipt.files?.[0]?.sha256)
      }),
    patience
  )

  it.live(
    "as a grid is one file that plays: late joiners, mutes and leavers are where they were",
    () =>
      Effect.gen(function* () {
        const { at, compute, part, source, store, write } = yield* setUp
        const first = arriving("first", source.video, 90_000, 0)
        // Joins after 2 s, is muted from 4 to 14 s, and is back until 16 s.
        const second = arriving("second", source.video, 90_000, 2000 * ms)
        const back = arriving("back", source.video, 90_000, 14_000 * ms)
        const voice = arriving("voice", source.audio, 48_000, 1000 * ms)
        const late = arriving("late", source.audio, 48_000, 11_000 * ms)
        yield* write(
          "grid",
          {
            first: vp8Track({ producerId: "first", peerId: "ada" }),
            second: vp8Track({ producerId: "second", peerId: "bob" }),
            back: vp8Track({ producerId: "back", peerId: "bob" }),
            voice: opusTrack({ producerId: "voice", peerId: "ada" }),
            late: opusTrack({ producerId: "late", peerId: "bob" })
          },
          [...first, ...second, ...back, ...voice, ...late]
        )
        const receipt = yield* compute()
        assert.deepStrictEqual(filesOf(receipt), [{ name: "recording.mp4", tracks: [0, 1, 2, 3, 4] }])
        // Only what is asked for is left.
        const left = (yield* Effect.promise(() => fsp.readdir(path.join(store, "rec")))).filter(
          (name) => name !== ".lock"
        )
        assert.deepStrictEqual(left.toSorted(), ["receipt.json", "recording.mp4"])
        assert.isTrue(fs.existsSync(path.join(part, "receipt.json")))

        const file = at("recording.mp4")
        const { durationMs, errors, streams } = yield* probe(file)
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual(
          [...streams.values()].map(({ codec }) => codec),
          ["h264", "aac"]
        )
        assert.closeTo(durationMs, receipt.durationMs, 100)
        assert.isBelow(positionOf(file, "moov"), positionOf(file, "mdat"))

        // Alone in the middle, side by side, nobody, alone again.
        const left0 = { x: 100, y: 300, width: 400, height: 100 }
        const right0 = { x: 780, y: 300, width: 400, height: 100 }
        const middle = { x: 440, y: 300, width: 400, height: 100 }
        const top = { x: 440, y: 20, width: 400, height: 60 }
        const seen = [1000, 3000, 5000, 9000, 15_000].map((atMs) => {
          const picture = pictureAt(file, atMs)
          return [top, left0, right0, middle].map((area) => brightness(picture, area) > 30)
        })
        assert.deepStrictEqual(seen, [
          [true, true, true, true],
          [false, true, true, true],
          [true, true, true, true],
          [false, false, false, false],
          [true, true, true, true]
        ])
        const spoken = [500, 3000, 7000, 13_000, 17_000].map((atMs) => loudness(file, atMs) > -50)
        assert.deepStrictEqual(spoken, [false, true, false, true, false])
        for (const [at, second] of [1, 11].entries()) {
          assert.closeTo(beginningsOfSound(file)[at] ?? Number.NaN, second, 0.05)
        }
      }),
    patience
  )

  it.live(
    "as a grid may change hundreds of times",
    () =>
      Effect.gen(function* () {
        const graph = path.join(yield* temporaryFolder, "graph")
        const flapping = Array.from({ length: 400 }, (_, i) => ({ fromMs: i * 5, toMs: i * 5 + 3 }))
        const cameras = [{ presence: flapping }, { presence: [{ fromMs: 0, toMs: 2000 }] }]
        fs.writeFileSync(graph, gridGraph({ cameras, voices: 0, durationMs: 2000 }))
        const camera = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2"]
        const output = ["-filter_complex_script", graph, "-map", "[video]", "-f", "null", "-"]
        assert.deepStrictEqual(yield* ffmpeg([...camera, ...camera, ...output]), [])
      }),
    patience
  )

  it.live(
    "that cannot be made a grid is a file, and its receipt says why",
    () =>
      Effect.gen(function* () {
        const { folder, part, source, store, write } = yield* setUp
        yield* write("grid", { video: vp8Track() }, arriving("video", source.video, 90_000, 0))
        // An ffmpeg that was built without an encoder for H.264.
        const bin = path.join(folder, "bin")
        fs.mkdirSync(bin)
        fs.writeFileSync(
          path.join(bin, "ffmpeg"),
          "#!/bin/sh\necho \"Unknown encoder 'libx264'\" >&2; exit 1\n",
          {
            mode: 0o755
          }
        )
        const program = yield* startProgram("src/bin/ebb-compute.ts", [part, "--store", store], {
          env: { PATH: `${bin}:${process.env["PATH"]}` }
        })
        assert.deepInclude(yield* program.exited, { code: 0 })
        const receipt = yield* readReceipt(path.join(part, "receipt.json"))
        const left = fs.readdirSync(path.join(store, "rec")).filter((name) => name !== ".lock")
        assert.deepStrictEqual(left.toSorted(), ["receipt.json", "recording.webm"])
        assert.isUndefined(receipt?.result)
        assert.strictEqual(receipt?.file, "recording.webm")
        assert.strictEqual(receipt?.tracks[0]?.frames, source.videoFrames)
        assert.strictEqual(receipt?.instead?.of, "grid")
        assert.include(receipt?.instead?.because, "libx264")
      }),
    patience
  )

  it.live(
    "has the messages of a data channel as a timed text track, text as text and bytes as JSON",
    () =>
      Effect.gen(function* () {
        const { at, compute, source, write } = yield* setUp
        const chat: TrackInfo = {
          producerId: "chat",
          kind: "data",
          mimeType: "text/plain",
          clockRate: 1000,
          label: "chat"
        }
        const say = (atMs: number, payload: Uint8Array, ppid = 51): CaptureEvent => ({
          atUs: atMs * ms,
          track: "chat",
          data: { ppid, payload }
        })
        yield* write("file", { audio: opusTrack(), chat }, [
          ...arriving("audio", source.audio, 48_000, 0),
          say(500, Buffer.from("one --> <b>two</b>\n\n& three")),
          say(61_250, Uint8Array.of(0, 1, 255), 53),
          say(61_300, Uint8Array.of(0), 56)
        ])
        const receipt = yield* compute()
        assert.deepStrictEqual(filesOf(receipt), [
          { name: "recording.webm", tracks: [0] },
          { name: "track-1-data.vtt", tracks: [1] }
        ])
        assert.deepInclude(receipt.tracks[1], { kind: "data", label: "chat", frames: 3, offsetMs: 500 })
        assert.strictEqual(
          fs.readFileSync(at("track-1-data.vtt"), "utf8"),
          [
            "WEBVTT\n",
            "00:00:00.500 --> 00:00:05.500",
            "one --&gt; &lt;b&gt;two&lt;/b&gt;&#10;&#10;&amp; three\n",
            "00:01:01.250 --> 00:01:06.250",
            `{"ppid":53,"base64":"AAH/"}\n`,
            "00:01:01.300 --> 00:01:06.300",
            "&#8203;\n",
            ""
          ].join("\n")
        )
      }),
    patience
  )

  it.live(
    "has no paused time in it, and its receipt says what was cut",
    () =>
      Effect.gen(function* () {
        const { at, compute, source, write } = yield* setUp
        const gone = { fromUs: 1500 * ms, toUs: 2500 * ms }
        const isThere = ({ atUs }: CaptureEvent) => atUs < gone.fromUs || atUs >= gone.toUs
        yield* write("file", { video: vp8Track(), audio: opusTrack() }, [
          ...arriving("video", source.video, 90_000, 0).filter(isThere),
          ...arriving("audio", source.audio, 48_000, 0).filter(isThere),
          { atUs: gone.fromUs, track: "video", pause: { by: "ada" } },
          { atUs: gone.toUs - 1, track: "video", resume: {} }
        ])
        const receipt = yield* compute()
        assert.deepStrictEqual(receipt.pauses, [{ atMs: 1500, durationMs: 1000, wallMs: 1_795_000_001_500 }])
        const [video, audio] = ["video", "audio"].map((kind) =>
          receipt.tracks.find((each) => each.kind === kind)
        )
        // What was not captured is not lost. The next key frame of the source comes after 4 s, and the picture waits for it.
        assert.deepInclude(audio, { lostPackets: 0, durationMs: source.audioFrames * 20 - 1000 })
        assert.deepInclude(video, { lostPackets: 0 })
        assert.isAbove(video?.dropped["beforeKeyFrame"] ?? 0, 30)
        assert.isUndefined(audio?.gaps)
        const { streams } = yield* probe(at("recording.webm"))
        assert.strictEqual(streams.get(audio?.stream ?? -1)?.frames, audio?.frames)
      }),
    patience
  )
})

interface Area {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** 1280x720 bytes of grey. */
const pictureAt = (file: string, atMs: number): Buffer => {
  const args = ["-v", "error", "-ss", String(atMs / 1000), "-i", file, "-frames:v", "1"]
  return execFileSync("ffmpeg", [...args, "-pix_fmt", "gray", "-f", "rawvideo", "-"], { maxBuffer: 2e6 })
}

/** How bright a place of a picture is, on the average, 0 to 255. */
const brightness = (picture: Buffer, { height, width, x, y }: Area): number => {
  let sum = 0
  for (let row = y; row < y + height; row++) {
    for (let column = x; column < x + width; column++) sum += picture[row * 1280 + column] ?? 0
  }
  return sum / (width * height)
}

/** The mean volume of half a second, in dB. */
const loudness = (file: string, atMs: number): number => {
  const said = execFileSync(
    "sh",
    ["-c", `ffmpeg -hide_banner -ss ${atMs / 1000} -t 0.5 -i "$0" -vn -af volumedetect -f null - 2>&1`, file],
    { encoding: "utf8" }
  )
  return Number(/mean_volume: (\S+) dB/.exec(said)?.[1] ?? "-91")
}

/** Seconds at which somebody begins to be heard. */
const beginningsOfSound = (file: string): ReadonlyArray<number> => {
  const said = execFileSync(
    "sh",
    ["-c", `ffmpeg -hide_banner -i "$0" -vn -af silencedetect=noise=-50dB:d=0.1 -f null - 2>&1`, file],
    { encoding: "utf8" }
  )
  return [...said.matchAll(/silence_end: (\S+)/g)].map(([, second]) => Number(second))
}

/** Where a box of an MP4 lies at its top. */
const positionOf = (file: string, box: string): number => {
  const bytes = fs.readFileSync(file)
  for (let at = 0; at + 8 <= bytes.length;) {
    if (bytes.toString("latin1", at + 4, at + 8) === box) return at
    at += bytes.readUInt32BE(at)
  }
  return -1
}
