/**
 * Finishes what dead processes left in this node's data folder, beside its calls, and enters every receipt it finds into the index. Takes
 * only from folders whose lock it gets: a living process beside it keeps its own. Interrupted at any moment, a later start goes on.
 *
 * A child of the node, and ends when nothing is left, or after the part under way when the node drains: the drain waits for that part as for
 * the node's own recordings, and not for whatever else a shared folder may hold. What cannot be finished is named as the node's own is.
 */
import type { Self } from "@ebb/actors"
import { define, protocol } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import type { ComputeQueue, PartOutcome } from "./recording/index.ts"
import { recover } from "./recording/index.ts"
import { RecordingIndex } from "./RecordingIndex.ts"

export interface AdoptionArgs {
  readonly dataDir: string
  /** Goes into the receipts. */
  readonly nodeId: string
  /** Where each part waits for its turn, as the node's own recordings do. */
  readonly computing: ComputeQueue
  /** Does the node drain, so that no further part is begun? */
  readonly isDraining: () => boolean
  /** Told of each part that cannot be finished: its journal is kept, and somebody must look. */
  readonly unfinished: (partFolder: string, problem: string) => void
}

export const adoption = define("adoption", protocol(), (self: Self, args: AdoptionArgs) =>
  Effect.gen(function* () {
    const { computing, dataDir, isDraining, nodeId, unfinished } = args
    const index = yield* RecordingIndex
    const onOutcome = (outcome: PartOutcome) => {
      // A part's folder has the recording's name.
      const recordingId = path.basename(outcome.folder)
      switch (outcome._tag) {
        case "Recovered":
          return Effect.andThen(
            Effect.logInfo(`adopted recording ${recordingId} of a dead process: computed`),
            index.publish(outcome.receipt)
          )
        case "AlreadyDone":
          return index.publish(outcome.receipt)
        case "Failed":
          unfinished(outcome.folder, outcome.error.message)
          return Effect.logError(`${outcome.folder} cannot be finished now and is kept`, outcome.error)
        case "GivenUp":
          return index.giveUp(outcome)
        case "Deleted":
          return Effect.logInfo(
            `${outcome.folder} is removed: the recording was deleted by ${outcome.word.by}, ${outcome.word.reason}`
          )
        case "Left":
          return Effect.logWarning(`${outcome.folder} is left to a later start: this node drains`)
        case "Foreign":
          return Effect.logInfo(`${outcome.folder} is no recording, and left alone`)
        case "Held":
        case "NothingCaptured":
          return Effect.void
      }
    }
    const goOn = () => !isDraining()
    const { incarnation } = self.address
    const inTurn: ComputeQueue["inTurn"] = (job, computation) =>
      Effect.andThen(
        index.adopting(job.recordingId, { nodeId, incarnation }),
        computing.inTurn(job, computation)
      )
    // Also what was deleted while this host was away, whose store does not know.
    const { deletedBy } = index
    yield* recover(dataDir, { computedBy: nodeId, onOutcome, goOn, inTurn, deletedBy }).pipe(
      Effect.catch((error) => Effect.logError(`nothing can be adopted from ${dataDir}`, error)),
      Effect.catchDefect((defect) =>
        Effect.logError(`BUG: the adoption from ${dataDir} died; a later start goes on`, defect)
      ),
      // Whatever ended it: a drain waits for this actor.
      Effect.ensuring(self.stop("nothing more is adopted")),
      Effect.forkScoped
    )
    return {}
  })
)
