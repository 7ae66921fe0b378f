/**
 * `compute` in a process of its own: in its own session, so that no Ctrl-C and no signal to the node's group ends it, at the
 * lowest priority, so that calls go before it. It ends with the node: its standard input is a pipe that the node holds open. It says
 * every few seconds that it lives; one that is silent is killed.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { spawn } from "node:child_process"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { ComputeFailed } from "../MediaError.ts"
import type { ComputeError, ComputeOptions } from "./Compute.ts"
import type { ComputeLine } from "./ComputeOutcome.ts"
import { decodeLine } from "./ComputeOutcome.ts"
import { defaultSilenceMs } from "./Ffprobe.ts"
import { watchSilence } from "./internal/silence.ts"
import type { Receipt } from "./Receipt.ts"
import { RecordingStore } from "./RecordingStore.ts"

const here = fileURLToPath(import.meta.url)
/** Beside this file as a source and as a build: its extension tells which. */
const program = path.join(path.dirname(here), "..", "bin", `ebb-compute${path.extname(here)}`)

/** Interruption kills the process and what it started, at no cost: computing again gives the same. */
export const computeInChild: (
  partFolders: string | ReadonlyArray<string>,
  options: ComputeOptions
) => Effect.Effect<Receipt, ComputeError, RecordingStore> = Effect.fnUntraced(
  function* (partFolders, options) {
    const folders = typeof partFolders === "string" ? [partFolders] : partFolders
    const store = yield* RecordingStore
    const silenceMs = options.silenceMs ?? defaultSilenceMs
    const outcome = yield* run(
      [
        [program, ...folders, "--store", store.location, "--by", options.computedBy, "--end-with-stdin"],
        ["--silence-ms", String(silenceMs)]
      ].flat(),
      silenceMs,
      (progress) => options.onProgress?.(progress)
    )
    switch (outcome._tag) {
      case "Computed":
        return outcome.receipt
      case "Refused":
        return yield* outcome.error
      case "Ended":
        return yield* new ComputeFailed({ folder: folders.join(), detail: outcome.detail })
    }
  }
)

type Outcome =
  | Exclude<ComputeLine, { _tag: "Alive" | "Progress" }>
  | { readonly _tag: "Ended"; readonly detail: string }

const run = (
  args: ReadonlyArray<string>,
  silenceMs: number,
  onProgress: (progress: Extract<ComputeLine, { _tag: "Progress" }>) => void
) =>
  Effect.callback<Outcome>((resume) => {
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"], detached: true })
    let said: Outcome | undefined
    let complaints = ""
    const watch = watchSilence(silenceMs, () => {
      complaints += `no sign of life for ${silenceMs} ms`
      if (child.pid !== undefined) killGroup(child.pid)
    })
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line = decodeLine(text)
      if (Exit.isFailure(line)) return
      watch.heard()
      if (line.value._tag === "Alive") return
      if (line.value._tag === "Progress") onProgress(line.value)
      else said = line.value
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaints = (complaints + text).slice(-2000)
    })
    // A process that dies at once breaks the pipe; that it died is told by `close`.
    child.stdin.on("error", () => {})
    child.once("error", (cause) => {
      watch.end()
      resume(Effect.succeed({ _tag: "Ended", detail: cause.message }))
    })
    // `close` comes after the streams have ended, so every line has been seen.
    child.once("close", (code, signal) => {
      watch.end()
      const ended = `ended with ${signal ?? code}${complaints === "" ? "" : `: ${complaints.trim()}`}`
      resume(Effect.succeed(said ?? { _tag: "Ended", detail: ended }))
    })
    return Effect.sync(() => {
      watch.end()
      if (child.pid !== undefined && child.exitCode === null) killGroup(child.pid)
    })
  })

const killGroup = (leader: number): void => {
  try {
    process.kill(-leader, "SIGKILL")
  } catch {
    // It is gone already.
  }
}
