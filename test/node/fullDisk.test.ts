/**
 * A disk that is full in mid-recording. The node lives in a mount namespace of its own, in which its data folder is a disk of a few
 * megabytes: nothing of it is left when the node is gone.
 */
import { spawnSync } from "node:child_process"
import { rm, writeFile } from "node:fs/promises"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { type TestCluster, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

/** A node whose data folder is a disk of its own. */
const nodeOnDisk = Effect.fnUntraced(function* (
  cluster: TestCluster,
  disk: { readonly dataDir: string; readonly megabytes: number; readonly args?: ReadonlyArray<string> }
) {
  const { args = [], dataDir, megabytes } = disk
  // As root; elsewhere a user namespace gives what is needed.
  const namespace = process.getuid?.() === 0 ? ["--mount"] : ["--mount", "--map-root-user"]
  // In a changed root that is no mount point there is nothing to make private; what surrounds it has to be.
  const isMountPoint = spawnSync("unshare", [...namespace, "true"]).status === 0
  const privileges = isMountPoint ? namespace : [...namespace, "--propagation", "unchanged"]
  const mount = `mount -t tmpfs -o size=${megabytes}m tmpfs "$0" && exec "$@"`
  const command = [process.execPath, ...ebbNodeArgs(cluster.options("a", { dataDir, args }))]
  return yield* startProgram("unshare", [...privileges, "sh", "-c", mount, dataDir, ...command])
})

it.live(
  "a full disk is told, its gap is counted to the packet, and the node records on when there is room again",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      const dataDir = yield* temporaryFolder
      // Recorded until it is full.
      const node = yield* nodeOnDisk(cluster, { dataDir, megabytes: 4, args: ["--min-free=0"] })
      yield* node.says(/serves \(incarnation/)
      const { sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      const recording = call("recording.get", { recordingId: "talk-1" })
      yield* until(recording, ({ packets }) => packets > 50)
      expect((yield* recording).lostPackets).toBe(0)

      const ballast = `/proc/${node.pid}/root${dataDir}/ballast`
      yield* fill(ballast)
      const { lostPackets } = yield* until(recording, ({ lostPackets }) => lostPackets > 50)
      expect(yield* Effect.flip(startAnother(cluster))).toMatchObject({
        _tag: "StorageUnavailable",
        retry: "safe",
        reason: expect.stringContaining("ENOSPC")
      })
      expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({ life: "Serving", unfinished: [] })
      expect(node.lines.filter((line) => /the disk refuses/.test(line))).toHaveLength(1)
      yield* Effect.promise(() => rm(ballast))

      const before = yield* recording
      yield* until(recording, ({ packets }) => packets > before.packets + 50)
      yield* sender.stop
      const whole = yield* until(recording, (info) => info.packets + info.lostPackets >= sender.packets())
      expect(whole.lostPackets).toBeGreaterThanOrEqual(lostPackets)
      expect(whole.packets + whole.lostPackets).toBe(sender.packets())
      expect(yield* startAnother(cluster)).toMatchObject({ created: true })

      yield* node.signal("SIGTERM")
      yield* call("room.close", { roomId: "talk" })
      yield* call("room.close", { roomId: "other" })
      expect(yield* node.exited).toMatchObject({ code: 0 })
      const b = yield* cluster.node("b")
      const { packets, state, lostPackets: gap } = yield* recording
      expect({ packets, state, gap }).toEqual({
        packets: whole.packets,
        state: "Computed",
        gap: whole.lostPackets
      })
      expect(b.isRunning()).toBe(true)
    })
)

it.live(
  "a recording is refused before the ones that run could want for room, and taken when there is room again",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { call } = cluster
      // For two recordings that are not measured yet, and the floor of a twentieth: not for three.
      const node = yield* nodeOnDisk(cluster, { dataDir: yield* temporaryFolder, megabytes: 1200 })
      yield* node.says(/serves \(incarnation/)
      const start = Effect.fnUntraced(function* (id: string) {
        yield* call("room.create", { roomId: id })
        return yield* call("recording.start", { roomId: id, recordingId: id }, { retryForMs: 0 })
      })
      yield* start("one")
      yield* start("two")
      const refused = yield* Effect.flip(start("three"))
      expect(refused).toMatchObject({ _tag: "StorageUnavailable", retry: "safe" })
      if (refused._tag !== "StorageUnavailable") return
      const { freeBytes = 0, wantedBytes = 0 } = refused
      expect(freeBytes).toBeGreaterThan(1100 * 2 ** 20)
      expect(wantedBytes).toBeGreaterThan(freeBytes)
      const { disk } = yield* call("node.status", { nodeId: "a" })
      expect(disk).toMatchObject({ stalledMs: 0, queuedBytes: 0 })
      expect(disk?.wantedBytes ?? 0).toBeGreaterThan(900e6)
      for (const recordingId of ["one", "two"]) {
        expect(yield* call("recording.get", { recordingId })).toMatchObject({
          state: "Capturing",
          lostPackets: 0
        })
      }
      yield* call("recording.stop", { recordingId: "one" })
      yield* until(call("recording.get", { recordingId: "one" }), ({ state }) => state === "Computed")
      // The name is free, too: the refused one has left nothing behind.
      expect(yield* start("three")).toMatchObject({ created: true })
    })
)

const startAnother = Effect.fnUntraced(function* ({ call }: TestCluster) {
  yield* call("room.create", { roomId: "other" })
  return yield* call("recording.start", { roomId: "other", recordingId: "other-1" }, { retryForMs: 0 })
})

/** To the last byte. */
const fill = (file: string) =>
  Effect.promise(async () => {
    for (let bytes = 1 << 20; bytes > 0; bytes >>= 1) {
      while (
        await writeFile(file, Buffer.alloc(bytes, 1), { flag: "a" }).then(
          () => true,
          () => false
        )
      );
    }
  })
