/** Everything that is fuzzed. */
import type { FuzzTarget } from "./fuzz.ts"
import { rtpTargets } from "./rtpTargets.ts"

export const targets: ReadonlyArray<FuzzTarget> = [...rtpTargets]
