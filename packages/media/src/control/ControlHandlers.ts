/** What each control command does: look up who owns it, ask him. Keeps no state; any node can answer any command. */
import type { ActorRef, Failure, Id, Payload, Success, Tag } from "@ebb/actors"
import { ActorSystem, Directory, Leases } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { Conflict, NotFound } from "../protocol/Common.ts"
import type { ControlMessage } from "../protocol/Control.ts"
import { nodeKind, NodeProtocol } from "../protocol/Node.ts"
import { areSameOptions, recordingKind } from "../protocol/Recording.ts"
import type { RoomMessage } from "../protocol/Room.ts"
import { roomKind, RoomProtocol } from "../protocol/Room.ts"
import { RecordingIndex } from "../RecordingIndex.ts"
import { goneIsNotFound, locate, placeRoom } from "./Placement.ts"
import { deleteRecording } from "./RecordingDelete.ts"
import { pauseRecording, recordingInfo, resumeRecording, stopRecording } from "./RecordingLookup.ts"

export type ControlServices = ActorSystem | Directory | Leases | RecordingIndex

type ControlHandlers = {
  readonly [T in Tag<ControlMessage>]: (
    input: Payload<ControlMessage, T>
  ) => Effect.Effect<Success<ControlMessage, T>, Failure<ControlMessage, T>, ControlServices>
}

const roomRef = Effect.fnUntraced(function* (roomId: Id) {
  const { address, epoch } = yield* locate(roomKind, roomId)
  const { ref } = yield* ActorSystem
  return ref(RoomProtocol, address, epoch)
})

const leaseOf = Effect.fnUntraced(function* (nodeId: Id) {
  const leases = yield* Leases
  const lease = yield* leases.node(nodeId)
  return (
    lease ?? (yield* new NotFound({ entity: nodeKind, id: nodeId, problem: "no live node has that name" }))
  )
})

const nodeRef = Effect.fnUntraced(function* (nodeId: Id) {
  const lease = yield* leaseOf(nodeId)
  const { ref } = yield* ActorSystem
  return ref(NodeProtocol, { kind: nodeKind, id: nodeId, incarnation: lease.inc })
})

const nodeSystem = Effect.fnUntraced(function* (nodeId: Id) {
  const lease = yield* leaseOf(nodeId)
  const { system } = yield* ActorSystem
  return { ...system(lease.inc), target: { kind: nodeKind, id: nodeId } }
})

const causeOf = (input: { readonly by?: string; readonly reason?: string }) => ({
  by: input.by ?? "control",
  reason: input.reason ?? "asked for"
})

const asRoom = <A, E, R>(roomId: Id, effect: Effect.Effect<A, E, R>) =>
  goneIsNotFound(roomKind, roomId, effect)

const atRoom = <A, E, R>(roomId: Id, ask: (room: ActorRef<RoomMessage>) => Effect.Effect<A, E, R>) =>
  asRoom(roomId, Effect.flatMap(roomRef(roomId), ask))

export const controlHandlers: ControlHandlers = {
  "room.create": ({ admission = "strict", options = {}, roomId }) =>
    placeRoom({ roomId, options, admission }),
  "room.get": ({ roomId }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("Get", undefined))
    ),
  "room.list": (input) =>
    Effect.gen(function* () {
      const directory = yield* Directory
      const leases = yield* Leases
      const entries = new Map((yield* directory.list(roomKind)).map(({ entry }) => [entry.id, entry]))
      const { ids, next } = pageOf(entries.keys(), input)
      const page = ids.flatMap((id) => entries.get(id) ?? [])
      const owners = new Set(page.map((entry) => entry.inc))
      const dead = new Set(yield* Effect.filter(owners, leases.isDead))
      const rooms = page.map(({ id, inc, node }) => ({ roomId: id, nodeId: node, lost: dead.has(inc) }))
      return { rooms, ...next }
    }),
  "room.close": ({ reason = "asked for", roomId }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("Close", { reason }))
    ),
  "producer.add": ({ roomId, ...producer }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("AddProducer", producer))
    ),
  "producer.close": ({ producerId, roomId }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("CloseProducer", { producerId }))
    ),
  "consumer.add": ({ roomId, ...consumer }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("AddConsumer", consumer))
    ),
  "consumer.close": ({ consumerId, roomId }) =>
    asRoom(
      roomId,
      Effect.flatMap(roomRef(roomId), (ref) => ref.ask("CloseConsumer", { consumerId }))
    ),
  "room.capabilities": ({ roomId }) => atRoom(roomId, (room) => room.ask("Capabilities", undefined)),
  "webrtc.open": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("OpenTransport", o)),
  "webrtc.connect": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("ConnectTransport", o)),
  "webrtc.restartIce": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("RestartIce", o)),
  "webrtc.close": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("CloseTransport", o)),
  "webrtc.produce": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("Produce", o)),
  "webrtc.produceData": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("ProduceData", o)),
  "webrtc.mute": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("Mute", o)),
  "webrtc.closeProducer": ({ roomId, ...o }) => atRoom(roomId, (room) => room.ask("EndProducer", o)),
  "recording.start": Effect.fnUntraced(function* ({ options = {}, recordingId, roomId }) {
    const known = yield* Effect.catchTag(recordingInfo(recordingId), "NotFound", () =>
      Effect.succeed(undefined)
    )
    if (known !== undefined) {
      const conflict = (problem: string) => new Conflict({ entity: recordingKind, id: recordingId, problem })
      if (known.roomId !== roomId) return yield* conflict(`it is of room '${known.roomId}'`)
      if (known.options !== undefined && !areSameOptions(known.options, options)) {
        return yield* conflict("with other options")
      }
      // Its journal is kept under that id: a second one would hide it.
      if (known.state === "Interrupted" || known.state === "Failed") {
        return yield* conflict(`it is ${known.state}: ${known.problem ?? "its journal is kept"}`)
      }
      if (known.deleted !== undefined) return yield* conflict(`it was deleted by ${known.deleted.by}`)
      return { created: false, recording: known }
    }
    const room = yield* locate(roomKind, roomId)
    const { ref } = yield* ActorSystem
    const { incarnation } = room.address
    return yield* ref(NodeProtocol, { kind: nodeKind, id: room.nodeId, incarnation }).ask("StartRecording", {
      recordingId,
      roomId,
      options
    })
  }),
  "recording.pause": ({ recordingId, ...cause }) => pauseRecording(recordingId, cause),
  "recording.resume": ({ recordingId, ...cause }) => resumeRecording(recordingId, cause),
  "recording.stop": ({ reason = "asked for", recordingId }) => stopRecording(recordingId, reason),
  "recording.delete": ({ by = "control", reason, recordingId }) =>
    deleteRecording(recordingId, { by, reason }),
  "recording.get": ({ recordingId }) => recordingInfo(recordingId),
  "recording.list": ({ deleted = false, ...input }) =>
    Effect.gen(function* () {
      const directory = yield* Directory
      const index = yield* RecordingIndex
      const live = new Set((yield* directory.list(recordingKind)).map(({ entry }) => entry.id))
      const indexed = new Map((yield* index.list).map((info) => [info.recordingId, info]))
      const isDeleted = (id: Id) => indexed.get(id)?.deleted !== undefined
      const wanted = new Set([...live, ...indexed.keys()].filter((id) => isDeleted(id) === deleted))
      const { ids, next } = pageOf(wanted, input)
      const asked = yield* Effect.forEach(
        ids,
        (id) => {
          const known = indexed.get(id)
          return known?.state === "Computed" || known?.deleted !== undefined
            ? Effect.succeed(known)
            : Effect.orElseSucceed(recordingInfo(id), () => known)
        },
        { concurrency: 16 }
      )
      return { recordings: asked.filter((info) => info !== undefined), ...next }
    }),
  "node.list": () =>
    Effect.gen(function* () {
      const leases = yield* Leases
      const nodes = yield* Effect.forEach(yield* leases.current, (lease) =>
        Effect.map(leases.unheardMs(lease.node), (lastHeardMs) => ({ lease, lastHeardMs }))
      )
      return {
        nodes: nodes.map(({ lastHeardMs, lease }) => ({
          nodeId: lease.node,
          incarnation: lease.inc,
          version: lease.version,
          life: lease.life,
          admission: lease.admission,
          control: lease.control ?? "connected",
          host: lease.host,
          pid: lease.pid,
          startedAt: lease.startedAt,
          rooms: lease.rooms,
          recordings: lease.recordings,
          ...(lastHeardMs === undefined ? {} : { lastHeardMs })
        }))
      }
    }),
  "node.status": ({ nodeId }) => Effect.flatMap(nodeRef(nodeId), (ref) => ref.ask("Report", undefined)),
  "node.cordon": ({ nodeId, ...input }) =>
    Effect.flatMap(nodeSystem(nodeId), ({ ask, target }) =>
      ask("Admit", { ...target, ...causeOf(input), admission: "cordoned" })
    ),
  "node.uncordon": ({ nodeId, ...input }) =>
    Effect.flatMap(nodeSystem(nodeId), ({ ask, target }) =>
      ask("Admit", { ...target, ...causeOf(input), admission: "open" })
    ),
  "node.drain": ({ deadlines = {}, evacuate = false, nodeId, ...input }) =>
    Effect.flatMap(nodeSystem(nodeId), ({ ask, target }) =>
      ask("Drain", { ...target, ...causeOf(input), reversible: true, evacuate, deadlines })
    ),
  "node.undrain": ({ nodeId, ...input }) =>
    Effect.flatMap(nodeSystem(nodeId), ({ ask, target }) => ask("Undrain", { ...target, ...causeOf(input) }))
}

const pageLimit = 500

/** One page of ids, in their order; `next` when there are more. */
const pageOf = (
  all: Iterable<Id>,
  { after, limit = pageLimit }: { readonly after?: Id; readonly limit?: number }
) => {
  const ids = [...new Set(all)].filter((id) => after === undefined || id > after).toSorted()
  const last = ids[limit - 1]
  return { ids: ids.slice(0, limit), next: ids.length > limit && last !== undefined ? { next: last } : {} }
}
