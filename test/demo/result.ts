/** What the demo found, as figures and as a verdict. Every figure comes from the asking client or from files, not from a node's word. */
import type { Asked } from "./askingClient.ts"
import type { Checked } from "./checkRecordings.ts"
import type { MediaRoom } from "./MediaRoom.ts"
import type { Seen } from "./Observer.ts"
import { instanceTimes } from "./Observer.ts"

export interface DemoResult {
  readonly ok: boolean
  readonly problems: ReadonlyArray<string>
  readonly nodesReplaced: number
  readonly spawnsAsked: number
  readonly spawnsFailed: number
  readonly slowestSpawnMs: number
  readonly roomsCut: number
  /** Media rooms alive on a node when it was told to drain, all nodes together. */
  readonly roomsLiveAtDrain: number
  readonly recordingsStarted: number
  readonly recordingsComputed: number
  readonly recordingsLost: number
  /** Video frames sent to recorded producers while recorded, and decoded from the results. */
  readonly framesSent: number
  readonly framesRecorded: number
  readonly audioFramesSent: number
  readonly audioFramesRecorded: number
  readonly sentSeconds: number
  readonly recordedSeconds: number
  /** The slowest node: SIGTERM to the first room it refused. */
  readonly drainAckMsMax: number
  /** The slowest node: its last room closed and its last receipt written, to its process gone. */
  readonly exitAfterLastMs: number
  readonly versionsSeen: ReadonlyArray<string>
  readonly versionsAtEnd: ReadonlyArray<string>
  readonly seconds: number
  readonly folder: string
}

export interface Evidence {
  readonly oldNodes: ReadonlyArray<string>
  readonly instances: string
  readonly seen: Seen
  readonly asked: Asked
  readonly rooms: ReadonlyArray<MediaRoom>
  readonly checked: ReadonlyArray<Checked>
  readonly liveAtDrain: ReadonlyMap<string, number>
  readonly rolloutCode: number
  readonly rolloutComplaint: string
  readonly toVersion: string
  readonly seconds: number
  readonly folder: string
}

const round = (value: number) => Math.round(value * 100) / 100
const sum = <A>(all: ReadonlyArray<A>, of: (each: A) => number) =>
  all.reduce((total, each) => total + of(each), 0)

export const judge = (evidence: Evidence): DemoResult => {
  const { asked, checked, instances, liveAtDrain, oldNodes, rooms, seen } = evidence
  const times = oldNodes.map((nodeId) => ({ nodeId, ...instanceTimes(instances, nodeId) }))
  const gone = times.filter(({ goneAtMs }) => goneAtMs !== undefined)
  const acks = times.map(
    ({ nodeId, signalledAtMs }) =>
      (seen.refusedAtMs.get(nodeId) ?? Number.NaN) - (signalledAtMs ?? Number.NaN)
  )
  const exits = gone.map(({ goneAtMs, nodeId }) => {
    const own = rooms.filter((room) => room.nodeId === nodeId)
    const receipts = checked.filter(({ recordingId }) => own.some((room) => room.recordingId === recordingId))
    const last = Math.max(
      ...own.map((room) => room.closedAtMs ?? 0),
      ...receipts.map(({ receiptAtMs }) => receiptAtMs ?? 0)
    )
    return (goneAtMs ?? 0) - last
  })
  const cut = rooms.filter((room) => room.cut !== undefined)
  const broken = checked.filter(({ problem }) => problem !== "")
  const lost = checked.filter(({ file }) => file === undefined)
  const versionsAtEnd = [...new Set(seen.nodes.map(({ version }) => version))]

  const problems = [
    ...(evidence.rolloutCode === 0
      ? []
      : [`the rollout ended with ${evidence.rolloutCode}: ${evidence.rolloutComplaint}`]),
    ...(gone.length === oldNodes.length ? [] : [`${gone.length} of ${oldNodes.length} nodes were replaced`]),
    ...asked.problems,
    ...cut.map((room) => `room ${room.roomId} was cut: ${room.cut}`),
    ...broken.map(({ problem, recordingId }) => `recording ${recordingId}: ${problem}`),
    ...oldNodes
      .filter((nodeId) => (liveAtDrain.get(nodeId) ?? 0) === 0)
      .map((nodeId) => `no recorded room was live when ${nodeId} drained`),
    ...(acks.every(Number.isFinite) ? [] : ["not every node was seen to refuse a room after its SIGTERM"]),
    ...(versionsAtEnd.length === 1 && versionsAtEnd[0] === evidence.toVersion
      ? []
      : [`versions at the end: ${versionsAtEnd.join(", ")}`])
  ]
  return {
    ok: problems.length === 0 && asked.failed === 0 && asked.cut === 0,
    problems,
    nodesReplaced: gone.length,
    spawnsAsked: asked.asked,
    spawnsFailed: asked.failed,
    slowestSpawnMs: Math.round(asked.slowestMs),
    roomsCut: cut.length + asked.cut,
    roomsLiveAtDrain: sum([...liveAtDrain.values()], (count) => count),
    recordingsStarted: checked.length,
    recordingsComputed: checked.filter(({ receiptAtMs }) => receiptAtMs !== undefined).length,
    recordingsLost: lost.length,
    framesSent: sum(checked, (each) => each.framesSent),
    framesRecorded: sum(checked, (each) => each.framesRecorded),
    audioFramesSent: sum(checked, (each) => each.audioFramesSent),
    audioFramesRecorded: sum(checked, (each) => each.audioFramesRecorded),
    sentSeconds: round(sum(checked, (each) => each.sentSeconds)),
    recordedSeconds: round(sum(checked, (each) => each.recordedSeconds)),
    drainAckMsMax: Math.round(Math.max(...acks)),
    exitAfterLastMs: Math.round(Math.max(...exits)),
    versionsSeen: [...seen.versions].toSorted(),
    versionsAtEnd,
    seconds: Math.round(evidence.seconds),
    folder: evidence.folder
  }
}

/** For a person, within 80 columns. */
export const summary = (result: DemoResult): string => {
  const row = (what: string, value: string | number) => `  ${what.padEnd(38)}${value}`
  return [
    "",
    result.ok ? "Nothing failed, nothing was cut, nothing was lost." : "SOMETHING WENT WRONG:",
    ...result.problems.map((problem) => `  - ${problem}`),
    "",
    row("nodes replaced", result.nodesReplaced),
    row("versions seen side by side", result.versionsSeen.join(", ")),
    row("new rooms asked for, failed", `${result.spawnsAsked}, ${result.spawnsFailed}`),
    row("slowest new room", `${result.slowestSpawnMs} ms`),
    row("rooms live when their node drained", result.roomsLiveAtDrain),
    row("rooms cut", result.roomsCut),
    row(
      "recordings started, computed, lost",
      `${result.recordingsStarted}, ${result.recordingsComputed}, ${result.recordingsLost}`
    ),
    row("video frames sent, recorded", `${result.framesSent}, ${result.framesRecorded}`),
    row("audio frames sent, recorded", `${result.audioFramesSent}, ${result.audioFramesRecorded}`),
    row("seconds sent, recorded", `${result.sentSeconds}, ${result.recordedSeconds}`),
    row("SIGTERM to first refusal", `${result.drainAckMsMax} ms at most`),
    row("last child gone to process gone", `${result.exitAfterLastMs} ms at most`),
    row("time", `${result.seconds} s`),
    row("recordings, journals and logs in", ""),
    `    ${result.folder}`,
    ""
  ].join("\n")
}
