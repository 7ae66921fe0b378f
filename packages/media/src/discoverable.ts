/** A media node as the NATS service `ebb-node`: what it is, how it stands, and its control commands with their counts. */
import { announceService, ActorSystem, Leases } from "@ebb/actors"
import type { NodeLeaseBody } from "@ebb/actors"
import * as Effect from "effect/Effect"
import type { CommandTally } from "./control/commandTally.ts"
import { controlHandlers } from "./control/ControlHandlers.ts"
import { controlQueue } from "./control/ControlServer.ts"
import type { NodeAxes } from "./nodeReadiness.ts"
import { softwareVersion } from "./recording/index.ts"

/** `state` is the node's present one. Until the scope closes. */
export const discoverable = Effect.fnUntraced(function* (
  cluster: string,
  lease: NodeLeaseBody,
  state: () => NodeAxes,
  tally: CommandTally
) {
  const { incarnation, nodeId, subjects } = yield* ActorSystem
  const leases = yield* Leases
  yield* announceService({
    name: "ebb-node",
    id: incarnation,
    version: softwareVersion,
    description: "A media node of an Ebb cluster",
    startedAt: lease.startedAt,
    metadata: Effect.map(leases.incarnation(incarnation), (published) => {
      const { admission, control, life } = state()
      return {
        cluster,
        node: nodeId,
        incarnation,
        release: lease.version,
        life,
        admission,
        control,
        host: lease.host,
        pid: String(lease.pid),
        rooms: String(published?.rooms ?? 0),
        recordings: String(published?.recordings ?? 0)
      }
    }),
    endpoints: Object.keys(controlHandlers).map((command) => ({
      name: command.replaceAll(".", "-"),
      subject: subjects.control(command),
      queueGroup: controlQueue,
      tally: () => tally.of(command)
    }))
  })
})
