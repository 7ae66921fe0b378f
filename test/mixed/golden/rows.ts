/** Everything golden. */
import type { Build } from "./Build.ts"
import { askErrorRows, envelopeRows, sharedRows } from "./envelopes.ts"
import type { Row } from "./Golden.ts"
import { errorRows, messageRows } from "./protocols.ts"
import { recordRows } from "./records.ts"

/** `current` is this build: what it knows has to have a golden. */
export const allRows = (current: Build): ReadonlyArray<Row> => [
  ...envelopeRows,
  ...sharedRows,
  ...askErrorRows(current),
  ...messageRows,
  ...errorRows(current),
  ...recordRows(current)
]
