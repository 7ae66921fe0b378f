import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { checkFfmpeg } from "../../src/recording/Ffprobe.ts"

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
