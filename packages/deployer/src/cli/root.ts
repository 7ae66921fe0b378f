/**
 * The root of the command line: what every command may be told, and how each ends.
 *
 * A command's standard output is its result; logs and errors go to standard error, an error as one line that says what to do.
 */
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { defaultCluster } from "../cluster/state.ts"
import { isName, nameRule } from "../internal/names.ts"
import { makeOutput, Output } from "./output.ts"

export const exitCodes = { ok: 0, failed: 1, stopped: 2, usage: 64, detached: 130 } as const

/** A command has said all it has to say, and the process is to end with this code. */
export class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {}

export const root = Command.make("ebb").pipe(
  Command.withSharedFlags({
    state: Flag.String("state").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("The cluster's folder (default: EBB_STATE, or ~/.local/state/ebb/NAME)"),
      Flag.optional
    ),
    cluster: Flag.String("cluster").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription(`The cluster's name (default: ${defaultCluster})`),
      Flag.filter(isName, () => nameRule),
      Flag.withDefault(defaultCluster)
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Lines of JSON on standard output; the last one is the result"),
      Flag.withDefault(false)
    )
  })
)

/** Gives a command its output, and an error its line and its exit code. */
export const command = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { json } = yield* root
    const output = yield* makeOutput(json)
    return yield* Effect.scoped(effect).pipe(
      Effect.provideService(Output, output),
      Effect.updateService(Console.Console, output.aside),
      Effect.catchCause((cause): Effect.Effect<never, Ended> => {
        const error = Cause.squash(cause)
        if (error instanceof Ended) return Effect.fail(error)
        return Effect.andThen(
          output.failed(describe(error)),
          Effect.fail(new Ended({ code: exitCodes.failed }))
        )
      })
    )
  })

const describe = (error: unknown) => ({
  tag: Predicate.hasProperty(error, "_tag") ? String(error._tag) : "Bug",
  message: Predicate.hasProperty(error, "message") ? String(error.message) : String(error),
  retry: Predicate.hasProperty(error, "retry") ? String(error.retry) : "unknown"
})
