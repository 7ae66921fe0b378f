/** What `ebb up` says of nodes that do not come up. */
import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { ebb, jsonOf, nodeCommand, ran, saysJson, stateFolder } from "./ebbCluster.ts"

/** Ends before it serves, with something to say; but for the first one when `first` is to live. */
const failing = (folder: string, first: boolean) => [
  "sh",
  "-c",
  `${first ? `mkdir ${folder}/first 2>/dev/null && exec "$@"; ` : ""}echo looking around; echo no place to be >&2; exit 7`,
  "sh",
  ...nodeCommand
]

describe("ebb up", () => {
  it.live("ends with 1 when no node comes up, and says what their logs end with, and where they are", () =>
    Effect.gen(function* () {
      const folder = yield* stateFolder({ v1: failing("", false) })
      const up = yield* ran("up", "--state", folder, "--nodes", "2", "--version", "v1")
      assert.strictEqual(up.code, 1)
      const said = up.lines.join("\n")
      for (const n of [1, 2]) {
        const [, instance = ""] = new RegExp(`(u\\w+-${n}) .*it did not come up`).exec(said) ?? []
        assert.include(
          said,
          `${join(folder, "instances", instance, "log")}, ends with:\n    looking around\n    no place to be`
        )
      }
      assert.include(up.lines.at(-1), "no node came up")
    }).pipe(Effect.scoped)
  )

  it.live("says that fewer nodes serve than it was asked for, goes on with them, and ends with 1", () =>
    Effect.gen(function* () {
      const at = yield* stateFolder({})
      const folder = yield* stateFolder({ v1: failing(at, true) })
      const up = yield* ebb("up", "--state", folder, "--json", "--nodes", "2", "--version", "v1")
      const fewer = yield* saysJson(up, "Fewer")
      assert.deepInclude(fewer, { nodes: 1, asked: 2, notYet: [] })
      const failed = yield* saysJson(up, "Node", { code: 7 })
      assert.deepStrictEqual(failed["lastLines"], ["looking around", "no place to be"])
      assert.isUndefined(up.lines.map(jsonOf).find(({ type }) => type === "Ready"))
      yield* up.signal("SIGINT")
      assert.strictEqual((yield* up.exited).code, 1)
    }).pipe(Effect.scoped)
  )

  it.live("refuses a data folder that cannot be one before anything is started or remembered", () =>
    Effect.gen(function* () {
      const folder = yield* stateFolder({ v1: nodeCommand })
      const file = join(folder, "releases.json")
      const up = yield* ran("up", "--state", folder, "--version", "v1", "--data-dir", file)
      assert.strictEqual(up.code, 1)
      assert.strictEqual(up.lines.length, 1)
      assert.include(up.lines[0], file)
      assert.strictEqual((yield* ran("nodes", "--state", folder, "--json")).last["outcome"], "failed")
    }).pipe(Effect.scoped)
  )
})
