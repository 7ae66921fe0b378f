#!/usr/bin/env node
/**
 * Computes a recording from one of its parts, or from several together:
 *
 *     ebb-compute <partFolder>... --store <store> [--by <name>] [--silence-ms <ms>] [--end-with-stdin]
 *
 * A store is a folder, or `s3://bucket/prefix`, with endpoint and credentials in the environment.
 *
 * Prints that it lives and its progress as lines of JSON; the last line is the receipt or a typed error. Exits with 0 only when there is a receipt. It may
 * be killed at any moment and started again. The caller holds the lock of the incarnation's folder, or of each.
 */
import * as Effect from "effect/Effect"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { compute } from "../recording/Compute.ts"
import type { ComputeLine } from "../recording/ComputeOutcome.ts"
import { encodeLine } from "../recording/ComputeOutcome.ts"
import { defaultSilenceMs } from "../recording/Ffprobe.ts"
import { stagedName } from "../recording/Parts.ts"
import { RecordingStore } from "../recording/RecordingStore.ts"

const usage =
  "usage: ebb-compute <partFolder>... --store <store> [--by <name>] [--silence-ms <ms>] [--end-with-stdin]"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    store: { type: "string" },
    by: { type: "string", default: "ebb-compute" },
    "silence-ms": { type: "string", default: String(defaultSilenceMs) },
    "end-with-stdin": { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const [partFolder] = positionals
const silenceMs = Number(values["silence-ms"])
if (values.help || partFolder === undefined || values.store === undefined || !(silenceMs > 0)) {
  console.error(usage)
  process.exit(values.help ? 0 : 64)
}

/** Pipes are written synchronously on Linux, so nothing is lost by exiting right after. */
const say = (line: ComputeLine) => process.stdout.write(`${encodeLine(line)}\n`)

// Several in the time after which one is taken for hung: at the lowest priority a line may be late.
setInterval(() => say({ _tag: "Alive" }), Math.min(5000, silenceMs / 6)).unref()

os.setPriority(os.constants.priority.PRIORITY_LOW)

if (values["end-with-stdin"]) {
  // The node is gone, however it ended. Its successor computes again; this would only be in the way. ffprobe goes along: the node
  // made this process the leader of its group.
  process.stdin
    .once("close", () => process.kill(-process.pid, "SIGKILL"))
    .resume()
    .unref()
}

process.exitCode = await compute(positionals, {
  computedBy: values.by,
  silenceMs,
  onProgress: (progress) => void say({ _tag: "Progress", ...progress })
}).pipe(
  // In the part's folder: who computes it after a kill finds what of its upload has arrived.
  Effect.provide(RecordingStore.at(values.store, { staging: path.join(partFolder, stagedName) })),
  Effect.match({
    onSuccess: (receipt) => {
      say({ _tag: "Computed", receipt })
      return 0
    },
    onFailure: (error) => {
      say({ _tag: "Refused", error })
      return 1
    }
  }),
  Effect.runPromise
)
