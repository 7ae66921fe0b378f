// Where built workers are kept: one folder per mediasoup version, recipe and architecture, outside of any checkout.
//
// A folder that is there is whole, because it was filled under another name and renamed; and still it is not believed:
// each use compares the checksum and starts the program. What does not pass is made again.
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import process from "node:process"

const workerName = "mediasoup-worker"
const checksumName = "mediasoup-worker.sha256"
const halfMade = ".making-"

/** A way to come by a worker. */
export interface Source {
  readonly name: string
  /** Puts it at `target`, or answers false if it cannot be had this way here. `scratch` is an empty folder to work in. */
  readonly make: (target: string, scratch: string) => Promise<boolean>
}

export interface Options {
  /** The folder that holds the worker, as {@link cacheFolder} names it. */
  readonly folder: string
  /** Tried in this order. */
  readonly sources: ReadonlyArray<Source>
  /** Uses the worker in earnest, and rejects if it does not do its work. Called once for each worker made. */
  readonly accept: (worker: string) => Promise<void>
  readonly say: (line: string) => void
}

/** `$EBB_CACHE`, or `ebb` in the user's cache folder. */
export const cacheRoot = (): string =>
  process.env["EBB_CACHE"] ??
  path.join(process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache"), "ebb")

/** A worker built by another recipe, for another mediasoup or another processor is another worker. */
export const cacheFolder = async (root: string, version: string, recipe: string): Promise<string> => {
  const hash = createHash("sha256")
  const entries = await readdir(recipe, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
  for (const file of files.toSorted()) {
    hash
      .update(`${path.relative(recipe, file)}\0`)
      .update(await readFile(file))
      .update("\0")
  }
  return path.join(root, "worker", `${version}-${hash.digest("hex").slice(0, 12)}-${process.arch}`)
}

/** Whether the program starts here: without its parent's environment it says so and exits with 41. */
export const starts = (worker: string): Promise<boolean> =>
  new Promise((resolve) => {
    const child = spawn(worker, { env: {}, stdio: "ignore", timeout: 5000 })
    child.on("error", () => resolve(false))
    child.on("exit", (code) => resolve(code === 41))
  })

const checksum = async (worker: string): Promise<string> =>
  `${createHash("sha256")
    .update(await readFile(worker))
    .digest("hex")}  ${workerName}\n`

/** The path of the worker in `folder` if it is as it was when accepted, and starts. */
const find = async (folder: string): Promise<string | undefined> => {
  const worker = path.join(folder, workerName)
  try {
    const expected = await readFile(path.join(folder, checksumName), "utf8")
    return expected === (await checksum(worker)) && (await starts(worker)) ? worker : undefined
  } catch {
    return undefined
  }
}

/**
 * The path of a worker that works: the cached one, or one made by the first source that can. Rejects if none can. The
 * caller sees to it that only one process does this in one cache at a time.
 */
export const ensureWorker = async ({ folder, sources, accept, say }: Options): Promise<string> => {
  const cached = await find(folder)
  if (cached !== undefined) return cached

  const parent = path.dirname(folder)
  await mkdir(parent, { recursive: true })
  // What an interrupted set-up left.
  for (const name of await readdir(parent)) {
    if (name.startsWith(halfMade)) await rm(path.join(parent, name), { recursive: true, force: true })
  }

  const failures: Array<string> = []
  for (const source of sources) {
    const temporary = await mkdtemp(path.join(parent, halfMade))
    const [whole, scratch] = [path.join(temporary, "whole"), path.join(temporary, "scratch")]
    const worker = path.join(whole, workerName)
    try {
      await mkdir(whole)
      await mkdir(scratch)
      if (!(await source.make(worker, scratch))) continue
      await chmod(worker, 0o755)
      await accept(worker)
      await writeFile(path.join(whole, checksumName), await checksum(worker))
      await rm(folder, { recursive: true, force: true })
      await rename(whole, folder)
      return path.join(folder, workerName)
    } catch (error) {
      const reason = `${source.name}: ${error instanceof Error ? error.message : String(error)}`
      failures.push(reason)
      say(reason)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }
  throw new Error(`no mediasoup worker could be had\n${failures.join("\n")}`)
}
