/**
 * Finishes, from a cluster's data folder, the recordings of processes that are gone: runs media's `ebb-recordings` as a child process,
 * because the deployer knows of media its protocol alone.
 */
import { spawn } from "node:child_process"
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { mediaProgram, nodeEnvironment } from "../cluster/nodeLaunch.ts"
import type { NatsEndpoint } from "../cluster/natsEndpoint.ts"
import type { Cluster } from "../cluster/state.ts"
import type { Recovered } from "../Deployer.ts"

const decodeLine = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      type: Schema.String,
      recordingId: Schema.String,
      /** Absent when the part has no manifest. */
      nodeId: Schema.optionalKey(Schema.String)
    })
  )
)

/** `endpoint` is a node's: receipts go into the cluster's index as a node would enter them. Told are those of `instance`. */
export const recoverFrom = (
  cluster: Cluster,
  endpoint: NatsEndpoint,
  instance: string
): Effect.Effect<Recovered> =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const environment = nodeEnvironment(cluster, endpoint, `ebb-${process.pid}-recover`)
    const child = spawn(process.execPath, [mediaProgram("ebb-recordings"), cluster.dataDir, "--json"], {
      stdio: ["ignore", "pipe", "inherit"],
      // A session of its own: a Ctrl-C in the terminal detaches from the rollout, and must not look like a failed recovery.
      detached: true,
      env: { ...process.env, ...environment }
    })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
    child.once("error", () => resume(Effect.succeed([])))
    child.once("close", () => resume(Effect.succeed(output.split("\n"))))
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(
    Effect.map((lines) => {
      const parts = lines
        .flatMap((line) => Option.toArray(decodeLine(line)))
        .filter(({ nodeId }) => nodeId === instance || nodeId === undefined)
      const of = (...types: ReadonlyArray<string>) =>
        parts.filter(({ type }) => types.includes(type)).map(({ recordingId }) => recordingId)
      return { computed: of("Recovered"), empty: of("NothingCaptured"), failed: of("Failed") }
    })
  )
