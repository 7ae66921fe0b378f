/** The words of a drain: what is asked for, how far it is, how it ended. The drain itself is in `internal/drain`. */
import * as Schema from "effect/Schema"
import type { Id } from "./Address.ts"
import type { Cause, NodeState } from "./NodeState.ts"

/** From 0 on: a clock that was set to less, or to no number, would fire at once. */
export const Milliseconds = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * How long each phase may last, in milliseconds; absent means for ever.
 *
 * - `drainMs`       Draining. When it fires the actor evacuates; no recording is cut.
 * - `evacuationMs`  Evacuating. When it fires the serving children that are left are killed; no recording is cut.
 * - `sealingMs`     Sealing. When it fires the actor ends with outcome `unsealed`; what is unfinished stays on disk, named.
 */
export const DrainDeadlines = Schema.Struct({
  drainMs: Schema.optionalKey(Milliseconds),
  evacuationMs: Schema.optionalKey(Milliseconds),
  sealingMs: Schema.optionalKey(Milliseconds)
})
export type DrainDeadlines = typeof DrainDeadlines.Type

export interface DrainRequest extends Cause {
  /** False when the asker cannot take the stop back (an orchestrator's SIGTERM): undrain is then refused. */
  readonly reversible: boolean
  /** End what is served now, gently, instead of waiting for it. */
  readonly evacuate: boolean
  readonly deadlines: DrainDeadlines
}

/** How a drain ended. `unsealed` names the children that were not finished. */
export type DrainOutcome =
  | { readonly _tag: "Drained" }
  | { readonly _tag: "Evacuated" }
  | { readonly _tag: "Unsealed"; readonly left: ReadonlyArray<string> }
  | { readonly _tag: "Undrained" }
  | { readonly _tag: "Ended"; readonly by: string }

/** What a drain of the parent waits for: `serving` children may take hours; `sealing` ones finish what was served. */
export type Holds = "serving" | "sealing"

export interface ChildInfo {
  readonly kind: string
  readonly id: Id
  readonly holds: Holds
  readonly ageMs: number
}

/** How far an actor's drain is, and who holds it up. */
export interface DrainProgress {
  readonly state: NodeState
  /** Live children, by what they hold up. */
  readonly serving: number
  readonly sealing: number
  /** Those that the present phase waits for, the oldest first, at most 256. Empty while it does not drain. */
  readonly blockers: ReadonlyArray<ChildInfo>
  /** Of the drain that runs, or of the next one that brings none of its own. */
  readonly deadlines: DrainDeadlines
  /** Milliseconds since the present phase of the drain began; absent while it does not drain. */
  readonly phaseMs?: number
  /** Milliseconds until the clock of the present phase fires; absent when there is none. */
  readonly leftMs?: number
}
