/** The messages of a recording: a child of its node beside its room, because it outlives the room by the time it takes to compute it. */
import { Id, message, protocol } from "@ebb/actors"
import type { Messages } from "@ebb/actors"
import * as Schema from "effect/Schema"
import { Conflict, Millis, Reason, WallMs } from "./Common.ts"

/**
 * - `Capturing`  packets go into its journal
 * - `Sealing`    capture is over; it waits for its computation, or is being muxed, verified and stored, by its node or by one that
 *                adopted it: `progress` says how far it is
 * - `Computed`   its receipt is there
 * - `Failed`     it could not be computed; its journal is kept, and named. With `givenUp` no node tries it again
 * - `Interrupted` its node is dead; its journal waits to be adopted by a later start on its data folder, or by
 *                `ebb recordings recover DIR`. Said of it by others, never by a recording itself
 * - `Deleted`    somebody, or a policy, has deleted it: `deleted` says who, when and why. Said of it by others, too
 */
export const RecordingState = Schema.Literals([
  "Capturing",
  "Sealing",
  "Computed",
  "Failed",
  "Interrupted",
  "Deleted"
])
export type RecordingState = typeof RecordingState.Type

/** How far the way from the seal to the receipt is. */
export const RecordingProgress = Schema.Struct({
  /** Open: `queued` while others are computed first, then `index`, `mux`, `encode` (of a grid), `verify`, `store`. */
  step: Schema.String,
  /** Of the whole computation, 0 to 1. One that is tried again begins again. */
  fraction: Schema.Finite,
  /** While queued: 1 is the next of its node. */
  position: Schema.optionalKey(Schema.Int)
})
export type RecordingProgress = typeof RecordingProgress.Type

/**
 * What is recorded, and what it is to become. `file` (the default): every track a stream of one file, nothing encoded again. `tracks`: a file
 * for each track, nothing encoded again. `grid`: one file to be played, the cameras side by side and the sound mixed.
 */
export const RecordingOptions = Schema.Struct({
  result: Schema.optionalKey(Schema.Literals(["file", "tracks", "grid"])),
  /** Only these. Default: both. */
  kinds: Schema.optionalKey(Schema.Array(Schema.Literals(["audio", "video"])).check(Schema.isMaxLength(2))),
  /** Data channels, too. Default: false. */
  data: Schema.optionalKey(Schema.Boolean)
})
export type RecordingOptions = typeof RecordingOptions.Type

/** The same in an answer: words are open there. */
const RecordingOptionsAnswer = Schema.Struct({
  result: Schema.optionalKey(Schema.String),
  kinds: Schema.optionalKey(Schema.Array(Schema.String)),
  data: Schema.optionalKey(Schema.Boolean)
})

/** Whether two starts want the same, what is left out being its default. */
export const areSameOptions = (
  one: typeof RecordingOptionsAnswer.Type,
  other: typeof RecordingOptionsAnswer.Type
): boolean => {
  const plain = ({ data = false, kinds = ["audio", "video"], result = "file" }: typeof one) =>
    [result, data, ...new Set(kinds.toSorted())].join()
  return plain(one) === plain(other)
}

/** Who pauses or resumes, and why: kept in the journal. */
export const PauseCause = {
  by: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(256))),
  reason: Schema.optionalKey(Reason)
}

export const RecordingInfo = Schema.Struct({
  recordingId: Id,
  roomId: Id,
  nodeId: Id,
  /** Open: a later version may know another. */
  state: Schema.String,
  startedAt: WallMs,
  /** RTP packets in the journal, and those that the disk refused. */
  packets: Schema.Number,
  lostPackets: Schema.Number,
  tracks: Schema.Number,
  /** Where its journal is, on its node. */
  folder: Schema.optionalKey(Schema.String),
  /** Where its result is, once computed; absent for a recording without a frame. */
  file: Schema.optionalKey(Schema.String),
  /** All of the result, `file` first, when it is several. */
  files: Schema.optionalKey(Schema.Array(Schema.String)),
  bytes: Schema.optionalKey(Schema.Number),
  sha256: Schema.optionalKey(Schema.String),
  durationMs: Schema.optionalKey(Millis),
  computedAt: Schema.optionalKey(WallMs),
  /** While it waits for its computation, and while it is computed. */
  progress: Schema.optionalKey(RecordingProgress),
  /** Why it failed, or what it waits for. */
  problem: Schema.optionalKey(Schema.String),
  /** As it was started. Absent in what an older version says, and once it is computed. */
  options: Schema.optionalKey(RecordingOptionsAnswer),
  /** Present while it is paused: since when, by whom and why. */
  paused: Schema.optionalKey(
    Schema.Struct({
      at: WallMs,
      by: Schema.optionalKey(Schema.String),
      reason: Schema.optionalKey(Schema.String)
    })
  ),
  /** A person gave it up: no node waits for it or tries it again. */
  givenUp: Schema.optionalKey(Schema.Struct({ by: Schema.String, at: WallMs, reason: Schema.String })),
  /** Who deleted it: what it says besides is of what there was. */
  deleted: Schema.optionalKey(
    Schema.Struct({
      by: Schema.String,
      at: WallMs,
      reason: Schema.String,
      /** A keep time has passed, and nobody has asked for it. */
      policy: Schema.optionalKey(Schema.Boolean)
    })
  )
})
export type RecordingInfo = typeof RecordingInfo.Type

export const RecordingProtocol = protocol(
  message("Get", { success: RecordingInfo }),
  /** Ends the capture and begins to compute; answers at once. Stopping twice is no error. */
  message("Stop", { payload: { reason: Reason }, success: RecordingInfo }),
  /** From now on nothing is recorded. Pausing what is paused, or over, changes nothing. */
  message("Pause", { payload: PauseCause, success: RecordingInfo }),
  /** Recording goes on; a key frame is asked for. Resuming what is not paused changes nothing; what is over is a `Conflict`. */
  message("Resume", { payload: PauseCause, success: RecordingInfo, error: Conflict })
)
export type RecordingMessage = Messages<typeof RecordingProtocol>

export const recordingKind = "recording"
