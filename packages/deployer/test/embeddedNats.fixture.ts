/** A cluster with a nats-server of its own, and clients of each role. */
import * as Effect from "effect/Effect"
import { natsEndpoint } from "../src/cluster/embeddedNats.ts"
import type { NatsRole } from "../src/cluster/natsEndpoint.ts"
import type { Cluster } from "../src/cluster/state.ts"
import { claimCluster } from "../src/cluster/state.ts"
import { temporaryFolder } from "./fixtures.ts"
import { connectRaw } from "./rawNats.ts"

export const claimed = Effect.flatMap(temporaryFolder, (folder) => claimCluster({ folder, name: "test" }))

export const clientOf = (cluster: Cluster, role: NatsRole) =>
  Effect.flatMap(natsEndpoint(cluster, role), connectRaw)
