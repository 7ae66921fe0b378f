/** Everything that is fuzzed. */
import type { FuzzTarget } from "./fuzz.ts"
import { journalTargets } from "./journalTargets.ts"
import { rtpTargets } from "./rtpTargets.ts"

export const targets: ReadonlyArray<FuzzTarget> = [...rtpTargets, ...journalTargets]
