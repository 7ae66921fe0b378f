import type { RecordingInfo } from "@ebb/media/protocol"
import { assert, describe, it } from "@effect/vitest"
import { newsOf, stateOf, watchTable } from "../src/cli/recordingView.ts"

const info = (changes: Partial<RecordingInfo> = {}): RecordingInfo => ({
  recordingId: "rec",
  roomId: "room",
  nodeId: "node",
  state: "Capturing",
  startedAt: 1000,
  packets: 0,
  lostPackets: 0,
  tracks: 2,
  ...changes
})

describe("a recording in a word", () => {
  it("says how far it is", () => {
    const paused = { at: 1 }
    const givenUp = { by: "ada", at: 1, reason: "old" }
    const words = [
      info(),
      info({ paused }),
      info({ state: "Sealing" }),
      info({ state: "Sealing", progress: { step: "queued", fraction: 0, position: 3 } }),
      info({ state: "Sealing", progress: { step: "mux", fraction: 0.357 } }),
      info({ state: "Sealing", progress: { step: "a later one", fraction: 1 } }),
      info({ state: "Computed", file: "recording.webm" }),
      info({ state: "Computed" }),
      info({ state: "Failed" }),
      info({ state: "Failed", givenUp }),
      info({ state: "Interrupted" }),
      info({ state: "Of a later version" })
    ].map(stateOf)
    assert.deepStrictEqual(words, [
      "Capturing",
      "Paused",
      "Sealing",
      "Queued, 3.",
      "Computing 35%",
      "Computing 100%",
      "Computed",
      "Computed empty",
      "Failed",
      "Given up",
      "Interrupted",
      "Of a later version"
    ])
  })
})

describe("the table of a watch", () => {
  it("stays within its columns and rows, whatever the names, and counts what has no room", () => {
    const long = "x".repeat(64)
    const all = Array.from({ length: 50 }, (_, i) =>
      info({ recordingId: `${i}${long}`.slice(0, 64), roomId: long, nodeId: long, lostPackets: 10 ** 9 })
    )
    for (const [columns, rows] of [
      [80, 24],
      [200, 10],
      [80, 5]
    ] as const) {
      const lines = watchTable(all, 0, { columns, rows })
      assert.isBelow(lines.length, rows, `${columns} by ${rows}`)
      assert.isBelow(Math.max(...lines.map((line) => line.length)), columns)
      assert.match(lines.at(-1) ?? "", /^… and \d+ more$/)
    }
  })

  it("shows what is on its way first, and then the latest of those that are done", () => {
    const all = [
      info({ recordingId: "done", state: "Computed", computedAt: 5000 }),
      info({ recordingId: "done-later", state: "Computed", computedAt: 6000 }),
      info({ recordingId: "young", startedAt: 3000 }),
      info({ recordingId: "failed", state: "Failed", startedAt: 2000 })
    ]
    const ids = watchTable(all, 10_000, { columns: 80, rows: 24 }).slice(2)
    assert.deepStrictEqual(
      ids.map((line) => line.split(" ")[0]),
      ["failed", "young", "done-later", "done"]
    )
    assert.strictEqual(
      watchTable(all, 0, { columns: 80, rows: 24 })[0],
      "4 recordings, 2 on the way. Ctrl-C ends"
    )
  })
})

describe("news of recordings", () => {
  it("are a change of how one is, that it is there, and that it is gone, and not its packets", () => {
    const first = newsOf(new Map(), [info(), info({ recordingId: "other" })])
    assert.deepStrictEqual(
      first.news.map(({ text }) => text),
      ["rec: Capturing on node, 2 tracks", "other: Capturing on node, 2 tracks"]
    )
    assert.deepStrictEqual(
      newsOf(
        first.now,
        [...first.now.values()].map((each) => ({ ...each, packets: 9 }))
      ).news,
      []
    )
    const failed = info({ state: "Failed", problem: "the disk is gone", lostPackets: 1 })
    const second = newsOf(first.now, [failed])
    assert.deepStrictEqual(second.news, [
      {
        json: { type: "Recording", ...failed },
        text: "rec: Failed on node, 2 tracks, 1 packet lost: the disk is gone"
      },
      { json: { type: "RecordingGone", recordingId: "other" }, text: "other: is gone" }
    ])
  })
})
