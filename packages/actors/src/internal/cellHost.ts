/** What a cell is made of: what it shares with the others of its process, and what whoever spawned it said. */
import type * as Context from "effect/Context"
import type * as Scope from "effect/Scope"
import type { Address } from "../Address.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { DrainDeadlines, Holds } from "../Drain.ts"
import type { OnCrash } from "../Supervision.ts"
import type { ActorMetrics } from "./actorMetrics.ts"
import type { Cell } from "./cell.ts"
import type { Endings } from "./endings.ts"
import type { AnyMessage, Protocol } from "./rpcSeam.ts"

/** What a process's cells share. */
export interface CellHost {
  readonly context: Context.Context<never>
  readonly deadLetters: DeadLetters
  readonly metrics: ActorMetrics
  /** Every live actor of the process by `kind/id`; each cell enters and leaves by itself. */
  readonly cells: Map<string, Cell>
  readonly endings: Endings
}

export const nameOf = (kind: string, id: string): string => `${kind}/${id}`

export interface CellOptions {
  readonly address: Address
  readonly protocol: Protocol<AnyMessage>
  readonly parent: Cell | undefined
  readonly parentScope: Scope.Scope
  readonly holds: Holds
  readonly capacity: number
  /** Milliseconds a running handler may go on after a stop before it is interrupted. */
  readonly stopGraceMs: number
  /** Milliseconds that a handler which was interrupted, and then each finalizer, may take. */
  readonly finalizerMs: number
  readonly onCrash: OnCrash
  readonly deadlines: DrainDeadlines
}
