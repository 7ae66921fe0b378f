/**
 * How a media node of a cluster is started: everything it must know goes by its environment, so that a release may be any command
 * that ends in `ebb-node`, and its password is in no process list.
 */
import { fileURLToPath } from "node:url"
import * as Redacted from "effect/Redacted"
import type { StartRequest } from "../Orchestrator.ts"
import { defaultLimits } from "../RolloutDecision.ts"
import type { NatsEndpoint } from "./natsEndpoint.ts"
import type { Cluster } from "./state.ts"

/** What the shell of whoever runs `ebb` says of some other NATS is not for this one. */
const noOtherWay = Object.fromEntries(
  ["TOKEN", "NKEY", "CREDS", "CA", "CERT", "KEY", "REPLICAS"].map((name) => [`EBB_NATS_${name}`, ""])
)

/** What a node, or a program that acts as one, needs to reach the cluster as `name`. */
export const nodeEnvironment = (
  cluster: Cluster,
  endpoint: NatsEndpoint,
  name: string
): Record<string, string> => ({
  EBB_CLUSTER: cluster.name,
  EBB_NATS: endpoint.servers.join(","),
  EBB_NATS_USER: endpoint.user,
  EBB_NATS_PASSWORD: Redacted.value(endpoint.password),
  EBB_NATS_INBOX: `${endpoint.inboxPrefix}.${name}`,
  ...noOtherWay
})

/** A node is named like its instance. */
export const nodeLaunch =
  (cluster: Cluster, endpoint: NatsEndpoint) =>
  (instance: string, version: string): StartRequest => ({
    instance,
    version,
    env: {
      ...nodeEnvironment(cluster, endpoint, instance),
      EBB_NODE_ID: instance,
      EBB_RELEASE: version,
      EBB_DATA_DIR: cluster.dataDir,
      // As long as whoever starts it waits for it.
      EBB_NATS_WAIT: String(defaultLimits.servingMs / 1000)
    }
  })

/** The path of a program of this installation's media package: its sources in development, what was built from them otherwise. */
export const mediaProgram = (name: "ebb-node" | "ebb-recordings" | "ebb-token"): string => {
  const protocol = import.meta.resolve("@ebb/media/protocol")
  const extension = protocol.endsWith(".ts") ? "ts" : "js"
  return fileURLToPath(new URL(`../bin/${name}.${extension}`, protocol))
}
