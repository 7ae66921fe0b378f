/** A copy of a data folder that `ebb-recordings` is run on, in the copy's cluster: it is a backup, and the cluster knows more. */
import { existsSync } from "node:fs"
import { cp, rm } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ebbRecordingsProgram } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

it.live(
  "what a copy of a data folder has is entered only where the cluster has no result, and what was deleted is removed",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const a = yield* cluster.node("a")
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "deleted" })
      yield* call("recording.start", { roomId: "talk", recordingId: "kept" })
      yield* receiver.more(10)
      const ids = ["deleted", "kept"]
      for (const recordingId of ids) yield* call("recording.stop", { recordingId })
      const known = yield* Effect.forEach(ids, (recordingId) =>
        until(call("recording.get", { recordingId }), ({ state }) => state === "Computed")
      )
      const copy = join(cluster.dataDir, "../copy")
      yield* Effect.promise(() => cp(cluster.dataDir, copy, { recursive: true }))
      // As if the backup had been taken before it was computed.
      const journal = join(copy, "incarnations", a.incarnation, "deleted")
      yield* Effect.promise(() => rm(join(journal, "receipt.json")))
      yield* Effect.promise(() => rm(join(copy, "results/deleted"), { recursive: true }))
      yield* call("recording.delete", { recordingId: "deleted", by: "ada", reason: "asked to" })

      const program = yield* startProgram(process.execPath, [ebbRecordingsProgram, copy, "--json"], {
        env: { EBB_NATS: cluster.nats.address, EBB_CLUSTER: cluster.name }
      })
      expect(yield* program.exited).toMatchObject({ code: 0 })
      const lines = program.lines
        .filter((line) => line.startsWith("{"))
        .map((line): unknown => JSON.parse(line))
      expect(lines).toContainEqual(
        expect.objectContaining({ type: "Deleted", recordingId: "deleted", by: "ada", reason: "asked to" })
      )
      expect(lines.at(-1)).toMatchObject({ type: "Result", recovered: 0, alreadyDone: 1, deleted: 1 })
      expect(existsSync(journal)).toBe(false)
      expect(existsSync(join(copy, "results/deleted/recording.webm"))).toBe(false)
      expect(yield* call("recording.get", { recordingId: "kept" })).toEqual(known[1])
    })
)
