/** The program `ebb-node` as a real process, serving when it is returned. */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type Program, type ProgramOptions, startProgram } from "./program.ts"

export interface EbbNodeOptions extends ProgramOptions {
  readonly nodeId: string
  readonly cluster: string
  /** `host:port`. */
  readonly nats: string
  readonly dataDir: string
  /** Another build's. Default: this one's. */
  readonly program?: string
  /** As on its command line: `["--release", "v2"]`. */
  readonly args?: ReadonlyArray<string>
}

export interface EbbNode extends Program {
  readonly nodeId: string
  readonly incarnation: string
}

export const ebbNodeProgram = join(import.meta.dirname, "../../packages/media/src/bin/ebb-node.ts")

export const ebbRecordingsProgram = join(
  import.meta.dirname,
  "../../packages/media/src/bin/ebb-recordings.ts"
)

/** One worker: a test's node has a room or two. */
export const ebbNodeArgs = ({
  args = [],
  cluster,
  dataDir,
  nats,
  nodeId,
  program = ebbNodeProgram
}: EbbNodeOptions) => [
  program,
  `--node-id=${nodeId}`,
  `--cluster=${cluster}`,
  `--nats=${nats}`,
  `--data-dir=${dataDir}`,
  "--workers=1",
  ...args
]

export const startEbbNode = Effect.fnUntraced(function* (options: EbbNodeOptions) {
  const program = yield* startProgram(process.execPath, ebbNodeArgs(options), options)
  const line = yield* program.says(/serves \(incarnation/)
  const incarnation = /incarnation ([A-Za-z0-9_-]+)/.exec(line)?.[1] ?? ""
  const node: EbbNode = { ...program, nodeId: options.nodeId, incarnation }
  return node
})

/** The live processes that a process started, by pid: a node's workers and computations, whatever their session. */
export const childrenOf = Effect.fnUntraced(function* (pid: number) {
  const children: Array<{ readonly pid: number; readonly command: string }> = []
  for (const name of yield* Effect.promise(() => readdir("/proc"))) {
    if (!/^\d+$/.test(name)) continue
    const [stat, command] = yield* Effect.promise(() =>
      Promise.all(
        ["stat", "cmdline"].map((file) => readFile(`/proc/${name}/${file}`, "utf8").catch(() => ""))
      )
    )
    // After the name, in parentheses: state and parent.
    const [state, parent] = (stat?.slice(stat.lastIndexOf(")") + 2) ?? "").split(" ")
    if (Number(parent) === pid && state !== "Z" && state !== "X") {
      children.push({ pid: Number(name), command: (command ?? "").replaceAll("\0", " ").trim() })
    }
  }
  return children
})
