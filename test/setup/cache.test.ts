import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { cacheFolder, ensureWorker, type Options, type Source } from "../../tools/worker/cache.ts"

let root: string
let folder: string

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), "ebb-cache-test-"))
  folder = path.join(root, "worker", "1.0.0-recipe-x64")
})
afterEach(() => rm(root, { recursive: true, force: true }))

/** Starts as a worker does that finds itself without its parent. */
const goodWorker = "#!/bin/sh\nexit 41\n"

/** A source that counts how often it was asked. */
const source = (content: string | false | Error): Source & { made: number } => ({
  name: "the test's source",
  made: 0,
  async make(target) {
    this.made += 1
    if (content instanceof Error) throw content
    if (content === false) return false
    await writeFile(target, content)
    return true
  }
})

const ensure = (options: Pick<Options, "sources"> & Partial<Options>): Promise<string> =>
  ensureWorker({ folder, accept: async () => {}, say: () => {}, ...options })

/** What is left beside the finished worker's folder. */
const leftovers = async (): Promise<ReadonlyArray<string>> => {
  const names = await readdir(path.dirname(folder))
  return names.filter((name) => name !== path.basename(folder))
}

test("a worker is made once, and found from then on", async () => {
  const made = source(goodWorker)
  const first = await ensure({ sources: [made] })
  expect(await ensure({ sources: [made] })).toBe(first)
  expect(made.made).toBe(1)
  expect(await readFile(first, "utf8")).toBe(goodWorker)
  expect(await leftovers()).toEqual([])
})

test.for([
  {
    name: "was changed by one byte",
    harm: async (worker: string) => writeFile(worker, goodWorker.replace("41", "40"))
  },
  { name: "was cut short", harm: async (worker: string) => writeFile(worker, "") },
  { name: "has lost its checksum", harm: async (worker: string) => rm(`${worker}.sha256`) },
  { name: "is gone", harm: async (worker: string) => rm(worker) },
  { name: "can no longer start", harm: async (worker: string) => chmod(worker, 0o644) }
])("a cached worker that $name is made again", async ({ harm }) => {
  const made = source(goodWorker)
  await harm(await ensure({ sources: [made] }))
  const again = await ensure({ sources: [made] })
  expect(made.made).toBe(2)
  expect(await readFile(again, "utf8")).toBe(goodWorker)
})

test("a worker that fails its checks is not kept, and the next source is asked", async () => {
  const [bad, good] = [source("#!/bin/sh\nexit 1\n"), source(goodWorker)]
  const worker = await ensure({
    sources: [bad, good],
    accept: async (made) => {
      if ((await readFile(made, "utf8")) !== goodWorker) throw new Error("SRTP: nothing arrived")
    }
  })
  expect(await readFile(worker, "utf8")).toBe(goodWorker)
  expect([bad.made, good.made]).toEqual([1, 1])
})

test("a source that has nothing for this machine is passed over without a word", async () => {
  const said: Array<string> = []
  await ensure({ sources: [source(false), source(goodWorker)], say: (line) => said.push(line) })
  expect(said).toEqual([])
})

test("when no source has a worker, each reason is given and nothing is left", async () => {
  const sources = [source(new Error("no compiler")), source(goodWorker)]
  const accept = () => Promise.reject(new Error("SCTP: nothing arrived"))
  await expect(ensure({ sources, accept })).rejects.toThrow(/no compiler[^]*SCTP: nothing arrived/)
  expect(await readdir(path.dirname(folder))).toEqual([])
})

test("what a build that was killed left is removed, and never used", async () => {
  const halfMade = path.join(path.dirname(folder), ".making-killed", "whole")
  await mkdir(halfMade, { recursive: true })
  await writeFile(path.join(halfMade, "mediasoup-worker"), goodWorker)
  const made = source(goodWorker)
  await ensure({ sources: [made] })
  expect(made.made).toBe(1)
  expect(await leftovers()).toEqual([])
})

test("another version, another recipe or another name in it is another worker", async () => {
  const recipe = path.join(root, "recipe")
  await mkdir(path.join(recipe, "shim"), { recursive: true })
  await writeFile(path.join(recipe, "CMakeLists.txt"), "one")
  await writeFile(path.join(recipe, "shim", "srtp.h"), "two")
  const key = (version = "1.0.0") => cacheFolder(root, version, recipe)

  const before = await key()
  expect(await key()).toBe(before)
  const keys = [before, await key("1.0.1")]
  await writeFile(path.join(recipe, "shim", "srtp.h"), "three")
  keys.push(await key())
  await rm(path.join(recipe, "shim", "srtp.h"))
  await writeFile(path.join(recipe, "shim", "srtp3.h"), "three")
  keys.push(await key())
  expect(new Set(keys).size).toBe(keys.length)
})
