/** That the benchmark runs with every contender and says what it promises to say. How fast anything is, no test asks. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { startProgram } from "../support/program.ts"
import { compared } from "./Row.ts"

it.live("one short round has a row for each peer, as JSON in its last line", () =>
  Effect.gen(function* () {
    const program = join(import.meta.dirname, "bench.ts")
    const args = [program, "--json", "--once", "--only", "ask-remote-1,spawn"]
    const bench = yield* startProgram(process.execPath, args)
    expect(yield* bench.exited).toMatchObject({ code: 0 })
    const { rows } = JSON.parse(bench.lines.findLast((line) => line.startsWith("{")) ?? "")
    expect(rows.map(({ name }: { name: string }) => name)).toEqual([
      "ask-remote-1/raw-nats",
      "ask-remote-1-latency/raw-nats",
      "ask-remote-1/moleculer",
      "ask-remote-1-latency/moleculer",
      "spawn/effect-entity",
      "spawn/nact",
      "spawn/effect-queue",
      "stop/nact",
      "stop/effect-queue"
    ])
    for (const row of rows) {
      expect(row).toEqual({
        name: expect.any(String),
        unit: expect.any(String),
        ours: expect.any(Number),
        theirs: expect.any(Number),
        ratio: expect.any(Number),
        spread: [expect.any(Number), expect.any(Number)]
      })
    }
  })
)

it("a ratio is above 1 where ours is better, and the median of the rounds", () => {
  const ours = [{ ms: 1 }, { ms: 2 }, { ms: 30 }]
  const theirs = [{ ms: 2 }, { ms: 2 }, { ms: 60 }]
  const less = compared("a", { name: "ms", unit: "ms", better: "less" }, ours, theirs)
  expect(less).toMatchObject({ ours: 2, theirs: 2, ratio: 2, spread: [1.5, 2] })
  const more = compared("a", { name: "ms", unit: "1/s", better: "more" }, ours, theirs)
  expect(more).toMatchObject({ ratio: 0.5, spread: [0.5, 0.75] })
})
