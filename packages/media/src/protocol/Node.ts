/** The messages of a node: the parent of its rooms and recordings. Drain, Undrain and Admit are the runtime's own, for every actor. */
import { DrainDeadlines, Id, message, protocol } from "@ebb/actors"
import type { Messages } from "@ebb/actors"
import * as Schema from "effect/Schema"
import { AdmissionError, Conflict, Millis, NotFound, StorageUnavailable, WallMs } from "./Common.ts"
import { RecordingInfo, RecordingOptions, RecordingProgress } from "./Recording.ts"
import { RoomOptions } from "./Room.ts"

/** Something that a drain waits for. */
export const Blocker = Schema.Struct({ kind: Schema.String, id: Id, ageMs: Millis })

/** A node's own word about itself: not ready for new rooms does not mean not alive. */
export const NodeReport = Schema.Struct({
  nodeId: Id,
  incarnation: Id,
  /** The release it runs, as its operator calls it. */
  version: Schema.String,
  pid: Schema.Int,
  startedAt: WallMs,
  /** The three axes; open, because a later version may know another word. */
  life: Schema.String,
  admission: Schema.String,
  control: Schema.String,
  rooms: Schema.Array(Blocker),
  recordings: Schema.Array(Blocker),
  /** Recordings whose receipt is not there and that nobody works on: their journals are kept. */
  unfinished: Schema.Array(Schema.Struct({ recordingId: Id, problem: Schema.String })),
  /** What this node computes, and what waits for it, in its order; adopted recordings of dead processes, too. */
  computing: Schema.optionalKey(
    Schema.Array(Schema.Struct({ recordingId: Id, startedAt: WallMs, ...RecordingProgress.fields }))
  ),
  /** Of its data folder: a new recording is refused while `freeBytes` is less than `wantedBytes`. */
  disk: Schema.optionalKey(
    Schema.Struct({
      /** Absent while the disk does not answer. */
      freeBytes: Schema.optionalKey(Schema.Number),
      /** For half an hour of the recordings that run and of a new one, their results, and the floor. 0: none is refused. */
      wantedBytes: Schema.optionalKey(Schema.Number),
      /** For how long it has held up the write that is under way. */
      stalledMs: Millis,
      /** What waits for it in memory. */
      queuedBytes: Schema.Number
    })
  ),
  /** The last change of life or admission. */
  since: Schema.optionalKey(
    Schema.Struct({
      axis: Schema.String,
      from: Schema.String,
      to: Schema.String,
      by: Schema.String,
      reason: Schema.String,
      at: WallMs
    })
  ),
  /** While draining: what it waits for, the oldest first. */
  blockers: Schema.Array(Blocker),
  deadlines: Schema.optionalKey(DrainDeadlines),
  /** `host:port` of its metrics, /healthz and /readyz, where it serves them. */
  metrics: Schema.optionalKey(Schema.String)
})
export type NodeReport = typeof NodeReport.Type

export const OpenedRoom = Schema.Struct({ roomId: Id, nodeId: Id, created: Schema.Boolean })

export const NodeProtocol = protocol(
  /** Opens a room here, or says that it is here already. Answers when the room serves and the directory names it. */
  message("OpenRoom", {
    payload: {
      roomId: Id,
      options: RoomOptions,
      /** `strict`: a draining node refuses. `prefer`: it takes the room while it drains and does not evacuate. */
      admission: Schema.optionalKey(Schema.Literals(["strict", "prefer"]))
    },
    success: OpenedRoom,
    error: AdmissionError
  }),
  /** Records every producer of a room of this node, from now on, or those that the options say. */
  message("StartRecording", {
    payload: { recordingId: Id, roomId: Id, options: Schema.optionalKey(RecordingOptions) },
    success: Schema.Struct({ created: Schema.Boolean, recording: RecordingInfo }),
    error: Schema.Union([...AdmissionError.members, Conflict, NotFound, StorageUnavailable])
  }),
  /**
   * Removes all that this node's store and data folder have of a recording, once the index says that it is deleted. Done again, it changes
   * nothing. `held`: journals that another process holds, which stay.
   */
  message("DeleteRecording", {
    payload: {
      recordingId: Id,
      roomId: Id,
      nodeId: Id,
      startedAt: WallMs,
      by: Schema.String,
      at: WallMs,
      reason: Schema.String
    },
    success: Schema.Struct({ journals: Schema.Number, held: Schema.Array(Schema.String) }),
    error: Schema.Union([Conflict, StorageUnavailable])
  }),
  message("Report", { success: NodeReport })
)
export type NodeMessage = Messages<typeof NodeProtocol>

export const nodeKind = "node"

/** Versions of these protocols that this build speaks: least and most. In every lease; a rollout refuses a gap of more than one. */
export const protocolRange = [1, 1] as const
