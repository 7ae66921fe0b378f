// Builds the packages afresh and packs each, as it would be published, to test/releases/<version>: later versions are run
// against these, so what is there is not packed again unless `--again` says that nobody has it yet. Checks what a user of the tarballs would stumble on: entry points, types, what is missing from the files.
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import path from "node:path"
import process from "node:process"
import { root, toolEnv } from "./check.ts"

const names = ["actors", "media", "deployer"]
const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly version: string
}
const target = path.join(root, "test", "releases", version)

const run = (folder: string, program: string, ...args: ReadonlyArray<string>) =>
  execFileSync(program, args, { cwd: folder, env: toolEnv(), stdio: ["ignore", "ignore", "inherit"] })

if (existsSync(target) && !process.argv.includes("--again")) {
  process.stderr.write(
    `${version} is packed, and later versions are tested against it: raise the version in package.json and packages/*, or say --again\n`
  )
  process.exit(1)
}
rmSync(target, { recursive: true, force: true })
mkdirSync(target, { recursive: true })
for (const name of names) rmSync(path.join(root, "packages", name, "dist"), { recursive: true, force: true })
run(root, "tsc", "-b")
for (const name of names) {
  const folder = path.join(root, "packages", name)
  run(folder, "npx", "--yes", "pnpm@12.21.0", "pack", "--pack-destination", target)
  const tarball = path.join(target, `ebb-${name}-${version}.tgz`)
  run(root, "publint", "run", tarball, "--strict")
  // ESM only, by design.
  run(root, "attw", tarball, "--profile", "esm-only")
  process.stdout.write(`${path.relative(root, tarball)}\n`)
}
