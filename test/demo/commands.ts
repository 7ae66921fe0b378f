/** The `ebb` command line as child processes, just as an operator runs it in two terminals. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

const program = fileURLToPath(new URL("../../packages/deployer/src/bin/ebb.ts", import.meta.url))

export interface Running {
  /** Lines of standard output so far, and the last words on standard error. */
  readonly lines: Array<string>
  readonly complaints: () => string
  readonly ended: Effect.Effect<number>
  readonly signal: (signal: NodeJS.Signals) => void
}

/** Runs `ebb ARGS`; a scope that closes early interrupts it as Ctrl-C does, and waits for its end. */
export const ebb = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  onLine: (line: string) => void = () => {}
) {
  const lines: Array<string> = []
  let complaints = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const started = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
      createInterface({ input: started.stdout }).on("line", (line) => {
        lines.push(line)
        onLine(line)
      })
      started.stderr.setEncoding("utf8").on("data", (text: string) => {
        complaints = (complaints + text).slice(-4000)
      })
      return started
    }),
    (started) =>
      Effect.suspend(() => {
        if (started.exitCode === null && started.signalCode === null) started.kill("SIGINT")
        return endOf(started)
      })
  )
  const running: Running = {
    lines,
    complaints: () => complaints,
    ended: Effect.suspend(() => endOf(child)),
    signal: (signal) => void child.kill(signal)
  }
  return running
})

const endOf = (child: ReturnType<typeof spawn>): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const done = (code: number | null) => resume(Effect.succeed(code ?? 1))
    if (child.exitCode !== null || child.signalCode !== null) return done(child.exitCode)
    child.once("close", done)
    return Effect.sync(() => void child.off("close", done))
  })
