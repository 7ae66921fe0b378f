/** A node started by hand: typed into an interactive shell on a real terminal, so that Ctrl-C is the terminal's own doing. */
import * as Effect from "effect/Effect"
import { ebbNodeArgs, type EbbNode, type EbbNodeOptions } from "../support/ebbNode.ts"
import { startProgram } from "../support/program.ts"
import { untilTrue } from "../support/until.ts"

/** `exited` is the node's end, as the shell tells it; `types` goes to the terminal. */
export const nodeInTerminal = Effect.fnUntraced(function* (options: EbbNodeOptions) {
  const terminal = yield* startProgram("script", ["-qc", "bash --norc --noprofile -i", "/dev/null"], {
    input: true,
    env: { TERM: "dumb" }
  })
  const command = [process.execPath, ...ebbNodeArgs(options)].map((word) => `'${word}'`).join(" ")
  yield* terminal.types(`${command}; echo "it ended: $?."\n`)
  const line = yield* terminal.says(/serves \(incarnation \S+, pid \d+\)/)
  const [, incarnation = "", pid = ""] = /incarnation (\S+), pid (\d+)/.exec(line) ?? []
  // The terminal's end hangs up on the node, which may be too busy to notice.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (!isThere(Number(pid))) return
      process.kill(Number(pid), "SIGKILL")
      yield* untilTrue(() => !isThere(Number(pid)))
    })
  )
  const node: EbbNode = {
    ...terminal,
    nodeId: options.nodeId,
    incarnation,
    pid: Number(pid),
    isRunning: () => isThere(Number(pid)),
    exited: Effect.map(terminal.says(/it ended: \d+\./), (said) => ({
      code: Number(/it ended: (\d+)/.exec(said)?.[1]),
      signal: null,
      atMs: performance.now()
    }))
  }
  return node
})

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
