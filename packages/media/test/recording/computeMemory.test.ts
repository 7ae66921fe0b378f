import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { joinParts } from "../../src/recording/Join.ts"
import { muxRecording } from "../../src/recording/Mux.ts"
import { indexPart } from "../../src/recording/PartIndex.ts"
import { temporaryFolder } from "./fixtures.ts"

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

const longPart = path.join(import.meta.dirname, "programs", "longPart.ts")

/** The most that is alive while a part of so many minutes is read twice and muxed, in megabytes. */
const megabytes = Effect.fnUntraced(function* (minutes: number) {
  const folder = yield* temporaryFolder
  const part = path.join(folder, "part")
  yield* Effect.promise(async () => {
    const args = [longPart, part, "rec", String(minutes), "160x120", "200"]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] })
    const [code] = await once(child, "close")
    if (code !== 0) throw new Error(`no part was written: ${code}`)
  })
  const journalFile = path.join(part, "journal.ebbj")
  let most = 0
  let batches = 0
  const look = Effect.sync(() => {
    if (batches++ % 40 !== 0) return
    collectGarbage()
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    most = Math.max(most, (arrayBuffers + heapUsed) / 1e6)
  })
  const index = yield* indexPart(journalFile, "keep", () => look)
  const recording = joinParts([index], new Set())
  const { durationMs } = yield* muxRecording({
    recording,
    lossPolicy: "keep",
    targets: [{ file: path.join(folder, "muxed.webm"), streams: recording.streams, times: "timeline" }],
    texts: [],
    software: "test",
    onProgress: () => look
  })
  assert.strictEqual(durationMs, minutes * 60_000)
  return most
}, Effect.scoped)

it.live(
  "computing takes no more memory for half an hour than for three minutes",
  () =>
    Effect.gen(function* () {
      yield* megabytes(1)
      const short = yield* megabytes(3)
      const long = yield* megabytes(30)
      // 55 MB of journal more. Buffers are given back only some time after a collection: what is seen of them goes up and down by 10 MB.
      assert.isBelow(long - short, 14)
    }),
  120_000
)
