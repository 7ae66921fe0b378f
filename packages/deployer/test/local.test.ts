import { readFile, stat, writeFile } from "node:fs/promises"
import path from "node:path"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { markIntent } from "../src/internal/signalMark.ts"
import { InstanceState, SignalOutcome } from "../src/Orchestrator.ts"
import type { Stage } from "./fixtures.ts"
import { alive, makeStage, pidsOf, until, untilUp } from "./fixtures.ts"

const signals = (stage: Stage) =>
  Effect.map(stage.journal, (lines) => lines.filter((line) => line === "SIGTERM").length)
const starts = (stage: Stage) =>
  Effect.map(stage.journal, (lines) => lines.filter((line) => line.startsWith("up")).length)
const started = Effect.fnUntraced(function* (stage: Stage, instance = "n1") {
  yield* stage.orchestrator.start({ instance, version: "v1" })
  yield* untilUp(stage)
  return yield* pidsOf(stage.folderOf(instance))
})
const text = (file: string) => Effect.promise(() => readFile(file, "utf8"))

/** For the tests that start some two dozen programs one after the other, on a machine that does other things too. */
const manyProcesses = { timeout: 60_000 }

describe("start", () => {
  it.live("returns a running instance, with its output in its log", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const instance = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.strictEqual(instance.state._tag, "Running")
      assert.strictEqual(instance.signalled, "no")
      yield* until(text(instance.log), (log) => log === "hello from the instance\n")
      assert.deepStrictEqual(yield* stage.orchestrator.list, [instance])
    })
  )

  it.live("hands arguments and environment on, and stores none of the environment", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* stage.orchestrator.start({
        instance: "n1",
        version: "v1",
        args: ["--two words", "$HOME 'quoted'"],
        env: { EBB_TEST_SECRET: "hush" }
      })
      yield* untilUp(stage)
      const up = JSON.stringify({ args: ["--two words", "$HOME 'quoted'"], secret: "hush" })
      assert.deepStrictEqual(yield* stage.journal, [`up ${up}`])
      const { pid, wrapper } = yield* pidsOf(stage.folderOf("n1"))
      const readable = [
        path.join(stage.folderOf("n1"), "spec.json"),
        `/proc/${pid}/cmdline`,
        `/proc/${wrapper}/cmdline`
      ]
      for (const file of readable) assert.notInclude(yield* text(file), "hush")
      const { mode } = yield* Effect.promise(() => stat(path.join(stage.folderOf("n1"), "spec.json")))
      assert.strictEqual(mode & 0o777, 0o600)
    })
  )

  it.live("finds what exists when it is repeated, at once or later, here or in another process", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const start = stage.orchestrator.start({ instance: "n1", version: "v1" })
      const elsewhere = stage.inOtherProcess("start", "n1")
      yield* Effect.all([start, start, start, elsewhere, elsewhere], { concurrency: "unbounded" })
      yield* untilUp(stage)
      const again = yield* start
      assert.strictEqual(again.state._tag, "Running")
      assert.strictEqual(yield* starts(stage), 1)
    })
  )

  it.live("never starts an instance again that has ended", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      process.kill(pid, "SIGPWR")
      yield* stage.orchestrator.ended("n1")
      const again = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.deepStrictEqual(again.state, InstanceState.Exited({ code: 7 }))
      assert.strictEqual(yield* starts(stage), 1)
    })
  )

  it.live(
    "killed at any moment and made again, gives one process",
    () =>
      Effect.gen(function* () {
        const stage = yield* makeStage
        const moments = ["spec.json", "wrapper.sh", "log", "lock", "pid.json.tmp", "pid.json"].flatMap(
          (file) => [
            { file, afterMillis: 0 },
            { file, afterMillis: 1 }
          ]
        )
        yield* Effect.forEach(moments, (moment, i) => stage.inOtherProcess("start", `n${i}`, moment))
        for (const [i] of moments.entries()) {
          const instance = yield* stage.orchestrator.start({ instance: `n${i}`, version: "v1" })
          assert.strictEqual(instance.state._tag, "Running")
        }
        yield* untilUp(stage, moments.length)
        assert.strictEqual(yield* starts(stage), moments.length)
      }),
    manyProcesses
  )

  it.live("refuses a name that is taken by another version, and names that are no names", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* started(stage)
      const conflict = yield* Effect.flip(stage.orchestrator.start({ instance: "n1", version: "v2" }))
      assert.strictEqual(conflict._tag, "InstanceConflict")
      for (const instance of ["", "..", "a/b", "a.b", "x".repeat(65)]) {
        const error = yield* Effect.flip(stage.orchestrator.start({ instance, version: "v1" }))
        assert.strictEqual(error._tag, "InvalidName")
        assert.strictEqual((yield* Effect.flip(stage.orchestrator.ended(instance)))._tag, "UnknownInstance")
      }
    })
  )

  it.live("takes up what was asked for first, when the releases file has changed since", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* started(stage)
      yield* stage.release({})
      const again = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.strictEqual(again.state._tag, "Running")
      const error = yield* Effect.flip(stage.orchestrator.start({ instance: "n2", version: "v1" }))
      assert.strictEqual(error._tag, "UnknownVersion")
    })
  )

  it.live("shows a command that does not exist as an exit with 127", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* stage.release({ v1: ["/nowhere/ebb-node"] })
      const { log } = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.deepStrictEqual(yield* stage.orchestrator.ended("n1"), InstanceState.Exited({ code: 127 }))
      assert.include(yield* text(log), "/nowhere/ebb-node")
    })
  )

  it.live("gives the command every signal's default, and the umask of its starter", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* stage.release({ v1: ["sh", "-c", "umask; grep SigIgn /proc/self/status"] })
      const { log } = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.deepStrictEqual(yield* stage.orchestrator.ended("n1"), InstanceState.Exited({ code: 0 }))
      const own = yield* text("/proc/self/status")
      const umask = /^Umask:\t(\d+)$/m.exec(own)?.[1]
      const lines = (yield* text(log)).trimEnd().split("\n")
      // Node itself ignores SIGPIPE (13) and so do its children here; the wrapper adds nothing to it.
      assert.strictEqual(lines[0], umask)
      const ignored = Number.parseInt(lines[1]?.replace("SigIgn:\t", "") ?? "", 16)
      const withoutPipe = ignored & ~(1 << 12)
      assert.strictEqual(withoutPipe, 0)
    })
  )
})

describe("following an instance to its end", () => {
  it.live("gives the exit code, while it lives and long after, from any process", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      const following = yield* Effect.forkChild(stage.orchestrator.ended("n1"))
      process.kill(pid, "SIGPWR")
      assert.deepStrictEqual(yield* Fiber.join(following), InstanceState.Exited({ code: 7 }))
      assert.deepStrictEqual(yield* stage.orchestrator.ended("n1"), InstanceState.Exited({ code: 7 }))
    })
  )

  it.live("says which signal killed it", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      process.kill(pid, "SIGKILL")
      const end = yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(end, InstanceState.Exited({ code: 137, signal: "SIGKILL" }))
    })
  )

  it.live("goes on when only the wrapper is killed, and ends as vanished", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid, wrapper } = yield* started(stage)
      process.kill(wrapper, "SIGKILL")
      yield* until(
        Effect.sync(() => alive(wrapper)),
        (is) => !is
      )
      const [instance] = yield* stage.orchestrator.list
      assert.strictEqual(instance?.state._tag, "Running")
      assert.deepStrictEqual(yield* stage.orchestrator.signalOnce("n1", "SIGTERM"), SignalOutcome.Signalled())
      yield* until(signals(stage), (count) => count === 1)
      process.kill(pid, "SIGPWR")
      const end = yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(end, InstanceState.Vanished({ cause: "wrapper-lost" }))
    })
  )

  it.live("ends as vanished when both are killed, and is not started again", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid, wrapper } = yield* started(stage)
      process.kill(wrapper, "SIGKILL")
      process.kill(pid, "SIGKILL")
      const end = yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(end, InstanceState.Vanished({ cause: "wrapper-lost" }))
      const again = yield* stage.orchestrator.start({ instance: "n1", version: "v1" })
      assert.deepStrictEqual(again.state, end)
    })
  )

  it.live("is exiting, not vanished, while a stopped wrapper has the code yet to write", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid, wrapper } = yield* started(stage)
      process.kill(wrapper, "SIGSTOP")
      process.kill(pid, "SIGPWR")
      yield* until(stage.orchestrator.list, ([instance]) => instance?.state._tag === "Exiting")
      process.kill(wrapper, "SIGCONT")
      assert.deepStrictEqual(yield* stage.orchestrator.ended("n1"), InstanceState.Exited({ code: 7 }))
    })
  )

  it.live("ends as vanished once the machine was started again, whoever has the pid now", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      const file = path.join(stage.folderOf("n1"), "pid.json")
      const original = yield* text(file)
      const otherBoot = original.replace(/"bootId":"[^"]*"/, `"bootId":"other"`)
      yield* Effect.promise(() => writeFile(file, otherBoot))
      const end = yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(end, InstanceState.Vanished({ cause: "machine-restarted" }))
      assert.isFalse(yield* stage.orchestrator.kill("n1"))
      assert.isTrue(alive(pid))
      yield* Effect.promise(() => writeFile(file, original))
    })
  )

  it.live("keeps apart an instance and a stranger that got its pid", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid, wrapper } = yield* started(stage)
      const file = path.join(stage.folderOf("n1"), "pid.json")
      const original = yield* text(file)
      const earlier = original.replace(/"startTime":\d+/, `"startTime":1`)
      yield* Effect.promise(() => writeFile(file, earlier))
      const refused = yield* Effect.flip(stage.orchestrator.signalOnce("n1", "SIGTERM"))
      assert.strictEqual(refused._tag, "InstanceNotRunning")
      assert.isFalse(yield* stage.orchestrator.kill("n1"))
      assert.isTrue(alive(pid) && alive(wrapper))
      // No mark was made, so the one signal is still to be had.
      yield* Effect.promise(() => writeFile(file, original))
      assert.deepStrictEqual(yield* stage.orchestrator.signalOnce("n1", "SIGTERM"), SignalOutcome.Signalled())
    })
  )

  it.live("says which file is damaged", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* started(stage)
      const file = path.join(stage.folderOf("n1"), "pid.json")
      const original = yield* text(file)
      yield* Effect.promise(() => writeFile(file, "{"))
      const error = yield* Effect.flip(stage.orchestrator.list)
      assert.strictEqual(error._tag, "StateUnreadable")
      assert.include(error.message, file)
      yield* Effect.promise(() => writeFile(file, original))
    })
  )
})

describe("signalling once", () => {
  it.live("sends the first, and nothing for any later call, also after the end", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      const signal = stage.orchestrator.signalOnce("n1", "SIGTERM")
      assert.deepStrictEqual(yield* signal, SignalOutcome.Signalled())
      yield* until(signals(stage), (count) => count === 1)
      const already = SignalOutcome.AlreadySignalled({ signalled: "sent" })
      assert.deepStrictEqual(yield* signal, already)
      assert.deepStrictEqual(yield* stage.inOtherProcess("signal", "n1"), [JSON.stringify(already)])
      process.kill(pid, "SIGPWR")
      yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(yield* signal, already)
      assert.strictEqual(yield* signals(stage), 1)
    })
  )

  it.live("sends nothing after a crash between mark and kill, and says that it may have been sent", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid } = yield* started(stage)
      yield* markIntent(stage.folderOf("n1"), "SIGTERM")
      const outcome = yield* stage.orchestrator.signalOnce("n1", "SIGTERM")
      assert.deepStrictEqual(outcome, SignalOutcome.AlreadySignalled({ signalled: "intent" }))
      const [instance] = yield* stage.orchestrator.list
      assert.strictEqual(instance?.signalled, "intent")
      // SIGPWR ends it after anything sent before has been counted.
      process.kill(pid, "SIGPWR")
      yield* stage.orchestrator.ended("n1")
      assert.strictEqual(yield* signals(stage), 0)
    })
  )

  it.live("gives exactly one of many callers the signal", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* started(stage)
      const outcomes = yield* Effect.all(
        Array.from({ length: 20 }, () => stage.orchestrator.signalOnce("n1", "SIGTERM")),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Signalled").length, 1)
      yield* until(signals(stage), (count) => count === 1)
    })
  )

  it.live(
    "never sends a second, with callers killed at any moment",
    () =>
      Effect.gen(function* () {
        const stage = yield* makeStage
        const moments = [
          ...[0, 0, 0, 0, 1, 2].map((afterMillis) => ({ file: "signal.json", afterMillis })),
          // The instance itself has seen the signal: were the mark not there before, the next caller would send another.
          ...[0, 0].map((afterMillis) => ({ file: "seen", afterMillis })),
          { file: "signal-sent.json", afterMillis: 0 }
        ]
        for (const [i, moment] of moments.entries()) {
          const name = `n${i}`
          const env = { EBB_TEST_SIGNAL_SEEN: path.join(stage.folderOf(name), "seen") }
          yield* stage.orchestrator.start({ instance: name, version: "v1", env })
          yield* untilUp(stage, i + 1)
          const { pid } = yield* pidsOf(stage.folderOf(name))
          const before = yield* signals(stage)
          yield* stage.inOtherProcess("signal", name, moment)
          const [instance] = (yield* stage.orchestrator.list).filter((one) => one.instance === name)
          const outcome = yield* stage.orchestrator.signalOnce(name, "SIGTERM")
          process.kill(pid, "SIGPWR")
          yield* stage.orchestrator.ended(name)
          const got = (yield* signals(stage)) - before
          // Only an intent leaves it open whether the signal was sent; in no case were there two.
          if (instance?.signalled === "intent") assert.isAtMost(got, 1)
          else assert.strictEqual(got, 1, `${instance?.signalled} ${outcome._tag}`)
        }
      }),
    manyProcesses
  )

  it.live("reaches the instance once when the whole group is signalled, and the wrapper lives on", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const { pid, wrapper } = yield* started(stage)
      process.kill(-wrapper, "SIGTERM")
      process.kill(-wrapper, "SIGHUP")
      // SIGHUP is nothing patient.ts handles: it ends by it, and the wrapper tells.
      const end = yield* stage.orchestrator.ended("n1")
      assert.deepStrictEqual(end, InstanceState.Exited({ code: 129, signal: "SIGHUP" }))
      assert.isFalse(alive(pid))
      assert.isAtMost(yield* signals(stage), 1)
    })
  )

  it.live("kills when forced, once is enough, marked or not", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      yield* started(stage)
      yield* stage.orchestrator.signalOnce("n1", "SIGTERM")
      assert.isTrue(yield* stage.orchestrator.kill("n1"))
      yield* stage.orchestrator.ended("n1")
      assert.isFalse(yield* stage.orchestrator.kill("n1"))
    })
  )
})
