/** A packed release as its users have it: unpacked beside its dependencies, which are links to what this project has. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"

const releases = join(import.meta.dirname, "../releases")
const packages = join(import.meta.dirname, "../../packages")

export type PackageName = "actors" | "media" | "deployer"
const names: ReadonlyArray<PackageName> = ["actors", "media", "deployer"]

/** All that were packed, by version. */
export const releaseVersions: ReadonlyArray<string> = readdirSync(releases).toSorted()

export interface Release {
  readonly version: string
  /** Its packages are in `node_modules` here. */
  readonly folder: string
  /** A file of one of its packages: `media`, `dist/bin/ebb-node.js`. */
  readonly path: (name: PackageName, file: string) => string
  /** A module of one of its packages, by its name in the sources: `actors`, `Envelope`. */
  readonly load: <Module>(name: PackageName, module: string) => Effect.Effect<Module>
}

export const unpackedRelease = (version: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => unpack(version)),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    ),
    (folder): Release => {
      const path = (name: PackageName, file: string) => join(folder, "node_modules/@ebb", name, file)
      const load = <Module>(name: PackageName, module: string) =>
        Effect.promise(() => import(pathToFileURL(path(name, `dist/${module}.js`)).href) as Promise<Module>)
      return { version, folder, path, load }
    }
  )

const unpack = (version: string): string => {
  const folder = mkdtempSync(join(tmpdir(), "ebb-release-"))
  const modules = join(folder, "node_modules")
  for (const name of names) {
    const target = join(modules, "@ebb", name)
    mkdirSync(target, { recursive: true })
    const tarball = join(releases, version, `ebb-${name}-${version}.tgz`)
    execFileSync("tar", ["xzf", tarball, "-C", target, "--strip-components=1"])
    linkAll(join(packages, name, "node_modules"), modules)
  }
  return folder
}

const linkAll = (from: string, to: string): void => {
  for (const name of readdirSync(from).filter((each) => !each.startsWith(".") && each !== "@ebb")) {
    const target = join(to, name)
    if (name.startsWith("@")) {
      mkdirSync(target, { recursive: true })
      linkAll(join(from, name), target)
    } else if (!existsSync(target)) symlinkSync(realpathSync(join(from, name)), target)
  }
}
