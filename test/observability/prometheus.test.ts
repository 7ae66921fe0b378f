/** What a node lets others see, read by Debian's Prometheus: each figure changes because of what the test does. */
import { RoomProtocol } from "@ebb/media/protocol"
import { assert, expect, it } from "@effect/vitest"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { testCluster } from "../support/testCluster.ts"
import { prometheusOf } from "./prometheusServer.ts"

const get = (address: string, path: string) =>
  Effect.promise(async () => {
    const response = await fetch(`http://${address}${path}`)
    return { status: response.status, text: await response.text() }
  })

it.live(
  "Prometheus sees a room, its recording, a message that was dropped, a drain, who holds it up, and its end",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const { actorOf, call, node, system } = cluster
      const a = yield* node("a", { args: ["--metrics=0", "--release=v7"] })
      const address = /http:\/\/(\S+)\/metrics/.exec(yield* a.says(/metrics at/))?.[1] ?? ""
      assert.match(address, /^127\.0\.0\.1:\d+$/)
      expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({ metrics: address })

      const { shows, value } = yield* prometheusOf(address)
      yield* shows("up", 1)
      yield* shows("ebb_rooms", 0)
      expect(yield* value('ebb_node_info{version="v7"}')).toBe(1)
      expect(yield* value("ebb_nats_connected * ebb_node_ready")).toBe(1)
      expect(yield* get(address, "/readyz")).toMatchObject({ status: 200 })

      const { sender } = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
      yield* shows("ebb_rooms", 1)
      yield* shows('ebb_actors{kind="room",state="Serving"}', 1)
      yield* shows('ebb_recordings{state="Capturing"}', 1)
      yield* shows('ebb_commands_total{command="room.create",outcome="ok"}', 1)
      yield* shows('ebb_command_seconds_count{command="producer.add"}', 2)
      yield* shows('ebb_asks_total{kind="node",tag="OpenRoom",outcome="ok"}', 1)

      yield* shows("ebb_recorded_packets_total > bool 0", 1)
      expect(yield* value("ebb_disk_free_bytes < bool ebb_disk_size_bytes")).toBe(1)
      yield* call("recording.start", { recordingId: "talk-2", roomId: "talk" })
      yield* call("recording.stop", { recordingId: "talk-2" })
      yield* shows('ebb_computations_total{outcome="computed"}', 1)
      yield* shows('ebb_computation_seconds_total{outcome="computed"} > bool 0', 1)
      yield* shows("sum(ebb_computing) + sum(ebb_compute_wait_seconds)", 0)
      expect(yield* value("ebb_recording_lost_packets_total + ebb_recording_gaps_total")).toBe(0)
      yield* Effect.flip(actorOf(a).ask("StartRecording", { recordingId: "talk-3", roomId: "nowhere" }))
      yield* shows('ebb_recordings_refused_total{error="NotFound"}', 1)

      const nobody = { kind: "room", id: "nobody", incarnation: a.incarnation }
      yield* Effect.flip(system.ref(RoomProtocol, nobody).ask("Get", undefined))
      yield* shows('ebb_dead_letters_total{reason="noActor"}', 1)
      yield* shows('ebb_refusals_total{error="NoSuchActor"}', 1)

      yield* call("node.drain", { nodeId: "a", by: "operator", reason: "a test" })
      yield* shows('ebb_drain_blockers{kind="room"}', 1)
      yield* shows('ebb_drain_phase_seconds{kind="node"} > bool 0', 1)
      yield* shows("ebb_node_ready", 0)
      expect(yield* get(address, "/readyz")).toEqual({
        status: 503,
        text: "not ready for new rooms: life=Draining admission=closed control=connected\n"
      })
      expect(yield* get(address, "/healthz")).toMatchObject({ status: 200 })
      const late = actorOf(a).ask("OpenRoom", { roomId: "late", options: {} })
      expect(yield* Effect.flip(late)).toMatchObject({ _tag: "NodeDraining" })
      yield* shows('ebb_refusals_total{error="NodeDraining"}', 1)
      yield* promtool(["check", "metrics"], (yield* get(address, "/metrics")).text)

      yield* sender.stop
      yield* call("room.close", { roomId: "talk" })
      expect(yield* a.exited).toMatchObject({ code: 0 })
      yield* shows("up", 0)
      expect(yield* value('max_over_time(ebb_recordings_ended_total{outcome="failed"}[1m])')).toBe(0)
    })
)

it.live("the alerts of docs/alerts.yml fire when they should, and only then, says promtool", () =>
  Effect.gen(function* () {
    const rules = join(import.meta.dirname, "../../docs/alerts.yml")
    const alert = (
      alertname: string,
      minutes: number,
      values: Record<string, string>,
      summary?: string,
      labels: Record<string, string> = {}
    ) => ({
      interval: "1m",
      input_series: Object.entries(values).map(([series, each]) => ({ series, values: each })),
      alert_rule_test: [
        {
          eval_time: `${minutes}m`,
          alertname,
          exp_alerts:
            summary === undefined
              ? []
              : [{ exp_labels: { instance: "a", severity: "page", ...labels }, exp_annotations: { summary } }]
        }
      ]
    })
    const drain = (blockers: string) => ({
      'ebb_drain_blockers{instance="a",kind="room"}': blockers,
      'ebb_drain_phase_seconds{instance="a",kind="node"}': "0 0 0 0 0 0+60x40"
    })
    const unfinished = (values: string) => ({ 'ebb_recordings_unfinished{instance="a"}': values })
    const leaseAge = (values: string) => ({ 'ebb_lease_age_seconds{instance="a"}': values })
    /** Scraped for five minutes, and then not. */
    const gone = (drain: string) => ({
      'up{instance="a",job="ebb"}': "1x5 0x20",
      'ebb_node_info{instance="a",job="ebb",version="v1"}': "1x5 stale",
      'ebb_drain_phase_seconds{instance="a",job="ebb",kind="node"}': `${drain} stale`
    })
    const connected = (values: string) => ({ 'ebb_nats_connected{instance="a"}': values })
    /** Of 100 bytes. */
    const disk = (free: string, wanted = "1x60") => ({
      'ebb_disk_wanted_bytes{instance="a"}': wanted,
      'ebb_disk_free_bytes{instance="a"}': free,
      'ebb_disk_size_bytes{instance="a"}': "100x60"
    })
    const tests = [
      alert(
        "EbbDrainStuck",
        30,
        drain("0 0 0 0 0 4x40"),
        "a drains, and 4 still hold it up: node.status names them"
      ),
      // One less every five minutes: it goes on.
      alert("EbbDrainStuck", 30, drain("0 0 0 0 0 9x4 8x4 7x4 6x4 5x4 4x4")),
      alert("EbbRecordingUnfinished", 10, unfinished("0 1x20"), "a has 1 recordings without a receipt"),
      alert("EbbRecordingUnfinished", 10, unfinished("0x20")),
      alert(
        "EbbLeaseNotRenewed",
        5,
        leaseAge("2 2 9 69 129 189"),
        "a has not renewed its lease for 189 s: is NATS there?"
      ),
      alert("EbbLeaseNotRenewed", 5, leaseAge("1 3 2 4 1 3")),
      alert("EbbNodeDown", 8, gone("0x5"), "a is gone: its recordings wait for a start on its data folder", {
        job: "ebb"
      }),
      // It was drained.
      alert("EbbNodeDown", 8, gone("0 0 0 0 9 69")),
      alert("EbbNodeDown", 8, { 'up{instance="a",job="somebody else"}': "1 1 1 0x20" }),
      alert("EbbNodeIsolated", 5, connected("1 1 0x10"), "a has no connection to NATS"),
      alert("EbbNodeIsolated", 5, connected("1 1 0 1x10")),
      alert("EbbDiskFillsUp", 5, disk("9x60"), "the disk of a's data folder fills up"),
      alert("EbbDiskFillsUp", 50, disk("78-1x60"), "the disk of a's data folder fills up"),
      alert("EbbDiskFillsUp", 50, disk("90-1x60")),
      alert("EbbDiskFillsUp", 50, disk("20x60")),
      alert("EbbDiskFillsUp", 5, disk("50x60", "45x60"), "the disk of a's data folder fills up"),
      alert(
        "EbbRecordingGap",
        5,
        { 'ebb_recording_lost_packets_total{instance="a"}': "0 0 7x10" },
        "a lost packets of recordings: its disk refuses or stalls"
      ),
      alert("EbbRecordingGap", 5, { 'ebb_recording_lost_packets_total{instance="a"}': "7x10" }),
      alert(
        "EbbRecordingRefused",
        5,
        { 'ebb_recordings_refused_total{instance="a",error="StorageUnavailable"}': "0 0 1x10" },
        "a refuses recordings: its disk is full or fails"
      ),
      alert("EbbRecordingRefused", 5, {
        'ebb_recordings_refused_total{instance="a",error="NotFound"}': "0 0 1x10"
      }),
      alert(
        "EbbComputeBacklog",
        45,
        { 'ebb_compute_wait_seconds{instance="a"}': "0+60x60" },
        "a computes recordings more slowly than they come"
      ),
      alert("EbbComputeBacklog", 45, { 'ebb_compute_wait_seconds{instance="a"}': "900x60" }),
      alert(
        "EbbCommandsRefused",
        20,
        { 'ebb_commands_total{instance="a",command="room.list",outcome="MailboxFull"}': "0+120x60" },
        "somebody asks a for too many room.list",
        { command: "room.list" }
      ),
      alert("EbbCommandsRefused", 20, {
        'ebb_commands_total{instance="a",command="room.list",outcome="MailboxFull"}': "0 0 300x60",
        'ebb_commands_total{instance="a",command="room.get",outcome="NotFound"}': "0+600x60"
      })
    ]
    const file = join(yield* temporaryFolder, "tests.yml")
    yield* Effect.promise(() => writeFile(file, JSON.stringify({ rule_files: [rules], tests })))
    yield* promtool(["check", "rules", rules])
    yield* promtool(["test", "rules", file])
  })
)

/** Ends with 0, or says why not. */
const promtool = Effect.fnUntraced(function* (args: ReadonlyArray<string>, input = "") {
  const program = yield* startProgram("promtool", args, { input: true })
  yield* program.types(input)
  yield* program.ends
  const { code } = yield* program.exited
  assert.strictEqual(code, 0, program.lines.join("\n"))
})
