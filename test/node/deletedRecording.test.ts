/** Deleting a recording: what goes, what stays, and that nothing brings it back. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { cp, rm } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { testCluster } from "../support/testCluster.ts"
import { until, untilTrue } from "../support/until.ts"

const word = { recordingId: "talk-1", by: "ada", reason: "asked to by a participant" }

it.live(
  "a deleted recording is gone with its journal, and who did it and why stays; nothing brings it back",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      expect(yield* Effect.flip(call("recording.delete", { ...word, recordingId: "nobody" }))).toMatchObject({
        _tag: "NotFound"
      })
      expect(yield* Effect.flip(call("recording.delete", word))).toMatchObject({
        _tag: "Conflict",
        problem: expect.stringMatching(/^it is Capturing/)
      })
      yield* call("recording.stop", { recordingId: "talk-1" })
      const computed = yield* until(
        call("recording.get", { recordingId: "talk-1" }),
        ({ state }) => state === "Computed"
      )
      const journal = join(cluster.dataDir, "incarnations", a.incarnation, "talk-1")
      const copy = join(cluster.dataDir, "copy")
      yield* Effect.promise(() => cp(journal, copy, { recursive: true }))

      const { journals, left, recording } = yield* call("recording.delete", word)
      expect({ journals, left }).toEqual({ journals: 1, left: [] })
      const { by, reason } = word
      expect(recording).toMatchObject({ state: "Deleted", deleted: { by, reason }, sha256: computed.sha256 })
      expect(recording.file).toBeUndefined()
      expect(existsSync(journal)).toBe(false)
      const folder = join(cluster.dataDir, "results", "talk-1")
      expect(readdirSync(folder).toSorted()).toEqual([".lock", "deleted.json"])
      const noted: unknown = JSON.parse(readFileSync(join(folder, "deleted.json"), "utf8"))
      expect(noted).toMatchObject({
        ...word,
        roomId: "talk",
        nodeId: "a",
        files: [{ name: "recording.webm", bytes: computed.bytes, sha256: computed.sha256 }]
      })

      expect(yield* call("recording.list", {})).toEqual({ recordings: [] })
      expect(yield* call("recording.list", { deleted: true })).toEqual({ recordings: [recording] })
      // The first word counts.
      expect(yield* call("recording.delete", { ...word, by: "bob", reason: "too" })).toEqual({
        recording,
        journals: 0,
        left: []
      })
      const again = { roomId: "talk", recordingId: "talk-1" }
      expect(yield* Effect.flip(call("recording.start", again))).toMatchObject({
        _tag: "Conflict",
        problem: "it was deleted by ada"
      })

      // Its journal turns up again, of a process that is dead: from a backup.
      yield* call("room.close", { roomId: "talk" })
      yield* a.signal("SIGTERM")
      expect(yield* a.exited).toMatchObject({ code: 0 })
      const returned = join(cluster.dataDir, "incarnations", a.incarnation, "talk-1")
      yield* Effect.promise(() => cp(copy, returned, { recursive: true }))
      const b = yield* cluster.node("b")
      yield* b.says(/talk-1 is removed: the recording was deleted by ada/)
      expect(existsSync(returned)).toBe(false)
      expect(yield* call("recording.list", { deleted: true })).toEqual({ recordings: [recording] })
      expect(readdirSync(folder).toSorted()).toEqual([".lock", "deleted.json"])
    })
)

it.live(
  "a policy deletes results that are older than it says, says so, and never deletes what has no receipt",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      yield* call("recording.stop", { recordingId: "talk-1" })
      yield* until(call("recording.get", { recordingId: "talk-1" }), ({ state }) => state === "Computed")
      yield* call("room.close", { roomId: "talk" })
      yield* a.signal("SIGTERM")
      yield* a.exited
      const incarnations = join(cluster.dataDir, "incarnations")
      const uncomputed = join(incarnations, "elsewhere", "talk-1")
      const copy = join(cluster.dataDir, "copy")
      yield* Effect.promise(() => cp(join(incarnations, a.incarnation, "talk-1"), copy, { recursive: true }))
      yield* Effect.promise(() => rm(join(copy, "receipt.json")))
      const b = yield* cluster.node("b", { args: ["--keep-results", "0"] })
      const { recordings } = yield* until(
        call("recording.list", { deleted: true }),
        ({ recordings }) => recordings.length > 0
      )
      expect(recordings).toMatchObject([
        {
          recordingId: "talk-1",
          deleted: { by: "the policy of node b", reason: "kept for 0 hours", policy: true }
        }
      ])
      yield* until(
        Effect.sync(() => readdirSync(join(cluster.dataDir, "results", "talk-1")).length),
        (length) => length === 2
      )
      yield* untilTrue(() => !existsSync(join(incarnations, a.incarnation, "talk-1")))
      yield* b.signal("SIGTERM")
      expect(yield* b.exited).toMatchObject({ code: 0 })

      // A part that nobody had computed was not meant.
      yield* Effect.promise(() => cp(copy, uncomputed, { recursive: true }))
      yield* cluster.node("c")
      const { unfinished } = yield* until(
        call("node.status", { nodeId: "c" }),
        ({ unfinished }) => unfinished.length > 0
      )
      expect(unfinished).toMatchObject([
        { recordingId: "talk-1", problem: expect.stringContaining("deleted by the policy of node b") }
      ])
      expect(readdirSync(uncomputed)).toContain("journal.ebbj")
    })
)
