/** How a command finds its cluster, and reaches it in a role. */
import { layerNats } from "@ebb/actors"
import { makeControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ClusterMismatch, ClusterDown } from "../DeployError.ts"
import { natsEndpoint, natsProcess } from "../cluster/embeddedNats.ts"
import type { NatsRole } from "../cluster/natsEndpoint.ts"
import { type Cluster, defaultCluster, openCluster, stateFolder } from "../cluster/state.ts"
import { root } from "./root.ts"

/** The cluster that the flags name. */
export const theCluster = Effect.gen(function* () {
  const flags = yield* root
  const cluster = yield* openCluster(yield* stateFolder(flags))
  // A name that was said is not to be passed over because a folder was said, too: the command may be a drain.
  if (flags.cluster !== defaultCluster && flags.cluster !== cluster.name) {
    return yield* new ClusterMismatch({
      folder: cluster.folder,
      existing: cluster.name,
      asked: flags.cluster
    })
  }
  return cluster
})

/** Transport and registry of the cluster in a role, under a name of this process's own. */
export const connection = Effect.fnUntraced(function* (cluster: Cluster, role: NatsRole) {
  const endpoint = yield* natsEndpoint(cluster, role)
  const name = `ebb-${process.pid}`
  return layerNats({
    ...endpoint,
    name,
    cluster: cluster.name,
    inboxPrefix: `${endpoint.inboxPrefix}.${name}`
  }).pipe(
    Layer.catchTag("NatsUnavailable", ({ reason }) =>
      Layer.effectContext(
        Effect.flatMap(natsProcess(cluster), (server) =>
          Effect.fail(new ClusterDown({ folder: cluster.folder, problem: reason, ...server }))
        )
      )
    )
  )
})

/** A control client, and one command's patience: nodes that start need a moment, and a person does not wait for ever. */
export const controlClient = Effect.fnUntraced(function* (role: "control" | "deployer") {
  const cluster = yield* theCluster
  const nats = yield* Layer.build(yield* connection(cluster, role))
  const client = yield* Effect.provide(makeControlClient(cluster.name), nats)
  return { ...client, patience: { timeoutMs: 5_000, retryForMs: 5_000 } as const }
})
