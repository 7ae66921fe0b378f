/** Recordings as a person reads them: a word for how each is, a table that fits into a terminal, and what changed since the last look. */
import type { RecordingInfo } from "@ebb/media/protocol"
import * as DateTime from "effect/DateTime"
import { align, count, duration, type Json } from "./output.ts"

/** How it is, in a word or two. A word of a later version is shown as it is. */
export const stateOf = ({ file, givenUp, paused, progress, state }: RecordingInfo): string => {
  if (state === "Failed" && givenUp !== undefined) return "Given up"
  if (state === "Capturing" && paused !== undefined) return "Paused"
  if (state === "Computed" && file === undefined) return "Computed empty"
  if (state !== "Sealing" || progress === undefined) return state
  if (progress.step === "queued") return `Queued, ${progress.position ?? "?"}.`
  return `Computing ${Math.floor(progress.fraction * 100)}%`
}

/** Its result's, or for how long it has been captured. */
export const lengthOf = ({ durationMs, startedAt, state }: RecordingInfo, now: number): string => {
  if (durationMs !== undefined) return duration(durationMs)
  return state === "Capturing" ? duration(now - startedAt) : "-"
}

const isOver = ({ givenUp, state }: RecordingInfo) => state === "Computed" || givenUp !== undefined

/** Those on their way first, the oldest of them first; then those that are done, the latest first. */
const inOrder = (all: ReadonlyArray<RecordingInfo>): ReadonlyArray<RecordingInfo> => [
  ...all.filter((each) => !isOver(each)).toSorted((a, b) => a.startedAt - b.startedAt),
  ...all.filter(isOver).toSorted((a, b) => (b.computedAt ?? b.startedAt) - (a.computedAt ?? a.startedAt))
]

const clip = (cell: string, width: number) =>
  cell.length <= width ? cell : `${cell.slice(0, Math.max(1, width - 1))}…`

/** A title, a header, and a row for each, in `columns` by `rows` characters; what has no room is counted. */
export const watchTable = (
  all: ReadonlyArray<RecordingInfo>,
  now: number,
  { columns, rows }: { readonly columns: number; readonly rows: number }
): ReadonlyArray<string> => {
  const open = all.filter((each) => !isOver(each)).length
  const title = `${count(all.length, "recording")}, ${open} on the way. Ctrl-C ends`
  // STATE, LENGTH and LOST with the gaps between six columns; the names share what is left of a line.
  const names = Math.max(30, columns - 1 - (14 + 7 + 6) - 5 * 2)
  const [id, room] = [Math.floor(names * 0.4), Math.floor(names * 0.32)]
  const shown = inOrder(all).slice(0, Math.max(1, rows - 4))
  const cells = shown.map((each) => [
    clip(each.recordingId, id),
    clip(each.roomId, room),
    clip(each.nodeId, names - id - room),
    clip(stateOf(each), 14),
    lengthOf(each, now),
    clip(String(each.lostPackets), 6)
  ])
  const more = all.length - shown.length
  return [
    title,
    ...align([["RECORDING", "ROOM", "NODE", "STATE", "LENGTH", "LOST"], ...cells]),
    ...(more === 0 ? [] : [`… and ${more} more`])
  ]
}

export interface News {
  readonly json: Json
  readonly text: string
}

/** One for each recording that is another than at the last look; packets that flow are no news. */
export const newsOf = (before: ReadonlyMap<string, RecordingInfo>, all: ReadonlyArray<RecordingInfo>) => {
  const now = new Map(all.map((each) => [each.recordingId, each]))
  const news: Array<News> = []
  for (const each of inOrder(all)) {
    const last = before.get(each.recordingId)
    if (last !== undefined && words(last) === words(each)) continue
    news.push({ json: { type: "Recording", ...each }, text: `${each.recordingId}: ${words(each)}` })
  }
  for (const recordingId of before.keys()) {
    if (now.has(recordingId)) continue
    news.push({ json: { type: "RecordingGone", recordingId }, text: `${recordingId}: is gone` })
  }
  return { now, news }
}

const words = (recording: RecordingInfo): string => {
  const { file, lostPackets, nodeId, problem, tracks } = recording
  const lost = lostPackets === 0 ? "" : `, ${count(lostPackets, "packet")} lost`
  const end = problem ?? file
  return `${stateOf(recording)} on ${nodeId}, ${count(tracks, "track")}${lost}${end === undefined ? "" : `: ${end}`}`
}

const iso = (ms: number) => DateTime.formatIso(DateTime.makeUnsafe(ms))

/** All that is known of one, as names and values. */
export const fieldsOf = (
  recording: RecordingInfo,
  now: number
): ReadonlyArray<readonly [name: string, value: string]> => {
  const { deleted, options = {}, paused, progress } = recording
  const rows: ReadonlyArray<readonly [string, string | number | undefined]> = [
    ["recording", recording.recordingId],
    ["room", recording.roomId],
    ["node", recording.nodeId],
    ["state", stateOf(recording)],
    ["step", progress?.step],
    ["began", iso(recording.startedAt)],
    ["paused since", paused && `${iso(paused.at)}${paused.by === undefined ? "" : ` by ${paused.by}`}`],
    ["computed", recording.computedAt === undefined ? undefined : iso(recording.computedAt)],
    ["deleted", deleted && `${iso(deleted.at)} by ${deleted.by}: ${deleted.reason}`],
    ["length", lengthOf(recording, now)],
    ["result", options.result],
    ["tracks", recording.tracks],
    ["packets", `${recording.packets}, ${recording.lostPackets} lost`],
    ["bytes", recording.bytes],
    ...(recording.files ?? [recording.file]).map((file) => ["file", file] as const),
    ["sha256", recording.sha256],
    ["journal", recording.state === "Computed" ? undefined : recording.folder],
    ["problem", recording.problem]
  ]
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]))
}
