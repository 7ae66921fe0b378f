/**
 * The state folder of a local cluster: as 0.1.0 left it, it is read by every build, and what each writes into a new one has at least the
 * same fields.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { releaseVersions } from "../../support/release.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { type Build, releasedBuild, thisBuild } from "./Build.ts"
import { fixtureFile, type Plain, withLaterFields } from "./Golden.ts"

const golden = JSON.parse(await readFile(fixtureFile("stateFolder"), "utf8")) as Record<string, Plain>

const scope = Scope.makeUnsafe()
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
const current = await Effect.runPromise(thisBuild)
const builds = await Effect.runPromise(
  Effect.forEach(releaseVersions, releasedBuild).pipe(Scope.provide(scope))
)

/** With the golden files in it. */
const folderWith = Effect.fnUntraced(function* (contentOf: (plain: Plain) => Plain) {
  const folder = yield* temporaryFolder
  for (const [name, plain] of Object.entries(golden)) {
    const file = join(folder, name)
    yield* Effect.promise(() => mkdir(dirname(file), { recursive: true }))
    yield* Effect.promise(() => writeFile(file, JSON.stringify(contentOf(plain))))
  }
  return folder
})

const orchestratorIn = ({ local }: Build, folder: string, releases: string) =>
  Effect.provide(local.Orchestrator, local.layerLocal({ instances: join(folder, "instances"), releases }))

/** Every field that the golden has is there, of the same type. */
const assertHas = (written: Plain, plain: Plain, at: string): void => {
  assert.strictEqual(typeof written, typeof plain, at)
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) return
  for (const [key, value] of Object.entries(plain)) {
    const there = (written as { readonly [field: string]: Plain })[key]
    assert(there !== undefined, `${at}: ${key} is missing`)
    assertHas(there, value, `${at}: ${key}`)
  }
}

describe.each([current, ...builds])("release $release", (build) => {
  const { local } = build

  it.live.each([
    ["as it was left", (plain: Plain) => plain],
    // Passwords and environments have keys of their own.
    ["with fields of a later version", (plain: Plain) => withLaterFields(plain, ["passwords", "env"])]
  ] as const)("reads it %s", ([, contentOf]) =>
    Effect.gen(function* () {
      const folder = yield* folderWith(contentOf)
      const cluster = yield* local.openCluster(folder)
      assert.deepInclude(cluster, {
        name: "local",
        releases: "/etc/ebb/releases.json",
        dataDir: "/var/lib/ebb"
      })
      const endpoint = yield* local.natsEndpoint(cluster, "control")
      assert.deepStrictEqual(endpoint.servers, ["127.0.0.1:35137"])
      assert.strictEqual(Redacted.value(endpoint.password), "control-secret")
      const [instance] = yield* (yield* orchestratorIn(build, folder, cluster.releases)).list
      assert.deepInclude(instance, { instance: "n-1", version: "v1", signalled: "sent" })
      assert.deepInclude(instance?.state, { _tag: "Exited", code: 143, signal: "SIGTERM" })
    })
  )

  it.live("writes every field of it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const releases = join(folder, "releases.json")
      const command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"]
      const versions = { v1: { command, env: { EBB_WORKERS: "1" } } }
      yield* Effect.promise(() => writeFile(releases, JSON.stringify({ versions })))
      const cluster = yield* local.claimCluster({
        folder,
        name: "local",
        releases,
        dataDir: join(folder, "data")
      })
      yield* (yield* local.startNats(cluster)).stop
      const orchestrator = yield* orchestratorIn(build, folder, releases)
      yield* orchestrator.start({ instance: "n-1", version: "v1" })
      yield* orchestrator.signalOnce("n-1", "SIGTERM")
      yield* orchestrator.ended("n-1")
      for (const [name, plain] of Object.entries(golden)) {
        const text = yield* Effect.promise(() => readFile(join(folder, name), "utf8"))
        assertHas(JSON.parse(text) as Plain, plain, name)
      }
    })
  )
})
