/**
 * A process that computes a part as a node does, and like a node does not end by SIGTERM or SIGINT. Says each step, then the outcome.
 *
 *     node computing.ts <partFolder> <store>
 */
import * as Effect from "effect/Effect"
import { computeInChild } from "../../../src/recording/ComputeProcess.ts"
import { RecordingStore } from "../../../src/recording/RecordingStore.ts"

const [part = "", store = ""] = process.argv.slice(2)
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => console.log(signal))

await computeInChild(part, {
  computedBy: "node",
  onProgress: ({ step }) => console.log(step)
}).pipe(
  Effect.match({
    onSuccess: (receipt) => console.log(`computed ${receipt.recordingId}`),
    onFailure: (error) => console.log(error._tag)
  }),
  Effect.provide(RecordingStore.folder(store)),
  Effect.runPromise
)
