/** A part of the benchmark that can be asked for alone. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Effort } from "../heat.ts"
import type { Row } from "../Row.ts"

export interface GroupContext {
  readonly effort: Effort
  /** Options of Node for the processes of ours that are measured. */
  readonly execArgv: ReadonlyArray<string>
  readonly say: (line: string) => void
}

export interface Group {
  readonly name: string
  readonly run: (context: GroupContext) => Effect.Effect<ReadonlyArray<Row>, never, Scope.Scope>
}
