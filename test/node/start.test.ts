/** What a node that cannot start says, and that it ends: one line, 1. */
import { execFileSync } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ebbNodeArgs } from "../support/ebbNode.ts"
import { natsServer } from "../support/natsServer.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { testCluster } from "../support/testCluster.ts"

const run = Effect.fnUntraced(function* (
  options: Parameters<typeof ebbNodeArgs>[0],
  path = process.env["PATH"]
) {
  const program = yield* startProgram("env", [`PATH=${path}`, process.execPath, ...ebbNodeArgs(options)])
  const { code } = yield* program.exited
  return { code, errors: program.lines.filter((line) => !line.includes(" INFO ")) }
})

it.live("without ffmpeg a node does not start: no recording could ever be computed", () =>
  Effect.gen(function* () {
    const nats = yield* natsServer
    const dataDir = yield* temporaryFolder
    const node = { nodeId: "a", cluster: "test", nats: nats.address, dataDir }
    const { code, errors } = yield* run(node, yield* temporaryFolder)
    expect(errors).toHaveLength(1)
    expect(errors[0]).toMatch(/^ebb-node: .*ffprobe/)
    expect(code).toBe(1)
  })
)

it.live("without NATS it says where it looked for it", () =>
  Effect.gen(function* () {
    const nats = yield* natsServer
    yield* nats.kill
    const dataDir = yield* temporaryFolder
    const { code, errors } = yield* run({ nodeId: "a", cluster: "test", nats: nats.address, dataDir })
    expect(errors).toEqual([expect.stringContaining(`no connection to NATS at ${nats.address}`)])
    expect(code).toBe(1)
  })
)

it.live("a node id that a living node has is refused, and the living one serves on", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const a = yield* cluster.node("a")
    const { code, errors } = yield* run(cluster.options("a"))
    expect(errors).toHaveLength(1)
    expect(errors[0]).toMatch(/^ebb-node: .*'a'/)
    expect(code).toBe(1)
    const { incarnation, life } = yield* cluster.call("node.status", { nodeId: "a" })
    expect({ incarnation, life }).toEqual({ incarnation: a.incarnation, life: "Serving" })
  })
)

it.live("a data folder that cannot be written is named", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const file = join(yield* temporaryFolder, "a-file")
    yield* Effect.promise(() => writeFile(file, ""))
    const { code, errors } = yield* run(cluster.options("a", { dataDir: join(file, "data") }))
    expect(errors).toHaveLength(1)
    expect(errors[0]).toContain(`ebb-node: cannot create ${file}`)
    expect(code).toBe(1)
  })
)

it.live("a data folder in which nothing can be made is named", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { code, errors } = yield* run(cluster.options("a", { dataDir: "/proc/ebb/data" }))
    expect(errors).toEqual([expect.stringMatching(/^ebb-node: cannot create \/proc\/ebb\/data.*: ENOENT/)])
    expect(code).toBe(1)
  })
)

it.live(
  "a data folder on a dead mount is named after a while, and until then the third signal ends the node as ever",
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const fifo = join(yield* temporaryFolder, "fifo")
      execFileSync("mkfifo", [fifo])
      const hangs = [
        `EBB_TEST_FIFO=${fifo}`,
        `NODE_OPTIONS=--import=${pathToFileURL(join(import.meta.dirname, "programs/hangingMkdir.ts")).href}`
      ]
      const start = (nodeId: string) =>
        startProgram("env", [...hangs, process.execPath, ...ebbNodeArgs(cluster.options(nodeId))])
      const a = yield* start("a")
      const b = yield* start("b")
      yield* b.says(/connected to NATS/)
      for (let times = 0; times < 3; times++) {
        if (times > 0) yield* Effect.sleep(1100)
        yield* b.signal("SIGTERM")
      }
      expect(yield* b.exited).toMatchObject({ code: 143 })

      yield* a.says(/^ebb-node: cannot create .*incarnations.*no answer in 15 s/)
      expect(yield* a.exited).toMatchObject({ code: 1 })
    })
)
