/** The two sides of a mixed cluster: this build, and a packed release. Each has its nodes, and is a client and a process of the cluster. */
import type { ActorSystem, Transport } from "@ebb/actors"
import type { ControlClient } from "@ebb/media/protocol"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { ebbNodeProgram } from "../support/ebbNode.ts"
import { type Release, unpackedRelease } from "../support/release.ts"
import type { TestCluster } from "../support/testCluster.ts"

export interface Side {
  readonly name: string
  /** Its `ebb-node`. */
  readonly program: string
  readonly media: typeof import("@ebb/media/protocol")
  readonly call: ControlClient["call"]
  readonly system: ActorSystem["Service"]
  /** For frames as they are. */
  readonly transport: Transport["Service"]
}

const sideOf = Effect.fnUntraced(function* (
  cluster: TestCluster,
  name: string,
  program: string,
  actors: typeof import("@ebb/actors"),
  media: typeof import("@ebb/media/protocol")
) {
  const process = `tester-${name}`
  const layer = actors.ActorSystem.layer({ cluster: cluster.name, nodeId: process }).pipe(
    Layer.provideMerge(
      actors.layerNats({ servers: cluster.nats.address, name: process, cluster: cluster.name })
    )
  )
  const services = yield* Effect.provideService(Layer.build(layer), References.MinimumLogLevel, "Error")
  const { call } = yield* Effect.provideContext(media.makeControlClient(cluster.name), services)
  const side: Side = {
    name,
    program,
    media,
    call,
    system: Context.get(services, actors.ActorSystem),
    transport: Context.get(services, actors.Transport)
  }
  return side
})

/** The release that this build has to live beside, and this build. */
export const bothSides = Effect.fnUntraced(function* (cluster: TestCluster, version: string) {
  const release: Release = yield* unpackedRelease(version)
  const released = yield* sideOf(
    cluster,
    "released",
    release.path("media", "dist/bin/ebb-node.js"),
    yield* release.load<typeof import("@ebb/actors")>("actors", "index"),
    yield* release.load<typeof import("@ebb/media/protocol")>("media", "protocol/index")
  )
  const current = yield* sideOf(
    cluster,
    "current",
    ebbNodeProgram,
    yield* Effect.promise(() => import("@ebb/actors")),
    yield* Effect.promise(() => import("@ebb/media/protocol"))
  )
  return { released, current }
})

/** A room that lives on that node: others take those that went elsewhere. */
export const roomOn = Effect.fnUntraced(function* (
  { call }: Pick<Side, "call">,
  nodeId: string,
  roomId: string
) {
  while (true) {
    const room = yield* call("room.create", { roomId })
    if (room.nodeId === nodeId) return room
    yield* call("room.close", { roomId })
  }
})
