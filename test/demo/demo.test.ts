/** The demo judges itself; here the judge is judged: it says nothing is wrong when nothing is, and finds each fault that is planted. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import type { DemoResult } from "./result.ts"

const program = fileURLToPath(new URL("demo.ts", import.meta.url))

/** Runs the demo with one node to its end; its last line and its exit code. */
const runDemo = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(path.join(tmpdir(), "ebb-demo-test-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ).pipe(
    Effect.flatMap((folder) =>
      Effect.callback<{ readonly code: number | null; readonly result: DemoResult }>((resume) => {
        const child = spawn(
          process.execPath,
          [program, "--json", "--nodes", "1", "--folder", folder, ...args],
          {
            stdio: ["ignore", "pipe", "pipe"]
          }
        )
        let out = ""
        let complaint = ""
        child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text))
        child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text))
        child.once("close", (code) => {
          const last = out.trimEnd().split("\n").at(-1) ?? ""
          resume(
            last.startsWith("{")
              ? Effect.succeed({ code, result: JSON.parse(last) as DemoResult })
              : Effect.die(new Error(`no result: ${complaint.slice(-2000)}`))
          )
        })
        return Effect.sync(() => child.kill("SIGKILL"))
      })
    ),
    Effect.scoped
  )

const limit = { timeout: 180_000 }

it.live(
  "the demo ends with 0 and says so with figures",
  () =>
    Effect.gen(function* () {
      const { code, result } = yield* runDemo()
      expect(result.problems).toEqual([])
      expect(code).toBe(0)
      expect(result).toMatchObject({
        nodesReplaced: 1,
        spawnsFailed: 0,
        roomsCut: 0,
        recordingsLost: 0,
        versionsSeen: ["v1", "v2"]
      })
      expect(result.framesSent).toBeGreaterThan(500)
      expect(result.framesRecorded).toBe(result.framesSent)
    }),
  limit
)

it.live(
  "a room that is cut is found",
  () =>
    Effect.gen(function* () {
      const { code, result } = yield* runDemo("--plant", "cut-room")
      expect(code).toBe(1)
      expect(result.roomsCut).toBe(1)
    }),
  limit
)

it.live(
  "a journal that is damaged is found",
  () =>
    Effect.gen(function* () {
      const { code, result } = yield* runDemo("--plant", "truncate-journal")
      expect(code).toBe(1)
      expect(result.framesRecorded).toBeLessThan(result.framesSent)
    }),
  limit
)
