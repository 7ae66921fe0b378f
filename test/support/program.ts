/**
 * A program as a real process of one test: what it says is read line by line, and it is ended by its pid when the test's scope
 * closes. Should the test's own process be killed, the kernel kills the program with it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Of this process's `performance.now()`. */
  readonly atMs: number
}

export interface Program {
  readonly pid: number
  /** Both outputs. */
  readonly lines: ReadonlyArray<string>
  /** Waits for a line, said already or yet to come. Dies with all it said when it ends without. */
  readonly says: (words: RegExp) => Effect.Effect<string>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Into its standard input, which there is only when asked for. */
  readonly types: (text: string) => Effect.Effect<void>
  /** Ends that input. */
  readonly ends: Effect.Effect<void>
  /** To its whole group, which is its own when it was started so. */
  readonly signalGroup: (name: NodeJS.Signals) => Effect.Effect<void>
  readonly isRunning: () => boolean
  readonly exited: Effect.Effect<Exit>
}

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  /** A session and group of its own. Default false. */
  readonly ownGroup?: boolean
  /** Something to type into. Default false: its standard input is empty. */
  readonly input?: boolean
}

export const startProgram = Effect.fnUntraced(function* (
  command: string,
  args: ReadonlyArray<string>,
  options: ProgramOptions = {}
): Effect.fn.Return<Program, never, Scope.Scope> {
  const lines: Array<string> = []
  const listeners = new Set<() => void>()
  let exit: Exit | undefined
  const told = () => {
    for (const listener of listeners) listener()
  }

  const child = yield* Effect.acquireRelease(
    Effect.callback<ChildProcess>((resume) => {
      const started = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], {
        stdio: [options.input === true ? "pipe" : "ignore", "pipe", "pipe"],
        detached: options.ownGroup ?? false,
        env: { ...process.env, ...options.env }
      })
      for (const output of [started.stdout, started.stderr]) {
        if (output === null) continue
        createInterface({ input: output }).on("line", (line) => {
          lines.push(line)
          told()
        })
      }
      // Not `close`: a grandchild may hold the pipes open for longer than the program lives.
      started.once("exit", (code, signal) => {
        exit = { code, signal, atMs: performance.now() }
        // What it said last is read first.
        setImmediate(() => setImmediate(told))
      })
      started.once("error", (cause) => resume(Effect.die(cause)))
      started.once("spawn", () => resume(Effect.succeed(started)))
    }),
    (child) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        waitFor(() => exit)
      )
  )

  const waitFor = <A>(look: () => A | undefined): Effect.Effect<A> =>
    Effect.callback<A>((resume) => {
      const listener = () => {
        const found = look()
        if (found === undefined) return
        listeners.delete(listener)
        resume(Effect.succeed(found))
      }
      listeners.add(listener)
      listener()
      return Effect.sync(() => listeners.delete(listener))
    })

  const pid = child.pid ?? 0
  return {
    pid,
    lines,
    says: (words) =>
      Effect.flatMap(
        waitFor(() => lines.find((line) => words.test(line)) ?? (exit && new Error(ending(exit, lines)))),
        (found) => (typeof found === "string" ? Effect.succeed(found) : Effect.die(found))
      ),
    signal: (name) => Effect.sync(() => void child.kill(name)),
    types: (text) => Effect.sync(() => void child.stdin?.write(text)),
    ends: Effect.sync(() => void child.stdin?.end()),
    signalGroup: (name) => Effect.sync(() => void process.kill(-pid, name)),
    isRunning: () => exit === undefined,
    exited: waitFor(() => exit)
  }
})

const ending = ({ code, signal }: Exit, lines: ReadonlyArray<string>) =>
  `it ended with ${signal ?? code}, having said:\n${lines.join("\n")}`
