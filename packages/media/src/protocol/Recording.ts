/** The messages of a recording: a child of its node beside its room, because it outlives the room by the time it takes to compute it. */
import { Id, message, protocol } from "@ebb/actors"
import type { Messages } from "@ebb/actors"
import * as Schema from "effect/Schema"
import { Millis, Reason, WallMs } from "./Common.ts"

/**
 * - `Capturing`  packets go into its journal
 * - `Sealing`    capture is over; it is being muxed, verified and stored
 * - `Computed`   its receipt is there
 * - `Failed`     it could not be computed; its journal is kept, and named. With `givenUp` no node tries it again
 * - `Interrupted` its node is dead; its journal waits to be adopted by a later start on its data folder, or by
 *                `ebb recordings recover DIR`. Said of it by others, never by a recording itself
 */
export const RecordingState = Schema.Literals(["Capturing", "Sealing", "Computed", "Failed", "Interrupted"])
export type RecordingState = typeof RecordingState.Type

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
  bytes: Schema.optionalKey(Schema.Number),
  sha256: Schema.optionalKey(Schema.String),
  durationMs: Schema.optionalKey(Millis),
  computedAt: Schema.optionalKey(WallMs),
  /** Why it failed, or what it waits for. */
  problem: Schema.optionalKey(Schema.String),
  /** A person gave it up: no node waits for it or tries it again. */
  givenUp: Schema.optionalKey(Schema.Struct({ by: Schema.String, at: WallMs, reason: Schema.String }))
})
export type RecordingInfo = typeof RecordingInfo.Type

export const RecordingProtocol = protocol(
  message("Get", { success: RecordingInfo }),
  /** Ends the capture and begins to compute; answers at once. Stopping twice is no error. */
  message("Stop", { payload: { reason: Reason }, success: RecordingInfo })
)
export type RecordingMessage = Messages<typeof RecordingProtocol>

export const recordingKind = "recording"
