/**
 * A contender's own process: takes one task after the other from the benchmark, and answers with figures. Ours and each peer
 * have a process of their own, so that no heap and no compiled code is shared.
 */
import type { Figures, Task, TaskName } from "../Task.ts"

export type Tasks = { readonly [N in TaskName]?: (task: Extract<Task, { name: N }>) => Promise<Figures> }

export interface Asked {
  readonly number: number
  readonly task: Task
}

export type Answer =
  | { readonly _tag: "Ready"; readonly address: string }
  | { readonly _tag: "Done"; readonly number: number; readonly figures: Figures }
  | { readonly _tag: "Failed"; readonly number: number; readonly reason: string }

const say = (answer: Answer): void => void process.send?.(answer)

/** Serves until the benchmark hangs up. `address` is for whoever is to talk to this process. */
export const serve = (tasks: Tasks, address = ""): void => {
  process.on("message", ({ number, task }: Asked) => {
    const run = tasks[task.name] as ((task: Task) => Promise<Figures>) | undefined
    const done = run?.(task) ?? Promise.reject(new Error(`this contender has no ${task.name}`))
    done.then(
      (figures) => say({ _tag: "Done", number, figures }),
      (error: unknown) => say({ _tag: "Failed", number, reason: String(error) })
    )
  })
  // By `exit`, so that a profile that was asked for is written.
  process.on("disconnect", () => process.exit(0))
  say({ _tag: "Ready", address })
}
