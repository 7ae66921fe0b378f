/** A recording that is paused and resumed by command, with real RTP: what is spoken in between is nowhere. */
import { join } from "node:path"
import { readFile } from "node:fs/promises"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { makeJournalParser } from "../../packages/media/src/recording/JournalParser.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const recordsOf = Effect.fnUntraced(function* (folder: string) {
  const bytes = yield* Effect.promise(() => readFile(join(folder, "journal.ebbj")))
  const parser = makeJournalParser()
  return [...parser.push(bytes.subarray(8)), ...parser.end()]
})

it.live("keeps nothing of what comes while it is paused, and goes on when it is resumed", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    yield* cluster.node("a")
    const { receiver, sender } = yield* liveRoom(cluster, "talk", { recordingId: "rec" })
    const recording = call("recording.get", { recordingId: "rec" })
    const { folder = "" } = yield* until(recording, ({ packets }) => packets > 50)

    const paused = yield* call("recording.pause", { recordingId: "rec", by: "ada", reason: "off the record" })
    expect(paused.paused).toMatchObject({ by: "ada", reason: "off the record" })
    // Asked again it is the same pause.
    expect((yield* call("recording.pause", { recordingId: "rec", by: "bob" })).paused).toEqual(paused.paused)
    const heard = receiver.packets()
    yield* until(Effect.sync(receiver.packets), (packets) => packets > heard + 50)
    expect((yield* recording).packets).toBe(paused.packets)

    const resumed = yield* call("recording.resume", { recordingId: "rec", by: "ada" })
    expect(resumed.paused).toBeUndefined()
    expect((yield* call("recording.resume", { recordingId: "rec" })).paused).toBeUndefined()
    yield* until(recording, ({ packets }) => packets > paused.packets + 50)
    yield* sender.stop
    yield* call("recording.stop", { recordingId: "rec" })
    const done = yield* until(recording, ({ state }) => state === "Computed" || state === "Failed")
    expect(done).toMatchObject({ state: "Computed", lostPackets: 0 })

    const records = yield* recordsOf(folder)
    const marks = records.filter(({ _tag }) => _tag === "Pause" || _tag === "Resume")
    expect(marks.map(({ _tag }) => _tag)).toEqual(["Pause", "Resume"])
    expect(marks[0]).toMatchObject({ pause: { by: "ada", reason: "off the record" } })
    const between = records.slice(
      records.findIndex(({ _tag }) => _tag === "Pause"),
      records.findIndex(({ _tag }) => _tag === "Resume")
    )
    expect(between.filter(({ _tag }) => _tag === "Rtp")).toEqual([])

    // Over is over: to pause it is no error, and to resume it would promise something.
    expect((yield* call("recording.pause", { recordingId: "rec" })).state).toBe("Computed")
    const refused = yield* Effect.flip(call("recording.resume", { recordingId: "rec" }))
    expect(refused).toMatchObject({ _tag: "Conflict", retry: "never" })
  })
)

it.live("records what its options say, and is another recording's conflict with others", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    yield* cluster.node("a")
    const room = yield* liveRoom(cluster, "talk")
    const start = { roomId: "talk", recordingId: "rec", options: { kinds: ["audio"] } } as const
    expect(yield* call("recording.start", start)).toMatchObject({
      created: true,
      recording: { options: { kinds: ["audio"] } }
    })
    expect(yield* call("recording.start", start)).toMatchObject({ created: false })
    const refused = yield* Effect.flip(call("recording.start", { roomId: "talk", recordingId: "rec" }))
    expect(refused).toMatchObject({ _tag: "Conflict", problem: "with other options" })

    const recording = call("recording.get", { recordingId: "rec" })
    const { folder = "", tracks } = yield* until(recording, ({ packets }) => packets > 50)
    expect(tracks).toBe(1)
    yield* room.sender.stop
    yield* call("recording.stop", { recordingId: "rec" })
    yield* until(recording, ({ state }) => state === "Computed")
    const kinds = (yield* recordsOf(folder)).flatMap((record) =>
      record._tag === "Track" ? [record.info.kind] : []
    )
    expect(kinds).toEqual(["audio"])
  })
)
