import { writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { natsEndpoint } from "../src/cluster/embeddedNats.ts"
import { findRelease, readReleases, releaseFolder } from "../src/cluster/releases.ts"
import { claimCluster, openCluster, stateFolder } from "../src/cluster/state.ts"
import { temporaryFolder } from "./fixtures.ts"

const folderWith = (env: Record<string, string>, state?: string) =>
  stateFolder({ state: Option.fromUndefinedOr(state), cluster: "blue" }).pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))
  )

describe("a cluster's state folder", () => {
  it.effect("is the one said, or the environment's, or the default, in this order", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* folderWith({}), path.join(os.homedir(), ".local/state/ebb/blue"))
      assert.strictEqual(yield* folderWith({ XDG_STATE_HOME: "/x" }), "/x/ebb/blue")
      assert.strictEqual(yield* folderWith({ XDG_STATE_HOME: "/x", EBB_STATE: "/y" }), "/y")
      assert.strictEqual(yield* folderWith({ EBB_STATE: "/y" }, "/z"), "/z")
      assert.strictEqual(yield* folderWith({ EBB_STATE: "/y" }, "z"), path.join(process.cwd(), "z"))
    })
  )

  it.effect("cannot be named by what is no name", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(stateFolder({ state: Option.none(), cluster: "../up" }))
      assert.strictEqual(error._tag, "InvalidName")
    })
  )

  it.live("is found by a second command once it was claimed, and not before", () =>
    Effect.gen(function* () {
      const folder = path.join(yield* temporaryFolder, "new", "one")
      const missing = yield* Effect.flip(openCluster(folder))
      assert.strictEqual(missing._tag, "ClusterNotFound")
      assert.include(missing.message, "ebb up")
      yield* Effect.scoped(claimCluster({ folder, name: "blue" }))
      const cluster = yield* openCluster(folder)
      assert.deepStrictEqual(cluster, {
        folder,
        name: "blue",
        releases: path.join(folder, "releases.json"),
        instances: path.join(folder, "instances"),
        dataDir: path.join(folder, "data")
      })
      assert.strictEqual((yield* Effect.flip(natsEndpoint(cluster, "node")))._tag, "ClusterNotFound")
    })
  )

  it.live("keeps its cluster's name, and remembers the releases file and the data folder named last", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.scoped(claimCluster({ folder, name: "blue", releases: "/a/r.json" }))
      yield* Effect.scoped(claimCluster({ folder, name: "blue", dataDir: "/a/data" }))
      const again = yield* Effect.scoped(claimCluster({ folder, name: "blue" }))
      assert.strictEqual(again.dataDir, "/a/data")
      assert.strictEqual((yield* openCluster(folder)).dataDir, "/a/data")
      assert.strictEqual((yield* openCluster(folder)).releases, "/a/r.json")
      yield* Effect.scoped(claimCluster({ folder, name: "blue", releases: "/b/r.json" }))
      assert.strictEqual((yield* openCluster(folder)).releases, "/b/r.json")
      const error = yield* Effect.flip(claimCluster({ folder, name: "green" }))
      assert.strictEqual(error._tag, "ClusterMismatch")
    })
  )

  it.live("is refused a second time within one process too, until it is let go", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* claimCluster({ folder, name: "blue" })
          const error = yield* Effect.flip(claimCluster({ folder, name: "blue" }))
          assert.strictEqual(error._tag, "ClusterClaimed")
          assert.include(error.message, `process ${process.pid}`)
        })
      )
      yield* claimCluster({ folder, name: "blue" })
    })
  )
})

describe("the releases file", () => {
  const releasesOf = Effect.fnUntraced(function* (text: string) {
    const file = path.join(yield* temporaryFolder, "releases.json")
    yield* Effect.promise(() => writeFile(file, text))
    return yield* readReleases(file)
  })

  it.live("names versions, which run in its own folder", () =>
    Effect.gen(function* () {
      const releases = yield* releasesOf(
        `{"versions":{"v1":{"command":["node","node.ts"],"env":{"A":"b"}},"v2":{"command":["node"]}}}`
      )
      const release = yield* findRelease(releases, "v1")
      assert.deepStrictEqual(release, { command: ["node", "node.ts"], env: { A: "b" } })
      assert.strictEqual(releaseFolder(releases), path.dirname(releases.file))
    })
  )

  it.live("suggests what was meant for a version it does not know", () =>
    Effect.gen(function* () {
      const command = { command: ["node"] }
      const releases = yield* releasesOf(
        JSON.stringify({ versions: { v1: command, v2: command, stable: command } })
      )
      const similarTo = (version: string) =>
        Effect.map(Effect.flip(findRelease(releases, version)), (error) => error.similar)
      assert.deepStrictEqual(yield* similarTo("stabel"), ["stable"])
      assert.deepStrictEqual(yield* similarTo("V2"), ["v2", "v1"])
      assert.deepStrictEqual(yield* similarTo("nightly"), [])
      assert.deepStrictEqual(yield* similarTo("toString"), [])
      const error = yield* Effect.flip(findRelease(releases, "stabel"))
      assert.include(error.message, "Did you mean stable? It knows v1, v2, stable.")
    })
  )

  it.live("is refused with what is wrong in it", () =>
    Effect.gen(function* () {
      const wrong = ["", "{", "[]", "{}", `{"versions":{"v1":{}}}`, `{"versions":{"v1":{"command":[]}}}`]
      for (const text of [
        ...wrong,
        `{"versions":{"v 1":{"command":["a"]}}}`,
        `{"versions":{"v1":{"command":"a"}}}`
      ]) {
        const error = yield* Effect.flip(releasesOf(text))
        assert.strictEqual(error._tag, "ReleasesUnreadable", text)
      }
      const missing = yield* Effect.flip(readReleases("/nowhere/releases.json"))
      assert.include(missing.message, "there is no such file")
    })
  )
})
