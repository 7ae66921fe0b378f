/** What the commands print, where somebody was misled once. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { startProgram } from "../support/program.ts"
import { until } from "../support/until.ts"
import { ebbCluster, ebbProgram, jsonOf, nodeCommand, ran, serverOf, stateFolder } from "./ebbCluster.ts"

const commands =
  "up,rollout,nodes,rooms,recordings,recordings list,recordings show,recordings play,recordings recover,recordings give-up,cordon,uncordon,drain,undrain,token"

describe("ebb --help", () => {
  it.live(
    "fits into 80 columns, for each command, and the root names every exit code",
    () =>
      Effect.gen(function* () {
        for (const command of ["", ...commands.split(",")]) {
          const { lines } = yield* ran(...command.split(" ").filter((word) => word !== ""), "--help")
          assert.deepStrictEqual(
            lines.filter((line) => line.length > 80),
            [],
            command
          )
          assert.include(lines.join("\n"), "--log-level LEVEL")
        }
        const help = (yield* ran("--help")).lines.join(" ")
        for (const code of [0, 1, 2, 4, 64, 130]) assert.match(help, new RegExp(`\\b${code} [a-z]`))
      }).pipe(Effect.scoped),
    120_000
  )
})

describe("ebb", () => {
  it.live("says of a name that cannot be one what a name may be, and ends with 64", () =>
    Effect.gen(function* () {
      const nodes = ["cordon", "uncordon", "drain", "undrain"].map((command) => [command, "a b"])
      for (const mistyped of [...nodes, ["nodes", "--cluster", "a.b"]]) {
        const { code, lines } = yield* ran(...mistyped)
        assert.strictEqual(code, 64, mistyped.join(" "))
        assert.include(lines[0], "1 to 64 letters, digits, _ or -")
      }
      for (const mistyped of [
        ["up", "--nodes", "-1"],
        ["drain", "a", "--deadline", "-1"]
      ]) {
        const { code, lines } = yield* ran(...mistyped)
        assert.strictEqual(code, 64, mistyped.join(" "))
        assert.notInclude(lines.join("\n"), "Schema")
      }
    }).pipe(Effect.scoped)
  )

  it.live("signs what is wrong with `recordings recover` as that command", () =>
    Effect.gen(function* () {
      const { code, lines } = yield* ran("recordings", "recover", "/nonexistent")
      assert.strictEqual(code, 64)
      assert.deepStrictEqual(lines, [
        "ebb recordings recover: there is no folder '/nonexistent'",
        "Try 'ebb recordings recover --help'."
      ])
    }).pipe(Effect.scoped)
  )

  it.live(
    "says that a node was not draining, leaves no cell empty, and when a node that was killed was last heard",
    () =>
      Effect.gen(function* () {
        const cluster = yield* ebbCluster(2)
        const state = ["--state", cluster.folder]
        const [killed] = yield* cluster.instances
        assert.strictEqual(killed?.state._tag, "Running")
        const undrain = yield* ran("undrain", killed?.instance ?? "", ...state)
        assert.deepStrictEqual(undrain.lines, [`${killed?.instance} was not draining: nothing changed`])

        const [header = "", ...rows] = (yield* ran("nodes", ...state)).lines
        assert.match(header, /ADMISSION +CONTROL +.*HEARD$/)
        for (const row of rows) assert.match(row, /Serving +open +connected +0 +0 +\d+s +\d+s$/)

        if (killed?.state._tag === "Running") process.kill(killed.state.pid, "SIGKILL")
        const heardMs = Effect.map(ran("nodes", ...state, "--json"), ({ lines }) =>
          Number(lines.map(jsonOf).find(({ nodeId }) => nodeId === killed?.instance)?.["lastHeardMs"])
        )
        // Living ones renew every 4 s.
        yield* until(heardMs, (ms) => ms > 6000)
      }).pipe(Effect.scoped)
  )

  it.live("keeps the log and a Ctrl-C out of the table on a terminal", () =>
    Effect.gen(function* () {
      const folder = yield* stateFolder({ v1: nodeCommand })
      const command = [process.execPath, ebbProgram, "up", "--state", folder, "--nodes=1", "--version=v1"]
      const up = yield* startProgram(
        "script",
        ["-qc", `stty cols 200; exec ${command.join(" ")}`, "/dev/null"],
        {
          input: true,
          env: { TERM: "xterm", EBB_WORKERS: "1", EBB_STATE: undefined }
        }
      )
      yield* up.says(/ready: 1 node/)
      process.kill(yield* serverOf(folder), "SIGKILL")
      const warning = yield* up.says(/NATS connection lost/)
      yield* up.says(/nats-server runs again/)
      yield* up.types("\x03")
      const draining = yield* up.says(/draining: waiting/)
      // What stood below is gone before the line begins, and it begins at the left.
      // oxlint-disable-next-line no-control-regex
      for (const line of [warning, draining]) assert.match(line, /^(\x1b\[\d+A)?\x1b\[J\S/)
      yield* up.says(/all has ended/)
    }).pipe(Effect.scoped)
  )
})
