/** A recording that cannot be computed: it is kept, named wherever one looks, and its id is not used again. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { testCluster } from "../support/testCluster.ts"
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
