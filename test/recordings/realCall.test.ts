/**
 * A call of two real browsers through a real node, to the receipt and back into a browser: a camera in three layers, a screen, microphones,
 * one who joins late and goes early, and a mute. Recorded twice at once: as one file, and as a grid.
 */
import { assert, expect, it } from "@effect/vitest"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { browserPeer, openBrowser, tokenFor, webRtcEnvironment } from "../support/browser/browserPeer.ts"
import { decodeFile } from "../support/ffprobe.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import { playInBrowser } from "./player.ts"

const Receipt = Schema.fromJsonString(
  Schema.Struct({
    durationMs: Schema.Finite,
    tracks: Schema.Array(
      Schema.Struct({
        producerId: Schema.String,
        peerId: Schema.String,
        source: Schema.String,
        codec: Schema.String,
        clock: Schema.String,
        offsetMs: Schema.Finite,
        durationMs: Schema.Finite,
        frames: Schema.Int,
        shownFrames: Schema.Int,
        lostPackets: Schema.Int,
        sources: Schema.optionalKey(Schema.Array(Schema.Struct({ layer: Schema.Int, packets: Schema.Int })))
      })
    )
  })
)

/** Waits until it is computed, and reads what it came to. */
const computed = Effect.fnUntraced(function* ({ call }: TestCluster, recordingId: string) {
  const {
    file = "",
    problem,
    state
  } = yield* until(
    call("recording.get", { recordingId }),
    (info) => info.state === "Computed" || info.state === "Failed"
  )
  assert.strictEqual(state, "Computed", problem)
  const json = yield* Effect.promise(() => readFile(join(dirname(file), "receipt.json"), "utf8"))
  return { file, receipt: yield* Effect.orDie(Schema.decodeEffect(Receipt)(json)) }
})

it.live(
  "a call of two browsers is recorded with everything in its time, decodes without an error, and plays in a browser to its end",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      yield* cluster.node("a", { env: webRtcEnvironment })
      yield* call("room.create", { roomId: "talk" })
      yield* call("recording.start", { roomId: "talk", recordingId: "call" })
      yield* call("recording.start", {
        roomId: "talk",
        recordingId: "call-grid",
        options: { result: "grid" }
      })
      /** Waits until so many more packets are in the journal. */
      const recorded = Effect.fnUntraced(function* (more: number) {
        const { packets } = yield* call("recording.get", { recordingId: "call" })
        yield* until(call("recording.get", { recordingId: "call" }), (info) => info.packets >= packets + more)
      })

      const browser = yield* openBrowser
      const join = Effect.fnUntraced(function* (peer: string) {
        const token = yield* tokenFor("talk", peer)
        const joined = yield* browserPeer(browser, { call, roomId: "talk", transportId: peer, token })
        yield* joined.open
        return joined
      })
      const ada = yield* join("ada")
      yield* ada.camera({ producerId: "ada-camera", from: "drawn", text: "Ada", hue: 200 })
      yield* ada.screen({ producerId: "ada-screen", text: "her slides" })
      yield* ada.microphone({ producerId: "ada-microphone" })
      yield* recorded(300)
      // Late, and only for a while.
      const bob = yield* join("bob")
      yield* bob.camera({ producerId: "bob-camera", from: "drawn", text: "Bob", hue: 120 })
      yield* bob.microphone({ producerId: "bob-microphone" })
      yield* recorded(200)
      yield* ada.page((peer) => peer.mute("ada-microphone", true))
      yield* recorded(200)
      yield* bob.page((peer) => peer.hangUp())
      yield* ada.page((peer) => peer.mute("ada-microphone", false))
      yield* recorded(200)
      const sent = yield* ada.page((peer) => peer.sent("ada-camera"))
      for (const recordingId of ["call", "call-grid"]) yield* call("recording.stop", { recordingId })

      const { file, receipt } = yield* computed(cluster, "call")
      const trackOf = (producerId: string) => {
        const track = receipt.tracks.find((each) => each.producerId === producerId)
        if (track === undefined) return assert.fail(`there is no ${producerId}`)
        return { ...track, endMs: track.offsetMs + track.durationMs }
      }
      expect(
        receipt.tracks.map(({ codec, peerId, producerId, source }) => [producerId, peerId, source, codec])
      ).toEqual([
        ["ada-camera", "ada", "camera", "video/VP8"],
        ["ada-screen", "ada", "screen", "video/VP8"],
        ["ada-microphone", "ada", "microphone", "audio/opus"],
        ["bob-camera", "bob", "camera", "video/VP8"],
        ["bob-microphone", "bob", "microphone", "audio/opus"]
      ])
      for (const { frames, lostPackets, producerId } of receipt.tracks) {
        assert.isAbove(frames, 0, producerId)
        assert.strictEqual(lostPackets, 0, producerId)
      }
      // Chromium sends its first one for sound after some seconds only.
      for (const producerId of ["ada-camera", "ada-screen"]) {
        assert.strictEqual(trackOf(producerId).clock, "senderReports", producerId)
      }
      // Every layer that the browser sent is in the journal.
      const layers = trackOf("ada-camera").sources ?? []
      assert.strictEqual(layers.length, sent.filter(({ packets }) => packets > 0).length)
      assert.isTrue(layers.every(({ packets }) => packets > 0))
      const [ada_, bob_] = [trackOf("ada-camera"), trackOf("bob-camera")]
      assert.isAbove(bob_.offsetMs, ada_.offsetMs + 500)
      assert.isBelow(bob_.endMs, ada_.endMs - 500)
      // A mute is silence in its place, not a shorter track.
      const microphone = trackOf("ada-microphone")
      assert.closeTo(microphone.endMs, ada_.endMs, 500)

      const decoded = yield* decodeFile(file)
      assert.strictEqual(decoded.complaints, "")
      const shown = (source: string) =>
        receipt.tracks
          .filter((track) => track.codec.startsWith(source))
          .reduce((sum, each) => sum + each.shownFrames, 0)
      assert.deepInclude(decoded, { video: shown("video"), audio: shown("audio") })

      const grid = yield* computed(cluster, "call-grid")
      assert.strictEqual((yield* decodeFile(grid.file)).complaints, "")
      // Into the time when both were there.
      const seekToMs = bob_.offsetMs + bob_.durationMs / 2
      const all = yield* Effect.forEach([file, grid.file], (each) =>
        playInBrowser(browser, {
          file: each,
          seekToMs,
          picture: each === grid.file ? process.env["EBB_PICTURE"] : undefined
        })
      )
      for (const played of all) {
        assert.closeTo(played.durationMs, receipt.durationMs, 500)
        assert.closeTo(played.soughtMs, seekToMs, 100)
        assert.closeTo(played.endedMs, played.durationMs, 100)
        // At least the screen's pace.
        assert.isAbove(played.frames, ((played.durationMs - seekToMs) / 1000) * 4)
        assert.isAbove(played.colours, 10)
      }
      yield* Effect.logInfo(
        JSON.stringify({
          tracks: receipt.tracks.map(({ durationMs, frames, offsetMs, producerId }) => [
            producerId,
            frames,
            Math.round(offsetMs),
            Math.round(durationMs)
          ]),
          layers: layers.map(({ packets }) => packets),
          played: all
        })
      )
    }),
  240_000
)
