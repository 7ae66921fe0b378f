/** A contender's process as the benchmark sees it: started, asked for one task at a time, and ended by hanging up. */
import { type ChildProcess, spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Answer, Asked } from "./contenders/serve.ts"
import type { Figures, Task } from "./Task.ts"

export interface Contender {
  readonly name: string
  /** What it said when it was ready, for whoever is to talk to it. */
  readonly address: string
  readonly does: (task: Task) => Effect.Effect<Figures>
}

export interface StartOptions {
  /** For Node itself, such as `--cpu-prof`. */
  readonly execArgv?: ReadonlyArray<string>
}

/** Starts `contenders/FILE.ts`; when this returns it can be asked. A contender that ends or fails ends the benchmark. */
export const startContender = Effect.fnUntraced(function* (
  name: string,
  file: string,
  args: ReadonlyArray<string> = [],
  { execArgv = [] }: StartOptions = {}
): Effect.fn.Return<Contender, never, Scope.Scope> {
  const program = `${import.meta.dirname}/contenders/${file}.ts`
  let expecting: ((answer: Answer) => void) | undefined
  let broken: ((reason: string) => void) | undefined

  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      // The kernel ends it should the benchmark be killed.
      const command = ["--pdeathsig", "KILL", process.execPath, "--expose-gc", ...execArgv, program, ...args]
      const started = spawn("setpriv", command, { stdio: ["ignore", "inherit", "inherit", "ipc"] })
      started.on("message", (answer) => expecting?.(answer as Answer))
      started.on("exit", (code, signal) => broken?.(`its process ended with ${signal ?? code}`))
      started.on("error", (error) => broken?.(error.message))
      return started
    }),
    end
  )

  const answerTo = (asked: Asked | undefined): Effect.Effect<Answer> =>
    Effect.callback((resume) => {
      expecting = (answer) => resume(Effect.succeed(answer))
      broken = (reason) => resume(Effect.die(new Error(`${name}: ${reason}`)))
      if (asked !== undefined) child.send(asked)
    })

  const ready = yield* answerTo(undefined)
  let number = 0
  return {
    name,
    address: ready._tag === "Ready" ? ready.address : "",
    does: (task) =>
      Effect.flatMap(
        Effect.suspend(() => answerTo({ number: ++number, task })),
        (answer) =>
          answer._tag === "Done"
            ? Effect.succeed(answer.figures)
            : Effect.die(
                new Error(
                  `${name}, asked to ${task.name}: ${answer._tag === "Failed" ? answer.reason : "no answer"}`
                )
              )
      )
  }
})

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    if (child.connected) child.disconnect()
    else child.kill("SIGKILL")
  })
