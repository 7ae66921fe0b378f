import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { computeInChild } from "../../src/recording/ComputeProcess.ts"
import { decodeLine } from "../../src/recording/ComputeOutcome.ts"
import type { Manifest } from "../../src/recording/Manifest.ts"
import { writeManifest } from "../../src/recording/Manifest.ts"
import { recover } from "../../src/recording/Recovery.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { aManifest, arriving, opusTrack, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import { startProgram } from "./processes.ts"
import { realRtp } from "./realRtp.ts"

const where = (command: string) => execFileSync("which", [command], { encoding: "utf8" }).trim()

/** A folder of commands to be the PATH: flock, and an ffprobe of the test's choosing. */
const commands = Effect.fnUntraced(function* (ffprobe: string | undefined) {
  const folder = yield* temporaryFolder
  fs.symlinkSync(where("flock"), path.join(folder, "flock"))
  if (ffprobe !== undefined) {
    fs.writeFileSync(path.join(folder, "ffprobe"), `#!/bin/sh\n${ffprobe}\n`, { mode: 0o755 })
  }
  return folder
})

/** An ffprobe that does its work only when the file `go` is there: until then the computation stands at its verification. */
const waiting = (go: string) =>
  `while [ ! -e '${go}' ]; do ${where("sleep")} 0.02; done\nexec '${where("ffprobe")}' "$@"`

const setUp = Effect.gen(function* () {
  const dataDir = yield* temporaryFolder
  const source = yield* realRtp({ seconds: 2 })
  const part = path.join(dataDir, "incarnations", "dead", "rec")
  yield* writePart({
    folder: part,
    tracks: { video: vp8Track(), audio: opusTrack() },
    events: [...arriving("video", source.video, 90_000, 0), ...arriving("audio", source.audio, 48_000, 0)]
  })
  const store = path.join(dataDir, "results")
  return { dataDir, part, source, store, go: path.join(dataDir, "go") }
})

const childrenOf = (pid: number): ReadonlyArray<number> =>
  fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number)

/** Also a zombie is gone. */
const isAlive = (pid: number): boolean => {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

const commandOf = (pid: number): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")
  } catch {
    return ""
  }
}

/** The compute process of `pid` and what it runs: it tells of the verification just before it starts ffprobe. */
const untilFamily = (pid: number, command = "") =>
  Effect.sync(() => childrenOf(pid).flatMap((child) => [child, ...childrenOf(child)])).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("10 millis"),
      until: ([, ...pids]) => pids.some((each) => commandOf(each).includes(command))
    })
  )

/** The same journal as another part's. */
const copyOf = Effect.fnUntraced(function* (part: string, changes: Partial<Manifest>) {
  const copy = path.join(yield* temporaryFolder, "rec")
  fs.cpSync(part, copy, { recursive: true })
  yield* writeManifest(copy, aManifest(changes))
  return copy
})

const untilGone = (pids: ReadonlyArray<number>) =>
  Effect.repeat(
    Effect.sync(() => pids.some((pid) => isAlive(pid))),
    { schedule: Schedule.spaced("10 millis"), while: (alive) => alive }
  )

/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

describe("computing in a process of its own", () => {
  it.live(
    "gives the receipt, and tells of its progress",
    () =>
      Effect.gen(function* () {
        const { part, source, store } = yield* setUp
        const steps = new Set<string>()
        const receipt = yield* computeInChild(part, {
          computedBy: "node-7",
          onProgress: ({ step }) => steps.add(step)
        }).pipe(Effect.provide(RecordingStore.folder(store)))
        assert.strictEqual(receipt.computedBy, "node-7")
        assert.deepStrictEqual(
          receipt.tracks.map((track) => track.frames),
          [source.videoFrames, source.audioFrames]
        )
        assert.deepStrictEqual([...steps], ["index", "mux", "verify", "store"])
      }),
    patience
  )

  it.live(
    "gives the typed error of the process",
    () =>
      Effect.gen(function* () {
        const { part, store } = yield* setUp
        fs.rmSync(path.join(part, "journal.ebbj"))
        const error = yield* Effect.flip(
          computeInChild(part, { computedBy: "n" }).pipe(Effect.provide(RecordingStore.folder(store)))
        )
        assert.strictEqual(error._tag, "JournalMissing")
        assert.deepInclude(error, { folder: part, recordingId: "rec" })
      }),
    patience
  )

  it.live(
    "says when ffmpeg is missing, and when it finds the file wrong; neither leaves a receipt",
    () =>
      Effect.gen(function* () {
        const { part, store } = yield* setUp
        for (const [ffprobe, tag] of [
          [undefined, "FfmpegMissing"],
          ["echo 'something is wrong' >&2; exit 1", "VerificationFailed"]
        ] as const) {
          const program = yield* startProgram("src/bin/ebb-compute.ts", [part, "--store", store], {
            env: { PATH: yield* commands(ffprobe) }
          })
          assert.strictEqual((yield* program.exited).code, 1)
          const last = decodeLine(program.lines.at(-1))
          const line = last._tag === "Success" ? last.value : undefined
          assert.strictEqual(line?._tag === "Refused" ? line.error._tag : line, tag)
        }
        assert.deepStrictEqual(fs.readdirSync(part).toSorted(), [
          "compute.lock",
          "journal.ebbj",
          "manifest.json"
        ])
        assert.deepStrictEqual(fs.readdirSync(path.join(store, "rec")), [".0-incarnation.media.staged"])
      }),
    patience
  )

  it.live(
    "chooses its names when no other part of the recording is at it, and replaces nothing",
    () =>
      Effect.gen(function* () {
        const { part, store } = yield* setUp
        const inStore = path.join(store, "rec")
        yield* Effect.gen(function* () {
          const { exclusive, putReceipt, receipts } = yield* RecordingStore
          const turn = yield* Scope.make()
          yield* Scope.provide(exclusive("rec"), turn)
          const program = yield* startProgram("test/recording/programs/computing.ts", [part, store])
          yield* program.until((line) => line === "store")
          yield* untilFamily(program.pid, "flock")
          // Meanwhile another part, computed elsewhere, takes the plain names.
          const elsewhere = path.join(store, "elsewhere")
          const receipt = yield* computeInChild(yield* copyOf(part, { incarnation: "other" }), {
            computedBy: "n"
          }).pipe(Effect.provide(RecordingStore.folder(elsewhere)))
          fs.copyFileSync(path.join(elsewhere, "rec/recording.webm"), path.join(inStore, "recording.webm"))
          yield* putReceipt("rec", "receipt.json", receipt)
          yield* Scope.close(turn, Exit.void)
          yield* program.until((line) => line === "computed rec")
          const names = [...(yield* receipts("rec"))].map(([name, { file }]) => [name, file])
          assert.deepStrictEqual(names, [
            ["receipt-0-incarnation.json", "recording-0-incarnation.webm"],
            ["receipt.json", "recording.webm"]
          ])
        }).pipe(Effect.provide(RecordingStore.folder(store)))
      }),
    patience
  )

  it.live(
    "goes on when its node's whole process group gets SIGTERM and SIGINT",
    () =>
      Effect.gen(function* () {
        const { go, part, store } = yield* setUp
        const node = yield* startProgram("test/recording/programs/computing.ts", [part, store], {
          env: { PATH: yield* commands(waiting(go)) },
          detached: true
        })
        yield* node.until((line) => line === "verify")
        process.kill(-node.pid, "SIGTERM")
        process.kill(-node.pid, "SIGINT")
        yield* node.until((line) => line === "SIGTERM")
        yield* node.until((line) => line === "SIGINT")
        fs.writeFileSync(go, "")
        yield* node.until((line) => line === "computed rec")
        assert.strictEqual((yield* node.exited).code, 0)
      }),
    patience
  )

  it.live(
    "is told from a refusal when it is killed, and computes the same when it is started again",
    () =>
      Effect.gen(function* () {
        const { go, part, store } = yield* setUp
        const node = yield* startProgram("test/recording/programs/computing.ts", [part, store], {
          env: { PATH: yield* commands(waiting(go)) }
        })
        yield* node.until((line) => line === "verify")
        const [child = 0] = childrenOf(node.pid)
        // Calls go first: the greatest niceness there is, and ffprobe has its own from it.
        const nicenessOf = (pid: number) =>
          fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[16]
        const family = yield* untilFamily(node.pid)
        assert.deepStrictEqual(
          family.map((pid) => nicenessOf(pid)),
          family.map(() => "19")
        )
        process.kill(child, "SIGKILL")
        yield* node.until((line) => line === "ComputeFailed")
        fs.writeFileSync(go, "")
        const receipt = yield* computeInChild(part, { computedBy: "n" }).pipe(
          Effect.provide(RecordingStore.folder(store))
        )
        assert.strictEqual(receipt.state, "Computed")
      }),
    patience
  )

  it.live(
    "killed in any of its steps, is computed again: the same bytes, one receipt, nothing left over",
    () =>
      Effect.gen(function* () {
        const { part, store } = yield* setUp
        const elsewhere = path.join(store, "elsewhere")
        const whole = yield* computeInChild(part, { computedBy: "n" }).pipe(
          Effect.provide(RecordingStore.folder(elsewhere))
        )
        for (const file of ["receipt.json", "manifest.json"]) fs.rmSync(path.join(part, file))
        yield* writeManifest(part, aManifest({ state: "Sealing" }))
        for (const wanted of ["index", "mux", "verify", "store"] as const) {
          const exit = yield* computeInChild(part, {
            computedBy: "n",
            onProgress: ({ step }) => {
              if (step === wanted) for (const child of childrenOf(process.pid)) process.kill(child, "SIGKILL")
            }
          }).pipe(Effect.provide(RecordingStore.folder(store)), Effect.exit)
          // In its last step it may be done before the signal comes.
          if (wanted === "store") continue
          assert.isTrue(Exit.isFailure(exit), wanted)
          assert.isFalse(fs.existsSync(path.join(part, "receipt.json")), wanted)
        }
        const again = yield* computeInChild(part, { computedBy: "n" }).pipe(
          Effect.provide(RecordingStore.folder(store))
        )
        assert.strictEqual(again.sha256, whole.sha256)
        const left = fs.readdirSync(path.join(store, "rec")).filter((name) => !name.startsWith(".lock"))
        assert.deepStrictEqual(left.toSorted(), ["receipt.json", "recording.webm"])
      }),
    patience
  )

  it.live(
    "is killed when it says nothing for a while, and can be computed again",
    () =>
      Effect.gen(function* () {
        const { go, part, store } = yield* setUp
        const before = process.env["PATH"]
        process.env["PATH"] = yield* commands(waiting(go))
        yield* Effect.addFinalizer(() => Effect.sync(() => (process.env["PATH"] = before)))
        const computing = computeInChild(part, { computedBy: "n", silenceMs: 3000 }).pipe(
          Effect.provide(RecordingStore.folder(store))
        )
        const fiber = yield* Effect.forkChild(Effect.flip(computing))
        const family = yield* untilFamily(process.pid, "ffprobe")
        process.kill(family[0] ?? 0, "SIGSTOP")
        const error = yield* Fiber.join(fiber)
        assert.deepInclude(error, { _tag: "ComputeFailed", retry: "safe" })
        assert.include(error.message, "no sign of life for 3000 ms")
        yield* untilGone(family)
        fs.writeFileSync(go, "")
        assert.strictEqual((yield* computing).state, "Computed")
      }),
    patience
  )

  it.live(
    "kills an ffprobe that stands still, though it lives itself, and can be computed again",
    () =>
      Effect.gen(function* () {
        const { go, part, store } = yield* setUp
        const before = process.env["PATH"]
        process.env["PATH"] = yield* commands(waiting(go))
        yield* Effect.addFinalizer(() => Effect.sync(() => (process.env["PATH"] = before)))
        const computing = computeInChild(part, { computedBy: "n", silenceMs: 3000 }).pipe(
          Effect.provide(RecordingStore.folder(store))
        )
        assert.deepInclude(yield* Effect.flip(computing), {
          _tag: "FfmpegStalled",
          retry: "safe",
          silentMs: 3000
        })
        fs.writeFileSync(go, "")
        assert.strictEqual((yield* computing).state, "Computed")
      }),
    patience
  )

  it.live(
    "ends, with its ffprobe, when its node is killed; the next start finishes the recording",
    () =>
      Effect.gen(function* () {
        const { dataDir, go, part, source, store } = yield* setUp
        const node = yield* startProgram("test/recording/programs/computing.ts", [part, store], {
          env: { PATH: yield* commands(waiting(go)) }
        })
        yield* node.until((line) => line === "verify")
        const family = yield* untilFamily(node.pid)
        node.kill("SIGKILL")
        yield* untilGone(family)

        const [outcome] = yield* recover(dataDir, { computedBy: "next" }).pipe(
          Effect.provide(RecordingStore.folder(store))
        )
        assert.strictEqual(
          outcome?._tag === "Recovered" && outcome.receipt.tracks[0]?.frames,
          source.videoFrames
        )
      }),
    patience
  )

  it.live(
    "is killed, with its ffprobe, when whoever waits for it is interrupted",
    () =>
      Effect.gen(function* () {
        const { go, part, store } = yield* setUp
        const before = process.env["PATH"]
        process.env["PATH"] = yield* commands(waiting(go))
        const verifying = yield* Deferred.make<void>()
        const fiber = yield* computeInChild(part, {
          computedBy: "n",
          onProgress: ({ step }) => step === "verify" && Deferred.doneUnsafe(verifying, Effect.void)
        }).pipe(Effect.provide(RecordingStore.folder(store)), Effect.forkChild)
        yield* Deferred.await(verifying).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              process.env["PATH"] = before
            })
          )
        )
        const family = yield* untilFamily(process.pid)
        yield* Fiber.interrupt(fiber)
        yield* untilGone(family)
      }),
    patience
  )
})
