// Builds the worker by the recipe beside this file, from the sources in mediasoup's npm package.
import { spawn } from "node:child_process"
import { copyFile, readFile } from "node:fs/promises"
import { createWriteStream } from "node:fs"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import { finished } from "node:stream/promises"

const here = import.meta.dirname
export const recipe = path.join(here, "recipe")

/** What the recipe needs, as tools/packages.sh takes it: a command or a file, and the Debian package that has it. */
const packages = [
  "cmake=cmake",
  "ninja=ninja-build",
  "g++=g++",
  "pkg-config=pkg-config",
  "flatc=flatbuffers-compiler",
  "/usr/include/flatbuffers/flatbuffers.h=libflatbuffers-dev",
  "/usr/include/uv.h=libuv1-dev",
  "/usr/include/openssl/ssl.h=libssl-dev",
  "/usr/include/srtp2/srtp.h=libsrtp2-dev",
  "/usr/include/absl/types/optional.h=libabsl-dev"
]

const beatMillis = 10_000

/** Runs a step of the build; shows how far it is every ten seconds, and the end of its output if it fails. */
const run = async (log: string, say: (line: string) => void, file: string, args: ReadonlyArray<string>) => {
  const start = performance.now()
  let progress = ""
  const child = spawn(file, args, {
    env: { ...process.env, NINJA_STATUS: "[%f/%t] " },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const output = createWriteStream(log, { flags: "a" })
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output.write(chunk)
      progress =
        chunk
          .toString()
          .match(/\[\d+\/\d+\]/g)
          ?.at(-1) ?? progress
    })
  }
  const beat = setInterval(() => {
    say(`  building the worker ${progress} ${Math.round((performance.now() - start) / 1000)} s`)
  }, beatMillis)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", resolve)
  }).finally(() => clearInterval(beat))
  output.end()
  await finished(output)
  if (code !== 0) {
    const tail = (await readFile(log, "utf8")).trimEnd().split("\n").slice(-40).join("\n")
    throw new Error(`${file} ended with ${code}:\n${tail}`)
  }
}

export interface Options {
  /** The folder of the mediasoup package. */
  readonly mediasoup: string
  /** An empty folder to build in, some 120 MB. */
  readonly scratch: string
  readonly say: (line: string) => void
}

/** Builds the worker at `target`. Takes two minutes on two cores. */
export const buildWorker = async (target: string, { mediasoup, scratch, say }: Options): Promise<boolean> => {
  const missing = spawn("sh", [path.join(here, "../packages.sh"), ...packages], { stdio: "inherit" })
  const code = await new Promise<number | null>((resolve, reject) => {
    missing.on("error", reject)
    missing.on("exit", resolve)
  })
  if (code !== 0) throw new Error("what the worker is built with is not installed")

  say("building the mediasoup worker from source, once per machine: about two minutes on two cores")
  const build = path.join(scratch, "build")
  const log = path.join(scratch, "log")
  await run(log, say, "cmake", ["-G", "Ninja", "-S", recipe, "-B", build, `-DMEDIASOUP_DIR=${mediasoup}`])
  await run(log, say, "ninja", ["-C", build, "-j", String(os.availableParallelism())])
  await copyFile(path.join(build, "mediasoup-worker"), target)
  return true
}
