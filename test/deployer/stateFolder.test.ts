/** What docs/rollout.md says of the files is so: the releases file it shows is taken, and the state folder holds what it names, and no more. */
import { findRelease, readReleases } from "@ebb/deployer"
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { ebbCluster } from "./ebbCluster.ts"

const page = readFileSync(join(import.meta.dirname, "../../docs/rollout.md"), "utf8")
const block = (name: string) => new RegExp(`\`\`\`${name}\n(.*?)\`\`\``, "s").exec(page)?.[1] ?? ""
/** The first words of its lines. */
const names = (of: string) => of.split("\n").flatMap((line) => /^\S+/.exec(line) ?? [])

describe("docs/rollout.md", () => {
  it.effect("shows a releases file that is taken", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "releases.json")
      yield* Effect.promise(() => writeFile(file, block("json releases")))
      const releases = yield* readReleases(file)
      assert.deepStrictEqual((yield* findRelease(releases, "v2")).env, { EBB_PORTS: "40000-44999" })
    }).pipe(Effect.scoped)
  )

  it.live("names every file of a state folder, and none that is not there", () =>
    Effect.gen(function* () {
      const { folder, rollout, up } = yield* ebbCluster(1)
      assert.strictEqual((yield* (yield* rollout("--to", "v2")).exited).code, 0)
      yield* up.signal("SIGINT")
      yield* up.exited
      const isInner = (path: string) => /^(data|nats\/jetstream)\/./.test(path)
      const found = (yield* Effect.promise(() => readdir(folder, { recursive: true, withFileTypes: true })))
        .map((entry) => {
          const path = join(entry.parentPath, entry.name).slice(folder.length + 1)
          return entry.isDirectory() ? `${path}/` : path
        })
        .filter((path) => !isInner(path))
        .filter((path) => !/^(nats|nats\/runs(\/\d+)?|instances(\/[^/]+)?)\/$/.test(path))
        .map((path) =>
          path.replace(/runs\/\d+/, "runs/<n>").replace(/instances\/[^/]+/, "instances/<instance>")
        )
      const said = [
        ...names(block("text state")),
        ...["nats/runs/<n>", "instances/<instance>"].flatMap((process) =>
          names(block("text process")).map((file) => `${process}/${file}`)
        )
      ]
      assert.deepStrictEqual([...new Set(found)].toSorted(), said.toSorted())
    }).pipe(Effect.scoped)
  )
})
