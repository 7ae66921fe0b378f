/** The packed release is what its users get: it is unpacked beside its dependencies, and its programs are run from there. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"

const releases = fileURLToPath(new URL("../releases/", import.meta.url))
const packages = fileURLToPath(new URL("../../packages/", import.meta.url))

/** A folder whose node_modules holds the release's packages, and what they depend on as links to what this project has. */
const unpacked = (version: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(path.join(tmpdir(), "ebb-release-"))
      const modules = path.join(folder, "node_modules")
      mkdirSync(path.join(modules, "@ebb"), { recursive: true })
      for (const name of ["actors", "media", "deployer"]) {
        const target = path.join(modules, "@ebb", name)
        mkdirSync(target)
        const tarball = path.join(releases, version, `ebb-${name}-${version}.tgz`)
        execFileSync("tar", ["xzf", tarball, "-C", target, "--strip-components=1"])
        linkAll(path.join(packages, name, "node_modules"), modules)
      }
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

const linkAll = (from: string, to: string): void => {
  for (const name of readdirSync(from).filter((each) => !each.startsWith(".") && each !== "@ebb")) {
    const target = path.join(to, name)
    if (name.startsWith("@")) {
      mkdirSync(target, { recursive: true })
      linkAll(path.join(from, name), target)
    } else if (!existsSync(target)) symlinkSync(realpathSync(path.join(from, name)), target)
  }
}

it.live.each(readdirSync(releases))("release %s: its programs start from what was packed", (version) =>
  Effect.gen(function* () {
    const folder = yield* unpacked(version)
    const run = (program: string, ...args: ReadonlyArray<string>) =>
      execFileSync(process.execPath, [path.join(folder, "node_modules/@ebb", program), ...args], {
        encoding: "utf8"
      })
    expect(run("media/dist/bin/ebb-node.js", "--help")).toContain("SIGTERM")
    expect(run("deployer/dist/bin/ebb.js", "--help")).toContain("rollout")
    const source = `import * as media from "@ebb/media"; import * as wire from "@ebb/media/protocol"; import * as actors from "@ebb/actors"
      console.log(typeof media.startNode, typeof wire.makeControlClient, typeof actors.define)`
    const imported = execFileSync(process.execPath, ["--input-type=module", "--eval", source], {
      cwd: folder,
      encoding: "utf8"
    })
    expect(imported.trim()).toBe("function function function")
  })
)
