// What `ebb up` does with its state folder, without nodes: claims it, runs nats-server, and waits to be killed.
//   up.ts FOLDER CLUSTER
import process from "node:process"
import * as Effect from "effect/Effect"
import { startNats } from "../../src/cluster/embeddedNats.ts"
import { claimCluster } from "../../src/cluster/state.ts"

const [, , folder = "", name = ""] = process.argv

const up = Effect.gen(function* () {
  const cluster = yield* claimCluster({ folder, name })
  const server = yield* startNats(cluster)
  process.stdout.write(`${JSON.stringify({ pid: server.pid, port: server.port, adopted: server.adopted })}\n`)
  return yield* Effect.never
})

setInterval(() => {}, 60_000)
await Effect.runPromise(
  Effect.scoped(up).pipe(
    Effect.catch((error) => Effect.sync(() => process.stdout.write(`${JSON.stringify(error)}\n`))),
    Effect.andThen(Effect.sync(() => process.exit(1)))
  )
)
