/**
 * `recording.delete`: first the word of who does it, in the index, so that nothing of the recording is begun or entered any more; then every live
 * node removes what it has. Done again it goes on where it was; a node that is away does its part when it is back.
 */
import type { Id } from "@ebb/actors"
import { ActorSystem, Leases } from "@ebb/actors"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Conflict } from "../protocol/Common.ts"
import { nodeKind, NodeProtocol } from "../protocol/Node.ts"
import { recordingKind } from "../protocol/Recording.ts"
import { RecordingIndex } from "../RecordingIndex.ts"
import { recordingInfo } from "./RecordingLookup.ts"

/** Milliseconds for a node's answer: its store may be far. */
const patienceMs = 30_000

export const deleteRecording = Effect.fnUntraced(function* (
  recordingId: Id,
  cause: { readonly by: string; readonly reason: string }
) {
  const index = yield* RecordingIndex
  const known = yield* recordingInfo(recordingId)
  if (known.state === "Capturing" || known.state === "Sealing") {
    const problem = `it is ${known.state}: it can be deleted when it was stopped and is computed, or has failed`
    return yield* new Conflict({ entity: recordingKind, id: recordingId, problem })
  }
  const recording = yield* index.markDeleted(known, { ...cause, at: yield* Clock.currentTimeMillis })
  const { nodeId, roomId, startedAt } = recording
  const { at, by, reason } = recording.deleted ?? { ...cause, at: startedAt }
  const word = { recordingId, roomId, nodeId, startedAt, at, by, reason }

  const leases = yield* Leases
  const { ref } = yield* ActorSystem
  const answers = yield* Effect.forEach(
    yield* leases.current,
    ({ inc: incarnation, node }) =>
      ref(NodeProtocol, { kind: nodeKind, id: node, incarnation })
        .ask("DeleteRecording", word, { timeoutMs: patienceMs })
        .pipe(
          Effect.match({
            onSuccess: ({ held, journals }) => ({
              journals,
              left: held.map((problem) => ({ node, problem }))
            }),
            onFailure: (error) => ({ journals: 0, left: [{ node, problem: (error as Error).message }] })
          })
        ),
    { concurrency: 8 }
  )
  return {
    recording,
    journals: answers.reduce((sum, { journals }) => sum + journals, 0),
    left: answers.flatMap(({ left }) => left.map(({ node, problem }) => ({ nodeId: node, problem })))
  }
})
