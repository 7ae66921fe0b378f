/** The packed release is what its users get: it is unpacked beside its dependencies, and its programs are run from there. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { releaseVersions, unpackedRelease } from "../support/release.ts"

it.live.each(releaseVersions)("release %s: its programs start from what was packed", (version) =>
  Effect.gen(function* () {
    const { folder, path } = yield* unpackedRelease(version)
    const run = (program: string, ...args: ReadonlyArray<string>) =>
      execFileSync(process.execPath, [program, ...args], { encoding: "utf8" })
    expect(run(path("media", "dist/bin/ebb-node.js"), "--help")).toContain("SIGTERM")
    expect(run(path("deployer", "dist/bin/ebb.js"), "--help")).toContain("rollout")
    const source = `import * as media from "@ebb/media"; import * as wire from "@ebb/media/protocol"; import * as actors from "@ebb/actors"
      console.log(typeof media.startNode, typeof wire.makeControlClient, typeof actors.define)`
    const imported = execFileSync(process.execPath, ["--input-type=module", "--eval", source], {
      cwd: folder,
      encoding: "utf8"
    })
    expect(imported.trim()).toBe("function function function")
  })
)
