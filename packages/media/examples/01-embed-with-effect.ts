/**
 * A media node inside an Effect program. SIGTERM or Ctrl-C drains it: its rooms live on until they are closed, its recordings are computed,
 * then the program ends by itself.
 *
 *     nats-server -js -a 127.0.0.1 -sd /tmp/ebb-nats &
 *     node_modules/.bin/node packages/media/examples/01-embed-with-effect.ts
 */
import { drainOnSignals, startMediaNode } from "@ebb/media"
import * as Effect from "effect/Effect"

const program = Effect.gen(function* () {
  const node = yield* startMediaNode({
    cluster: "example",
    nodeId: "with-effect",
    nats: { servers: process.env["EBB_NATS"] ?? "127.0.0.1:4222" },
    dataDir: process.env["EBB_DATA_DIR"] ?? "ebb-data"
  })
  // Only programs own signals: a node takes none unless it is told to.
  yield* drainOnSignals(node)
  yield* Effect.logInfo(`${node.nodeId} serves`)
  const { code } = yield* node.ended
  return code
})

process.exitCode = await Effect.runPromise(Effect.scoped(program))
