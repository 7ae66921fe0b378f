/**
 * Watches the cluster from outside while it is rolled: which versions its leases name, when each old node turned to drain, and how long after
 * its SIGTERM a node still took a room asked of it directly.
 */
import type { ActorSystem, Id } from "@ebb/actors"
import type { ControlClient, NodeSummary } from "@ebb/media/protocol"
import { nodeKind, NodeProtocol, roomKind, RoomProtocol } from "@ebb/media/protocol"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"

export interface Seen {
  readonly versions: Set<string>
  /** Wall clock at which a node was first seen to drain, by node id. */
  readonly drainingAtMs: Map<string, number>
  /** Wall clock of the first room that a node itself refused, by node id. */
  readonly refusedAtMs: Map<string, number>
  nodes: ReadonlyArray<NodeSummary>
}

const lookEveryMs = 200
const probeEveryMs = 20

/** Looks until the scope closes; `onDraining` is called once for each node. */
export const observe = Effect.fnUntraced(function* (
  control: ControlClient,
  system: ActorSystem["Service"],
  onDraining: (nodeId: string) => Effect.Effect<void>
) {
  const seen: Seen = { versions: new Set(), drainingAtMs: new Map(), refusedAtMs: new Map(), nodes: [] }

  const look = Effect.gen(function* () {
    const { nodes } = yield* control.call("node.list", undefined)
    seen.nodes = nodes
    for (const { life, nodeId, version } of nodes) {
      seen.versions.add(version)
      if (life !== "Draining" || seen.drainingAtMs.has(nodeId)) continue
      seen.drainingAtMs.set(nodeId, yield* Clock.currentTimeMillis)
      yield* Effect.forkChild(onDraining(nodeId))
    }
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(look), Effect.sleep(lookEveryMs))))

  /** Asks one node for rooms, directly and again and again, until it refuses. */
  const probe = Effect.fnUntraced(function* (node: NodeSummary) {
    const at = (kind: string, id: Id) => ({ kind, id, incarnation: node.incarnation })
    for (let n = 0; !seen.refusedAtMs.has(node.nodeId); n++) {
      const roomId = `probe-${node.nodeId}-${n}`
      const opened = yield* Effect.result(
        system.ref(NodeProtocol, at(nodeKind, node.nodeId)).ask("OpenRoom", { roomId, options: {} })
      )
      if (opened._tag === "Success") {
        yield* Effect.ignore(system.ref(RoomProtocol, at(roomKind, roomId)).ask("Close", { reason: "probe" }))
      } else if (opened.failure._tag === "NodeDraining") {
        seen.refusedAtMs.set(node.nodeId, yield* Clock.currentTimeMillis)
      }
      yield* Effect.sleep(probeEveryMs)
    }
  })
  return { seen, look, probe: (node: NodeSummary) => Effect.forkScoped(probe(node)) }
})

/** What the orchestrator's own files say of an instance: when it was signalled, and when it was gone. */
export const instanceTimes = (instances: string, nodeId: string) => {
  const read = (name: string) => {
    const file = path.join(instances, nodeId, name)
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined
  }
  const signal = read("signal.json")
  const exit = path.join(instances, nodeId, "exit.json")
  return {
    signalledAtMs: signal === undefined ? undefined : (JSON.parse(signal) as { readonly at: number }).at,
    goneAtMs: fs.existsSync(exit) ? fs.statSync(exit).mtimeMs : undefined
  }
}
