/** A node whose results go to a bucket: by a server of S3 that is not ours. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isStored, s3Server } from "../../packages/media/test/recording/s3/s3Server.ts"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

it.live(
  "a node stores into a bucket, starts though it is away, and deletes there; it does not start on one that refuses it",
  () =>
    Effect.gen(function* () {
      const s3 = yield* s3Server()
      const cluster = yield* testCluster
      const { call } = cluster
      const inBucket = { env: s3.env, args: ["--store", `s3://${s3.bucket}/live`] }

      const refused = yield* startProgram(
        process.execPath,
        ebbNodeArgs(cluster.options("nobody", inBucket)),
        { env: { ...s3.env, AWS_ACCESS_KEY_ID: "nobody", AWS_SECRET_ACCESS_KEY: "secret-of-mine" } }
      )
      expect(yield* refused.exited).toMatchObject({ code: 1 })
      expect(refused.lines.join("\n")).toMatch(/InvalidAccessKeyId.*look at AWS_ACCESS_KEY_ID/)
      expect(refused.lines.join("\n")).not.toContain("secret-of-mine")

      yield* s3.setAway(true)
      const a = yield* cluster.node("a", inBucket)
      yield* a.says(/no result can be stored now: .*cannot be reached/)
      const { receiver } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* receiver.more(10)
      yield* s3.setAway(false)
      yield* call("recording.stop", { recordingId: "talk-1" })
      const computed = yield* until(
        call("recording.get", { recordingId: "talk-1" }),
        ({ state }) => state === "Computed"
      )
      const name = `recording-0-${a.incarnation}.webm`
      expect(computed.file).toBe(`s3://${s3.bucket}/live/talk-1/${name}`)
      const content = readFileSync(s3.file(`live/talk-1/${name}`))
      expect(createHash("sha256").update(content).digest("hex")).toBe(computed.sha256)
      expect(isStored(s3, `live/talk-1/receipt-0-${a.incarnation}.json`)).toBe(true)
      expect(existsSync(join(cluster.dataDir, "results"))).toBe(false)

      yield* call("recording.delete", { recordingId: "talk-1", reason: "test" })
      expect(isStored(s3, `live/talk-1/${name}`)).toBe(false)
      expect(isStored(s3, "live/talk-1/deleted.json")).toBe(true)
      yield* call("room.close", { roomId: "talk" })
      yield* a.signal("SIGTERM")
      expect(yield* a.exited).toMatchObject({ code: 0 })
    })
)
