/**
 * `compute` in a process of its own, in its own session and at low priority. To come next; the signature is what callers may
 * build on.
 */
import type * as Effect from "effect/Effect"
import { compute } from "./Compute.ts"
import type { ComputeError, ComputeOptions } from "./Compute.ts"
import type { Receipt } from "./Receipt.ts"
import type { RecordingStore } from "./RecordingStore.ts"

/** Closing the scope kills the process, at no cost: computing again gives the same. */
export const computeInChild = (
  partFolder: string,
  options: ComputeOptions
): Effect.Effect<Receipt, ComputeError, RecordingStore> => compute(partFolder, options)
