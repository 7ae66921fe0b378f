/** docs/observability.md names every metric with its type and labels, and none that is not there. */
import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { testCluster } from "../support/testCluster.ts"

const page = readFileSync(join(import.meta.dirname, "../../docs/observability.md"), "utf8")

const inOrder = (a: string, b: string) => (a < b ? -1 : 1)

/** From the tables: `name type labels`. */
const told = [...page.matchAll(/^\| `(ebb_\w+)` \| (\w+) \|([^|]*)\|/gm)].map(([, name, type, labels = ""]) =>
  [name, type, ...[...labels.matchAll(/`(\w+)`/g)].map(([, label = ""]) => label).toSorted(inOrder)].join(" ")
)

it.live("the page names every metric of a node with its type and labels, and none that is not there", () =>
  Effect.gen(function* () {
    const { call, node } = yield* testCluster
    const a = yield* node("a", { args: ["--metrics=0"] })
    const address = /http:\/\/(\S+)\/metrics/.exec(yield* a.says(/metrics at/))?.[1] ?? ""
    // So that there are asks and commands to be counted.
    yield* call("room.create", { roomId: "talk" })
    const text = yield* Effect.promise(async () => (await fetch(`http://${address}/metrics`)).text())

    const shown = [...text.matchAll(/^# TYPE (ebb_\w+) (\w+)$/gm)].map(([, name = "", type]) => {
      const line = new RegExp(`^${name}(?:_count)?(?:{([^}]*)})? `, "m").exec(text)
      const labels = [...(line?.[1] ?? "").matchAll(/(\w+)="/g)].map(([, label = ""]) => label)
      return [name, type, ...labels.toSorted(inOrder)].join(" ")
    })
    expect(shown.toSorted()).toEqual(told.toSorted())
  })
)
