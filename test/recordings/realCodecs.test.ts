/** Cameras of a real Chromium in the codecs and with the layers that are not VP8's, through a real node to files that decode and play. */
import { assert, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { browserPeer, openBrowser, tokenFor, webRtcEnvironment } from "../support/browser/browserPeer.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import { playInBrowser } from "./player.ts"

const Receipt = Schema.fromJsonString(
  Schema.Struct({
    files: Schema.Array(Schema.Struct({ name: Schema.String, tracks: Schema.Array(Schema.Int) })),
    tracks: Schema.Array(
      Schema.Struct({
        producerId: Schema.String,
        codec: Schema.String,
        durationMs: Schema.Finite,
        packets: Schema.Int,
        frames: Schema.Int,
        shownFrames: Schema.Int,
        lostPackets: Schema.Int,
        dropped: Schema.Record(Schema.String, Schema.Int)
      })
    )
  })
)

/** With how many packets a frame of these small pictures has at least: one for each layer. */
const cameras = [
  { mimeType: "video/VP9", scalabilityMode: "L3T3", layers: 3 },
  { mimeType: "video/VP9", scalabilityMode: "L3T3_KEY", layers: 3 },
  { mimeType: "video/AV1", scalabilityMode: "L2T2", layers: 2 },
  { mimeType: "video/AV1", scalabilityMode: "L1T2", layers: 1 },
  { mimeType: "video/H264", scalabilityMode: undefined, layers: 1 }
] as const

/** How many pictures ffmpeg shows, in each size. */
const shownSizes = (file: string): Readonly<Record<string, number>> => {
  const what = ["-select_streams", "v", "-show_entries", "frame=width,height", "-of", "csv=p=0"]
  const sizes: Record<string, number> = {}
  for (const line of execFileSync("ffprobe", ["-v", "error", ...what, file], { encoding: "utf8" }).split(
    "\n"
  )) {
    if (line !== "") sizes[line] = (sizes[line] ?? 0) + 1
  }
  return sizes
}

it.live(
  "VP9, AV1 and H.264 of a browser, with spatial layers and without, come to files that decode and play as one picture",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* cluster.node("a", { env: webRtcEnvironment })
      yield* call("room.create", { roomId: "talk" })
      yield* call("recording.start", { roomId: "talk", recordingId: "rec", options: { result: "tracks" } })
      const browser = yield* openBrowser
      const token = yield* tokenFor("talk", "ada")
      const ada = yield* browserPeer(browser, { call, roomId: "talk", transportId: "ada", token })
      yield* ada.open

      const recording = call("recording.get", { recordingId: "rec" })
      for (const [i, { layers, mimeType, scalabilityMode }] of cameras.entries()) {
        const { packets: before } = yield* recording
        const encodings = [scalabilityMode === undefined ? {} : { scalabilityMode }]
        const producerId = `camera-${i}`
        yield* ada.camera({ producerId, mimeType, encodings, width: 640, height: 360, from: "drawn" })
        yield* until(recording, ({ packets }) => packets > before + 60 * layers)
        yield* ada.page((peer, id) => peer.stop(id), producerId)
      }
      yield* call("recording.stop", { recordingId: "rec" })
      const { file, problem, state } = yield* until(
        recording,
        (info) => info.state === "Computed" || info.state === "Failed"
      )
      assert.strictEqual(state, "Computed", problem)
      const folder = dirname(file ?? "")
      const json = yield* Effect.promise(() => readFile(join(folder, "receipt.json"), "utf8"))
      const receipt = yield* Effect.orDie(Schema.decodeEffect(Receipt)(json))
      assert.strictEqual(receipt.tracks.length, cameras.length)
      for (const [i, track] of receipt.tracks.entries()) {
        const { layers, mimeType, scalabilityMode } = cameras[i] ?? { mimeType: "none", layers: 0 }
        const name = `${mimeType} ${scalabilityMode ?? ""}`
        const { name: fileName } = receipt.files.find(({ tracks }) => tracks.includes(i)) ?? { name: "none" }
        assert.deepInclude(track, { codec: mimeType, lostPackets: 0, dropped: {} }, name)
        assert.isAbove(track.frames, 30, name)
        // The layers were sent, all but those that the browser drops under load.
        assert.isAbove(track.packets / track.frames, layers * 0.7, name)

        const sizes = shownSizes(join(folder, fileName))
        const shown = Object.values(sizes).reduce((sum, count) => sum + count, 0)
        // Each picture once: not each of its layers.
        assert.strictEqual(shown, track.shownFrames, `${name}: ${JSON.stringify(sizes)}`)
        assert.isAbove(sizes["640,360"] ?? 0, shown / 2, `${name}: ${JSON.stringify(sizes)}`)

        const played = yield* playInBrowser(browser, { file: join(folder, fileName), seekToMs: 500 })
        assert.closeTo(played.durationMs, track.durationMs, 100, name)
        assert.closeTo(played.endedMs, played.durationMs, 100, name)
        assert.isAbove(played.colours, 1, name)
        assert.isAbove(played.frames, 5, name)
        yield* Effect.logInfo(`${name}: ${JSON.stringify({ ...track, sizes, played })}`)
      }
    }),
  120_000
)

/** When each picture is shown, in milliseconds, and how wide it is. */
const shownPictures = (file: string) => {
  const what = ["-select_streams", "v", "-show_entries", "frame=pts_time,width", "-of", "csv=p=0"]
  return execFileSync("ffprobe", ["-v", "error", ...what, file], { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => {
      const [seconds, width] = line.split(",").map(Number)
      return seconds === undefined || width === undefined ? [] : [{ atMs: seconds * 1000, width }]
    })
}

it.live(
  "a camera whose best layer stops goes on in the next one at once: a key frame of it was asked for",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* cluster.node("a", { env: webRtcEnvironment })
      yield* call("room.create", { roomId: "talk" })
      yield* call("recording.start", { roomId: "talk", recordingId: "rec" })
      const recording = call("recording.get", { recordingId: "rec" })
      const browser = yield* openBrowser
      const token = yield* tokenFor("talk", "ada")
      const ada = yield* browserPeer(browser, { call, roomId: "talk", transportId: "ada", token })
      yield* ada.open
      yield* ada.camera({ producerId: "camera", from: "drawn" })
      // Its best layer is there, and all have begun.
      yield* until(
        ada.page((peer) => peer.sent("camera")),
        (sent) => sent.every(({ frames }) => frames > 40)
      )
      yield* ada.page((peer) => peer.bestLayer("camera", 1))
      const lower = yield* ada.page((peer) => peer.sent("camera"))
      const later = (layer: number) => (lower[layer]?.frames ?? 0) + 75
      yield* until(
        ada.page((peer) => peer.sent("camera")),
        (sent) => (sent[0]?.frames ?? 0) > later(0) && (sent[1]?.frames ?? 0) > later(1)
      )
      yield* call("recording.stop", { recordingId: "rec" })
      const { file, problem, state } = yield* until(
        recording,
        (info) => info.state === "Computed" || info.state === "Failed"
      )
      assert.strictEqual(state, "Computed", problem)
      const pictures = shownPictures(file ?? "")
      const widths = pictures.map(({ width }) => width)
      assert.strictEqual(widths.at(-1), 480)
      assert.include(widths, 960)
      // After the best one has stopped there is a moment without a picture, and no more than that.
      const change = widths.lastIndexOf(960)
      const gapMs = (pictures[change + 1]?.atMs ?? Infinity) - (pictures[change]?.atMs ?? 0)
      assert.isBelow(gapMs, 2000)
      assert.isAbove(widths.length - change, 20)
      yield* Effect.logInfo(
        JSON.stringify({ gapMs, pictures: pictures.length, after: widths.length - change })
      )
    }),
  120_000
)
