/**
 * A cluster of one test: a nats-server, nodes that are real processes, and this process as a client of it: by control commands, and as a
 * process that asks actors directly.
 */
import { ActorSystem, layerNats } from "@ebb/actors"
import { type ControlClient, makeControlClient, nodeKind, NodeProtocol } from "@ebb/media/protocol"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { type EbbNode, type EbbNodeOptions, startEbbNode } from "./ebbNode.ts"
import { type NatsServer, natsServer } from "./natsServer.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface TestCluster {
  readonly name: string
  readonly nats: NatsServer
  /** All nodes share it unless told otherwise. */
  readonly dataDir: string
  readonly call: ControlClient["call"]
  readonly system: ActorSystem["Service"]
  readonly options: (nodeId: string, more?: Partial<EbbNodeOptions>) => EbbNodeOptions
  /** Starts a node; it serves when this returns. */
  readonly node: (
    nodeId: string,
    more?: Partial<EbbNodeOptions>
  ) => Effect.Effect<EbbNode, never, Scope.Scope>
  /** Asks that process's node actor itself, whatever its lease says. */
  readonly actorOf: (node: EbbNode) => ReturnType<typeof nodeActor>
}

const nodeActor = (system: ActorSystem["Service"], { incarnation, nodeId }: EbbNode) =>
  system.ref(NodeProtocol, { kind: nodeKind, id: nodeId, incarnation })

export const clusterNamed = Effect.fnUntraced(function* (name: string) {
  const nats = yield* natsServer
  const dataDir = join(yield* temporaryFolder, "data")
  const layer = ActorSystem.layer({ cluster: name, nodeId: "tester" }).pipe(
    Layer.provideMerge(layerNats({ servers: nats.address, name: "tester", cluster: name }))
  )
  // What the test does to the connection is no news to its reader.
  const services = yield* Effect.provideService(Layer.build(layer), References.MinimumLogLevel, "Error")
  const system = Context.get(services, ActorSystem)
  const { call } = yield* Effect.provideContext(makeControlClient(name), services)
  const options = (nodeId: string, more: Partial<EbbNodeOptions> = {}): EbbNodeOptions => ({
    nodeId,
    cluster: name,
    nats: nats.address,
    dataDir,
    ...more
  })
  const cluster: TestCluster = {
    name,
    nats,
    dataDir,
    call,
    system,
    options,
    node: (nodeId, more) => startEbbNode(options(nodeId, more)),
    actorOf: (node) => nodeActor(system, node)
  }
  return cluster
})

export const testCluster = clusterNamed("test")
