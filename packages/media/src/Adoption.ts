/**
 * Finishes what dead processes left in this node's data folder, beside its calls, and enters every receipt it finds into the index. Takes
 * only from folders whose lock it gets: a living process beside it keeps its own. Interrupted at any moment, a later start goes on.
 *
 * A child of the node, and ends when nothing is left: a drain waits for it as for the node's own recordings.
 */
import type { Self } from "@ebb/actors"
import { define, protocol } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { RecordingIndex } from "./RecordingIndex.ts"
import type { PartOutcome } from "./recording/index.ts"
import { recover } from "./recording/index.ts"

export interface AdoptionArgs {
  readonly dataDir: string
  /** Goes into the receipts. */
  readonly nodeId: string
}

export const adoption = define("adoption", protocol(), (self: Self, { dataDir, nodeId }: AdoptionArgs) =>
  Effect.gen(function* () {
    const index = yield* RecordingIndex
    const onOutcome = (outcome: PartOutcome) => {
      switch (outcome._tag) {
        case "Recovered":
          return Effect.andThen(
            Effect.logInfo(`adopted recording ${outcome.receipt.recordingId} of a dead process: computed`),
            index.publish(outcome.receipt)
          )
        case "AlreadyDone":
          return index.publish(outcome.receipt)
        case "Failed":
          return Effect.logError(`${outcome.folder} cannot be finished now and is kept`, outcome.error)
        case "Held":
        case "NothingCaptured":
          return Effect.void
      }
    }
    yield* recover(dataDir, { computedBy: nodeId, onOutcome }).pipe(
      Effect.catch((error) => Effect.logError(`nothing can be adopted from ${dataDir}`, error)),
      Effect.andThen(self.stop("nothing is left to adopt")),
      Effect.forkScoped
    )
    return {}
  })
)
