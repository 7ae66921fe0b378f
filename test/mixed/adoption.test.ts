/** A recording that one version has begun, and whose process was killed, is finished by the other, to the last packet that had come. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { releaseVersions } from "../support/release.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import { bothSides, roomOn, type Side } from "./sides.ts"

it.live.each(releaseVersions)(
  "the journals of a killed node: those of this build by %s, and the other way around",
  (version) =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { current, released } = yield* bothSides(cluster, version)
      const handOver = Effect.fnUntraced(function* (from: Side, to: Side) {
        const id = `${from.name}-to-${to.name}`
        const dataDir = `${cluster.dataDir}-${id}`
        const node = yield* cluster.node(from.name, { program: from.program, dataDir })
        yield* roomOn(from, node.nodeId, id)
        const { receiver, sender } = yield* liveRoom(to, id, { recordingId: id })
        yield* receiver.more(25)
        const { packets: known } = yield* to.call("recording.get", { recordingId: id })
        yield* node.signal("SIGKILL")
        yield* node.exited

        const heir = yield* cluster.node(`heir-of-${from.name}`, { program: to.program, dataDir })
        const info = yield* until(
          from.call("recording.get", { recordingId: id }),
          ({ state }) => state === "Computed"
        )
        const check = yield* recordedAgainstSent(info, sender)
        assert.deepStrictEqual(check.recorded, check.sent)
        assert.deepInclude(check, { lostPackets: 0, complaints: "" })
        assert.isAtLeast(check.packets, known)
        assert.strictEqual(check.receipt.computedBy, heir.nodeId)
        assert.deepInclude(check.receipt.parts[0], { nodeId: node.nodeId, gapPackets: 0, damagedRecords: 0 })
        assert.notProperty(check.receipt.parts[0], "sealed")
      })
      yield* Effect.all([handOver(released, current), handOver(current, released)], { concurrency: 2 })
    }),
  60_000
)
