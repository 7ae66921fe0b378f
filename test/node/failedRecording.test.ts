/** A recording that cannot be computed: it is kept, named wherever one looks, and its id is not used again. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ebbRecordingsProgram } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

/** A PATH whose ffprobe finds fault with every file. */
const pathOfBadFfprobe = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const script = `#!/bin/sh\ncase "$*" in *-version*) echo 'ffprobe version 0' ;; *) echo 'it is broken' >&2; exit 1 ;; esac\n`
  yield* Effect.promise(() => writeFile(join(folder, "ffprobe"), script, { mode: 0o755 }))
  return `${folder}:${process.env["PATH"]}`
})

it.live("a failed recording is named with its reason until it is computed, and its id is a Conflict", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const env = { PATH: yield* pathOfBadFfprobe }
    const a = yield* cluster.node("a", { env })
    const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* receiver.more(10)
    yield* call("recording.stop", { recordingId: "talk-1" })
    yield* a.says(/talk-1 is not finished/)
    const info = yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ state }) => state === "Failed"
    )
    expect(info.problem).toMatch(/does not verify/)
    expect(yield* call("recording.list", {})).toEqual({ recordings: [info] })

    const again = { roomId: "talk", recordingId: "talk-1" }
    expect(yield* Effect.flip(call("recording.start", again))).toMatchObject({
      _tag: "Conflict",
      problem: `it is Failed: ${info.problem}`
    })
    const atNode = yield* until(
      Effect.flip(cluster.actorOf(a).ask("StartRecording", again)),
      // Until the failed one has ended, its name is busy.
      ({ _tag }) => _tag !== "MediaUnavailable"
    )
    expect(atNode).toMatchObject({
      _tag: "Conflict",
      retry: "never",
      problem: expect.stringContaining("there is a journal")
    })
    yield* a.signal("SIGTERM")
    yield* call("room.close", { roomId: "talk" })
    expect(yield* a.exited).toMatchObject({ code: 4 })
    yield* a.says(/ERROR.*talk-1 is unfinished.*does not verify/)

    // Whoever adopts it and fares no better says so as of its own.
    const b = yield* cluster.node("b", { env })
    const { unfinished } = yield* until(
      call("node.status", { nodeId: "b" }),
      ({ unfinished }) => unfinished.length > 0
    )
    expect(unfinished).toEqual([{ recordingId: "talk-1", problem: expect.stringMatching(/does not verify/) }])
    yield* b.signal("SIGTERM")
    expect(yield* b.exited).toMatchObject({ code: 4 })
    yield* cluster.node("c")
    yield* until(call("recording.get", { recordingId: "talk-1" }), ({ state }) => state === "Computed")
  })
)

const recordings = (cluster: TestCluster, ...args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const program = yield* startProgram(process.execPath, [ebbRecordingsProgram, cluster.dataDir, ...args], {
      env: { EBB_NATS: cluster.nats.address, EBB_CLUSTER: cluster.name }
    })
    const { code } = yield* program.exited
    return { code, said: program.lines.join("\n") }
  }).pipe(Effect.scoped)

it.live(
  "a failed recording that is given up holds no node up any more, says by whom and why, and can be computed by hand",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const env = { PATH: yield* pathOfBadFfprobe }
      const a = yield* cluster.node("a", { env })
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      const giveUp = ["--give-up=talk-1", "--reason=-the camera was broken", "--by=ada"]
      const early = yield* recordings(cluster, ...giveUp, "--yes")
      expect(early).toMatchObject({ code: 4, said: expect.stringContaining("its process lives") })
      yield* call("recording.stop", { recordingId: "talk-1" })
      yield* a.says(/talk-1 is not finished/)
      const unfinished = Effect.map(call("node.status", { nodeId: "a" }), (status) => status.unfinished)
      // It says so just before it ends.
      yield* until(unfinished, ({ length }) => length === 1)

      // Without --yes nothing happens.
      expect(yield* recordings(cluster, ...giveUp)).toMatchObject({ code: 64 })
      expect(yield* unfinished).toHaveLength(1)
      const given = yield* recordings(cluster, ...giveUp, "--yes")
      expect(given).toMatchObject({
        code: 0,
        said: expect.stringMatching(
          /talk-1: given up by ada at .*its journal is kept.*: -the camera was broken/
        )
      })
      expect(yield* unfinished).toEqual([])
      const info = yield* call("recording.get", { recordingId: "talk-1" })
      expect(info).toMatchObject({
        state: "Failed",
        problem: expect.stringMatching(
          /^given up by ada: -the camera was broken; it had failed: .*does not verify/
        ),
        givenUp: { by: "ada", reason: "-the camera was broken" }
      })
      yield* call("room.close", { roomId: "talk" })
      yield* a.signal("SIGTERM")
      expect(yield* a.exited).toMatchObject({ code: 0 })

      const b = yield* cluster.node("b", { env })
      yield* call("room.create", { roomId: "talk" })
      expect(yield* call("recording.list", {})).toEqual({ recordings: [info] })
      const again = { roomId: "talk", recordingId: "talk-1" }
      expect(yield* Effect.flip(call("recording.start", again))).toMatchObject({
        _tag: "Conflict",
        problem: `it is Failed: ${info.problem}`
      })
      yield* call("room.close", { roomId: "talk" })
      yield* b.signal("SIGTERM")
      expect(yield* b.exited).toMatchObject({ code: 0 })

      expect(yield* recordings(cluster)).toMatchObject({
        code: 0,
        said: expect.stringContaining("1 given up, 0 failed")
      })
      expect(yield* recordings(cluster, "--given-up")).toMatchObject({
        code: 0,
        said: expect.stringContaining("talk-1: computed")
      })
      yield* cluster.node("c")
      expect(yield* call("recording.get", { recordingId: "talk-1" })).toMatchObject({ state: "Computed" })
    })
)
