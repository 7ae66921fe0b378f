import { spawn } from "node:child_process"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { wrapperScript } from "../src/internal/wrapperScript.ts"
import { temporaryFolder } from "./fixtures.ts"

/** Wrappers run by hand in one folder; their command leaves a line in `ran` and ends with 3. */
const makeFolder = Effect.gen(function* () {
  const folder = path.join(yield* temporaryFolder, "a 'strange' $HOME name")
  const wrapper = path.join(folder, "wrapper.sh")
  yield* Effect.promise(() => mkdir(folder))
  yield* Effect.promise(() => writeFile(wrapper, wrapperScript))
  const run = Effect.callback<number | null>((resume) => {
    const command = ["sh", "-c", `echo ran >>"$1"; exit 3`, "-", path.join(folder, "ran")]
    const child = spawn("/bin/sh", [wrapper, "run", folder, ...command], { detached: true, stdio: "inherit" })
    child.once("exit", (code) => resume(Effect.succeed(code)))
  })
  const read = (name: string) => Effect.promise(() => readFile(path.join(folder, name), "utf8"))
  return { run, read }
})

describe("the wrapper", () => {
  it.live("runs its command once, started any number of times at once", () =>
    Effect.gen(function* () {
      const { run, read } = yield* makeFolder
      const runs = Array.from({ length: 8 }, () => run)
      yield* Effect.all(runs, { concurrency: "unbounded" })
      assert.strictEqual(yield* read("ran"), "ran\n")
      assert.strictEqual(yield* read("exit.json"), `{"code":3}\n`)
    })
  )

  it.live("runs nothing once there is a record of a process", () =>
    Effect.gen(function* () {
      const { run, read } = yield* makeFolder
      yield* run
      const record = yield* read("pid.json")
      yield* run
      assert.strictEqual(yield* read("ran"), "ran\n")
      assert.strictEqual(yield* read("pid.json"), record)
    })
  )
})
