/** What a defect says of itself, in a line. */
import * as Cause from "effect/Cause"

export const describeCause = (cause: Cause.Cause<unknown>): string => describe(Cause.squash(cause))

/** Of whatever was thrown: also of what cannot be made a string of. */
export const describe = (error: unknown): string => {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  } catch {
    return "a defect that cannot be described"
  }
}
