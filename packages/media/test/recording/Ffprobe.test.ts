import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { checkFfmpeg } from "../../src/recording/Ffprobe.ts"
import { defaultSilenceMs, runFfmpeg } from "../../src/recording/internal/ffmpegProcess.ts"
import { temporaryFolder } from "./fixtures.ts"

const withPath = <A, E>(path: string, effect: Effect.Effect<A, E>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = process.env["PATH"]
      process.env["PATH"] = path
      return before
    }),
    () => effect,
    (before) =>
      Effect.sync(() => {
        process.env["PATH"] = before
      })
  )

const asAnother = Effect.fnUntraced(function* (script: string) {
  const folder = yield* temporaryFolder
  writeFileSync(path.join(folder, "ffprobe"), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return `${folder}:${process.env["PATH"]}`
})

describe("ffmpeg's programs", () => {
  it.live("are not given what the node knows by its environment", () =>
    Effect.gen(function* () {
      process.env["EBB_TOKEN_SECRET"] = "of-the-node"
      process.env["AWS_SECRET_ACCESS_KEY"] = "of-the-node"
      const lines: Array<string> = []
      const found = yield* asAnother("env")
      yield* withPath(
        found,
        runFfmpeg("ffprobe", [], (line) => lines.push(line), defaultSilenceMs)
      )
      assert.isTrue(lines.some((line) => line.startsWith("PATH=")))
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("of-the-node")),
        []
      )
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          delete process.env["EBB_TOKEN_SECRET"]
          delete process.env["AWS_SECRET_ACCESS_KEY"]
        })
      ),
      Effect.scoped
    )
  )
})

describe("checkFfmpeg", () => {
  it.live("says which version is there", () =>
    Effect.gen(function* () {
      assert.match((yield* checkFfmpeg).version, /^n?\d/)
    })
  )

  it.live("says at once when there is none", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(withPath("/nowhere", checkFfmpeg))
      assert.strictEqual(error._tag, "FfmpegMissing")
      assert.include(error.message, "ffprobe")
    })
  )
})
