/** Starts programs for tests, reads what they say line by line, and ends them by their pid when the test's scope closes. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

export interface Program {
  readonly pid: number
  readonly lines: ReadonlyArray<string>
  /** Waits until it has said a line for which `found` holds. */
  readonly until: (found: (line: string) => boolean) => Effect.Effect<string>
  readonly kill: (signal: NodeJS.Signals) => void
  readonly exited: Effect.Effect<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "..")

/** `program` is a path below the package's folder. */
export const startProgram = (
  program: string,
  args: ReadonlyArray<string>,
  options: { readonly env?: Readonly<Record<string, string>>; readonly detached?: boolean } = {}
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [path.join(root, program), ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        detached: options.detached ?? false,
        env: { ...process.env, ...options.env }
      })
      const lines: Array<string> = []
      const waiting = new Set<() => void>()
      createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line)
        for (const look of waiting) look()
      })
      const ended = once(child, "close").then(() => ({ code: child.exitCode, signal: child.signalCode }))
      const started: Program = {
        pid: child.pid ?? 0,
        lines,
        until: (found) =>
          Effect.callback<string>((resume) => {
            let seen = 0
            const look = () => {
              for (; seen < lines.length; seen++) {
                const line = lines[seen]
                if (line !== undefined && found(line)) {
                  waiting.delete(look)
                  return resume(Effect.succeed(line))
                }
              }
            }
            waiting.add(look)
            look()
            return Effect.sync(() => waiting.delete(look))
          }),
        kill: (signal) => child.kill(signal),
        exited: Effect.promise(() => ended)
      }
      return started
    }),
    (program) =>
      Effect.andThen(
        Effect.sync(() => program.kill("SIGKILL")),
        program.exited
      )
  )
