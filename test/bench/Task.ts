/** What a contender can be asked to do, and what it answers. The same words for ours and for every peer. */

export type Task =
  /** A closed loop: so many askers, each waits for its answer before it asks again. Figures `perSecond`, `perCpuSecond`, `medianUs`. */
  | { readonly name: "ask"; readonly inFlight: number; readonly forMs: number }
  /** Messages without an answer, in batches that are waited for until they are handled. Figures `perSecond`, `perCpuSecond`. */
  | { readonly name: "tell"; readonly forMs: number }
  /** So many are born, each to its first answer; then all are stopped. Figures `bornPerSecond`, `stoppedPerSecond`, of processor time. */
  | { readonly name: "spawn"; readonly count: number }
  /** The heap that each of so many idle ones takes; in a process of its own. Figure `bytesEach`. */
  | { readonly name: "bytes"; readonly count: number }
  /** One parent with so many children: they are born, and it drains. Figures `spawnMs`, `drainMs`, and the same in `…CpuMs`. */
  | { readonly name: "family"; readonly count: number; readonly drain: "evacuate" | "wait" }

export type TaskName = Task["name"]
export type Figures = Readonly<Record<string, number>>
