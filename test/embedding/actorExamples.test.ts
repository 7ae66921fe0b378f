/** The runtime's examples, run as their heads say, from a checkout. */
import { join } from "node:path"
import { assert, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { startProgram } from "../support/program.ts"
import { testCluster } from "../support/testCluster.ts"

const example = (name: string, args: ReadonlyArray<string>, nats: string | undefined) =>
  startProgram(
    process.execPath,
    [join(import.meta.dirname, "../../packages/actors/examples", name), ...args],
    { env: { EBB_NATS: nats } }
  )

const ranToItsEnd = Effect.fnUntraced(function* (
  name: string,
  args: ReadonlyArray<string> = [],
  nats?: string
) {
  const program = yield* example(name, args, nats)
  assert.strictEqual((yield* program.exited).code, 0, program.lines.join("\n"))
  return program.lines.filter((line) => !line.includes("INFO"))
})

it.live("01: a counter answers, refuses, crashes and is restarted", () =>
  Effect.gen(function* () {
    expect(yield* ranToItsEnd("01-counter.ts")).toEqual([
      "total 3",
      "refused: TooMuch",
      "released",
      "ActorCrashed, may it be sent again? unknown",
      "total after the restart 5",
      "released"
    ])
  })
)

it.live("02: one process asks and follows an actor of another, which it finds by its lease", () =>
  Effect.gen(function* () {
    const { nats } = yield* testCluster
    const serving = yield* example("02-two-processes.ts", ["serve"], nats.address)
    yield* serving.says(/serve serves/)
    expect(yield* ranToItsEnd("02-two-processes.ts", ["ask"], nats.address)).toEqual([
      "sold 3",
      "sold 3 (asked twice, done once)",
      "cup 1 of 3",
      "cup 2 of 3",
      "cup 3 of 3"
    ])
  })
)

it.live("03: a host drains: refuses, serves, tells who blocks, ends when the last session has ended", () =>
  Effect.gen(function* () {
    expect(yield* ranToItsEnd("03-drain.ts")).toEqual([
      "late is refused: NodeDraining",
      "long hears hello",
      "Draining, waits for short, long",
      "short is over",
      "long is over",
      "Drained drained"
    ])
  })
)
