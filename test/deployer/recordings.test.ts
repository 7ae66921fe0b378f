/** `ebb recordings` as an operator uses it, on a cluster with real recordings: the line in which they wait, seen while it moves, and a result that is opened. */
import { assert, it } from "@effect/vitest"
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { holdComputation } from "../support/computing.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until, untilTrue } from "../support/until.ts"
import { ebb, ebbCluster, ebbProgram, nodeCommand, ran, saysJson } from "./ebbCluster.ts"

/** `ebb` on a terminal of 80 by 24, with a desktop whose player writes down what it opens. */
const inTerminal = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const folder = yield* temporaryFolder
  const opened = join(folder, "opened")
  writeFileSync(join(folder, "xdg-open"), `#!/bin/sh\necho "$1" > ${opened}\n`)
  chmodSync(join(folder, "xdg-open"), 0o755)
  const command = [process.execPath, ebbProgram, ...args].join(" ")
  const program = yield* startProgram(
    "script",
    ["-eqc", `stty cols 80 rows 24; exec ${command}`, "/dev/null"],
    {
      input: true,
      env: {
        TERM: "xterm",
        DISPLAY: ":9",
        EBB_STATE: undefined,
        PATH: `${folder}:${process.env["PATH"] ?? ""}`
      }
    }
  )
  return { ...program, opened }
})

it.live(
  "`ebb recordings` shows the line in which recordings wait, what changes while it is watched, and opens a result",
  () =>
    Effect.gen(function* () {
      // On one core one is computed at a time.
      const cluster = yield* ebbCluster(1, { v1: ["taskset", "-c", "0", ...nodeCommand] })
      const state = ["--state", cluster.folder]
      const [node] = yield* cluster.instances
      const pid = node?.state._tag === "Running" ? node.state.pid : 0

      const room = yield* liveRoom(cluster, "room", { recordingId: "first" })
      yield* cluster.call("recording.start", { roomId: "room", recordingId: "second" })
      const watch = yield* ebb("recordings", "--watch", "--json", ...state)
      const seen = (recordingId: string, state: string) =>
        saysJson(watch, "Recording", { recordingId, state })
      yield* seen("second", "Capturing")
      const terminal = yield* inTerminal("recordings", "--watch", ...state)
      yield* terminal.says(/2 recordings, 2 on the way\. Ctrl-C ends/)
      const early = yield* ran("recordings", "play", "second", ...state)
      assert.strictEqual(early.code, 1)
      assert.match(early.lines.join(), /'second' is still captured: .* stopped/)

      yield* untilTrue(() => room.sender.video.frames() > 25)
      yield* room.sender.stop
      const held = yield* Effect.forkChild(holdComputation(pid), { startImmediately: true })
      // The younger comes to the line first, and is at work when the older comes: nobody is sent back.
      yield* cluster.call("recording.stop", { recordingId: "second" })
      const { release } = yield* Fiber.join(held)
      yield* cluster.call("recording.stop", { recordingId: "first" })
      yield* until(
        cluster.call("recording.get", { recordingId: "first" }),
        ({ progress }) => progress?.position === 1
      )
      const { computing } = yield* cluster.call("node.status", { nodeId: node?.instance ?? "" })
      assert.deepStrictEqual(
        computing?.map(({ position, recordingId }) => [recordingId, position]),
        [
          ["second", undefined],
          ["first", 1]
        ]
      )
      yield* terminal.says(/^first .* Queued, 1\. /)
      yield* terminal.says(/^second .* Computing \d+% /)
      yield* release
      yield* seen("first", "Computed")
      yield* seen("second", "Computed")
      yield* terminal.says(/2 recordings, 0 on the way/)

      yield* watch.signal("SIGINT")
      assert.strictEqual((yield* watch.exited).code, 130)
      assert.deepInclude(yield* saysJson(watch, "Result"), { outcome: "ended", recordings: 2 })
      yield* terminal.types("\x03")
      assert.strictEqual((yield* terminal.exited).code, 130)
      // oxlint-disable-next-line no-control-regex
      const widths = terminal.lines.map((line) => line.replaceAll(/\x1b\[\d*[A-Z]|\r/g, "").length)
      assert.isAtMost(Math.max(...widths), 80)

      const [file = ""] = (yield* ran("recordings", "play", "first", ...state)).lines
      assert.isTrue(existsSync(file), file)
      assert.deepInclude((yield* ran("recordings", "show", "first", "--json", ...state)).last, {
        outcome: "ok"
      })
      const player = yield* inTerminal("recordings", "play", "first", ...state)
      yield* player.says(/^opening /)
      yield* untilTrue(() => existsSync(player.opened) && readFileSync(player.opened, "utf8") === `${file}\n`)

      // As it is on a machine that does not have the node's disk.
      renameSync(dirname(file), `${dirname(file)}-elsewhere`)
      const elsewhere = yield* ran("recordings", "play", "first", ...state)
      assert.strictEqual(elsewhere.code, 1)
      assert.match(
        elsewhere.lines.join(),
        new RegExp(`not on this machine: node '${node?.instance}' \\(host .*${file}`)
      )
      const printed = yield* ran("recordings", "play", "first", "--print", ...state)
      assert.deepStrictEqual(printed.lines, [file])

      // Deleting is for good: it wants a reason, and a word more.
      const deletion = ["recordings", "delete", "first", "--reason", "asked to by a participant"]
      const unsure = yield* ran(...deletion, ...state)
      assert.strictEqual(unsure.code, 1)
      assert.match(unsure.lines.join(), /'first', \d+ bytes at .*, and its journals would be deleted .*--yes/)
      assert.strictEqual((yield* ran("recordings", "delete", "first", "--yes", ...state)).code, 64)
      const deleted = yield* ran(...deletion, "--yes", "--json", ...state)
      assert.deepInclude(deleted.last, { outcome: "ok", recordingId: "first", journals: 1 })
      const again = ["recordings", "delete", "first", "--reason", "another", "--yes"]
      const stays = /first was deleted by .*@.* at .*Z: asked to by a participant\. That word stays/
      assert.match((yield* ran(...again, ...state)).lines.join("\n"), stays)
      const shown = yield* ran("recordings", "show", "first", ...state)
      assert.match(shown.lines.join("\n"), /deleted +\d{4}-.*Z by .*@.*: asked to by a participant/)
      const unplayable = yield* ran("recordings", "play", "first", ...state)
      assert.strictEqual(unplayable.code, 1)
      assert.match(unplayable.lines.join(), /'first' was deleted: `ebb recordings audit` says/)
      const audit = yield* ran("recordings", "audit", ...state)
      assert.match(audit.lines.join("\n"), /first +room +.*@\S+ +asked to by a participant +[0-9a-f]{12}/)
      assert.notMatch((yield* ran("recordings", ...state)).lines.join("\n"), /first/)
    }).pipe(Effect.scoped),
  120_000
)
