/**
 * Who speaks for a recording: its owner while it lives and answers; its receipt, when there is one; and for a dead owner without a receipt
 * the index, which says that it was interrupted. Keeps no state.
 */
import type { Id } from "@ebb/actors"
import { ActorSystem, Leases } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { Conflict } from "../protocol/Common.ts"
import { nodeKind, NodeProtocol } from "../protocol/Node.ts"
import type { RecordingInfo, RecordingState } from "../protocol/Recording.ts"
import { recordingKind, RecordingProtocol } from "../protocol/Recording.ts"
import type { IndexedRecording } from "../RecordingIndex.ts"
import { RecordingIndex } from "../RecordingIndex.ts"
import { locate } from "./Placement.ts"

type PauseCause = { readonly by?: string; readonly reason?: string }

const recordingRef = Effect.fnUntraced(function* (recordingId: Id) {
  const { address, epoch } = yield* locate(recordingKind, recordingId)
  const { ref } = yield* ActorSystem
  return ref(RecordingProtocol, address, epoch)
})

/**
 * Its owner does not live, or does not answer. A killed owner's work may be computed by a later start long before anybody may call
 * that owner dead.
 */
const ownerIsSilent = ["NotFound", "NoSuchActor", "NodeUnreachable", "AskTimeout"] as const

/** What a recording without a receipt was last known to be. A word of a later version is not ours to judge. */
const unfinished: ReadonlySet<string> = new Set<RecordingState>(["Capturing", "Sealing", "Failed"])

const interrupted = (recording: IndexedRecording): RecordingInfo => ({
  ...recording,
  state: "Interrupted",
  problem: [
    `its node '${recording.nodeId}' is dead`,
    ...(recording.problem === undefined ? [] : [`it had failed: ${recording.problem}`]),
    "its journal waits for a later start on its data folder, or for 'ebb recordings recover DIR'"
  ].join("; ")
})

/** By a process that finishes it for its dead owner, when there is one and it says that it does. */
const adopted = Effect.fnUntraced(
  function* (recording: IndexedRecording) {
    const { adopter, nodeId, recordingId } = recording
    const leases = yield* Leases
    if (adopter === undefined || (yield* leases.isDead(adopter.incarnation))) return undefined
    const { ref } = yield* ActorSystem
    const target = { kind: nodeKind, id: adopter.nodeId, incarnation: adopter.incarnation }
    const { computing = [] } = yield* ref(NodeProtocol, target).ask("Report", undefined)
    const place = computing.find((each) => each.recordingId === recordingId)
    if (place === undefined) return undefined
    const { fraction, position, step } = place
    const progress = { step, fraction, ...(position === undefined ? {} : { position }) }
    const problem = `its node '${nodeId}' is dead; node '${adopter.nodeId}' finishes it`
    return { ...recording, state: "Sealing", progress, problem } satisfies RecordingInfo
  },
  Effect.orElseSucceed(() => undefined)
)

/** The recording as the index has it, when that is more than a guess; otherwise whatever the look-up said. */
const indexedOr =
  (recordingId: Id) =>
  <E>(silent: E) =>
    Effect.gen(function* () {
      const index = yield* RecordingIndex
      const leases = yield* Leases
      const recording = yield* index.find(recordingId)
      if (recording === undefined) return yield* Effect.fail(silent)
      const { incarnation, state } = recording
      if (!unfinished.has(state) || recording.givenUp !== undefined) return recording
      if (incarnation !== undefined && (yield* leases.isDead(incarnation))) {
        return (yield* adopted(recording)) ?? interrupted(recording)
      }
      // Its last word: it has ended on a node that lives.
      return state === "Failed" ? recording : yield* Effect.fail(silent)
    })

export const recordingInfo = (recordingId: Id) =>
  recordingRef(recordingId).pipe(
    Effect.flatMap((ref) => ref.ask("Get", undefined)),
    Effect.catchTag(ownerIsSilent, indexedOr(recordingId))
  )

/** It may be over already: then what is known says so. */
export const stopRecording = (recordingId: Id, reason: string) =>
  recordingRef(recordingId).pipe(
    Effect.flatMap((ref) => ref.ask("Stop", { reason })),
    Effect.catchTag(ownerIsSilent, indexedOr(recordingId))
  )

/** It may be over already: then what is known says so. */
export const pauseRecording = (recordingId: Id, cause: PauseCause) =>
  recordingRef(recordingId).pipe(
    Effect.flatMap((ref) => ref.ask("Pause", cause)),
    Effect.catchTag(ownerIsSilent, indexedOr(recordingId))
  )

/** Refused when it is over: nothing would be recorded. */
export const resumeRecording = (recordingId: Id, cause: PauseCause) =>
  recordingRef(recordingId).pipe(
    Effect.flatMap((ref) => ref.ask("Resume", cause)),
    Effect.catchTag(ownerIsSilent, (silent) =>
      Effect.flatMap(indexedOr(recordingId)(silent), ({ state }) =>
        Effect.fail(new Conflict({ entity: recordingKind, id: recordingId, problem: `it is ${state}` }))
      )
    )
  )
