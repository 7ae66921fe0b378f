/** `ebb nodes`, `ebb rooms`: what is there now. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { paragraph } from "./help.ts"
import { duration, Output } from "./output.ts"
import { command } from "./root.ts"
import { controlClient } from "./session.ts"

export const nodes = Command.make("nodes", {}, () =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const { call, patience } = yield* controlClient("control")
      const now = yield* Clock.currentTimeMillis
      const { nodes: all } = yield* call("node.list", undefined, patience)
      const rows = all.map((node) => ({
        json: { ...node },
        cells: [
          node.nodeId,
          node.version,
          node.life,
          node.admission,
          node.control,
          String(node.rooms),
          String(node.recordings),
          duration(now - node.startedAt),
          node.lastHeardMs === undefined ? "-" : duration(node.lastHeardMs)
        ]
      }))
      yield* output.table(
        "Node",
        ["NODE", "VERSION", "LIFE", "ADMISSION", "CONTROL", "ROOMS", "RECS", "AGE", "HEARD"],
        rows,
        "no node is alive"
      )
      yield* output.result({ outcome: "ok", nodes: all.length }, undefined)
    })
  )
).pipe(
  Command.withShortDescription("List the cluster's nodes, as their leases tell of them"),
  Command.withDescription(
    paragraph(
      "List the cluster's nodes, as their leases tell of them: rooms, recordings (RECS),",
      "age, and how long ago the node was heard of last. A node renews its lease every",
      "4 s; one that was heard longer ago may be dead. After 18 s it is not listed any",
      "more."
    )
  )
)

export const rooms = Command.make("rooms", {}, () =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const all = yield* (yield* controlClient("control")).rooms
      const rows = all.map((room) => ({
        json: { ...room },
        cells: [room.roomId, room.nodeId, room.lost ? "lost: its node is dead" : "live"]
      }))
      yield* output.table("Room", ["ROOM", "NODE", "STATE"], rows, "no rooms")
      yield* output.result({ outcome: "ok", rooms: all.length }, undefined)
    })
  )
).pipe(Command.withDescription("List the rooms, and where each lives"))
