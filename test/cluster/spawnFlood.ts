/**
 * One run of a spawn flood: a client asks for rooms as fast as it is answered while a node gets SIGTERM, and while one, in some runs, is
 * stopped for a while, killed, or stopped for so long that it is taken for dead. When it is over every room is looked for in every process
 * that lives and in the directory.
 */
import { NodeProtocol, nodeKind } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { EbbNode } from "../support/ebbNode.ts"
import type { TestCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"
import type { NodePool } from "./nodePool.ts"

/**
 * - `none`      SIGTERM alone
 * - `stop`      another signal, SIGSTOP, and SIGCONT some seconds later
 * - `kill`      SIGKILL
 * - `takeover`  SIGSTOP, and SIGCONT only after its rooms were found lost and half of them were created again
 */
export type Fault = "none" | "stop" | "kill" | "takeover"

export interface FloodOptions {
  readonly name: string
  readonly rooms: number
  readonly fault: Fault
  readonly random: () => number
}

export interface FloodResult {
  /** Rooms for which the caller, who sent again by its own rules, was told of a failure. */
  readonly failed: ReadonlyArray<string>
  readonly slowestMs: number
  /** Rooms whose process was gone, and which were created again. */
  readonly createdAgain: number
  readonly superseded: number
  /** By id: what is wrong at the end. Empty when each room exists exactly once. */
  readonly wrong: ReadonlyArray<string>
  /** What the drained process ended with, unless it was killed. */
  readonly exitCode: number | null
}

const callers = 32

export const spawnFlood = Effect.fnUntraced(function* (
  cluster: TestCluster,
  pool: NodePool,
  { fault, name, random, rooms }: FloodOptions
) {
  const { call } = cluster
  const nodes = pool.running()
  const oneOf = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)] as A
  const drained = oneOf(nodes)
  const struck = oneOf(nodes)
  const drainAt = Math.floor(random() * rooms)
  const strikeAt = Math.floor(random() * rooms)
  const stopMs = 1000 + random() * 7000
  const ids = Array.from({ length: rooms }, (_, n) => `${name}-${n}`)
  const failed: Array<string> = []
  let slowestMs = 0

  const strike = Effect.gen(function* () {
    if (fault === "none") return
    yield* struck.signal(fault === "kill" ? "SIGKILL" : "SIGSTOP")
    if (fault !== "stop") return
    yield* Effect.forkScoped(Effect.andThen(Effect.sleep(stopMs), struck.signal("SIGCONT")))
  })

  const create = (roomId: string) =>
    Effect.gen(function* () {
      const began = performance.now()
      const created = yield* Effect.result(call("room.create", { roomId }))
      slowestMs = Math.max(slowestMs, performance.now() - began)
      if (created._tag === "Failure") failed.push(`${roomId}: ${created.failure.message}`)
    })
  yield* Effect.forEach(
    ids,
    (roomId, n) =>
      Effect.gen(function* () {
        if (n === drainAt) yield* drained.signal("SIGTERM")
        if (n === strikeAt) yield* strike
        yield* create(roomId)
      }),
    { concurrency: callers, discard: true }
  )

  let createdAgain = 0
  let superseded = 0
  if (fault === "kill" || fault === "takeover") {
    const lost = yield* lostRooms(cluster, struck)
    const again = fault === "kill" ? lost : lost.filter(() => random() < 0.5)
    yield* Effect.forEach(again, create, { concurrency: callers, discard: true })
    createdAgain = again.length
    if (fault === "takeover") superseded = yield* wakeAndWatch(cluster, struck, again)
  }
  if (fault === "stop") yield* until(cluster.actorOf(struck).ask("Report", undefined), () => true)

  const wrong = yield* settled(cluster, pool, ids)
  yield* Effect.forEach(ids, (roomId) => Effect.ignore(call("room.close", { roomId })), {
    concurrency: callers,
    discard: true
  })
  const { code } = yield* drained.exited
  yield* pool.fill
  const exitCode = fault === "kill" && drained === struck ? 0 : code
  const result: FloodResult = { failed, slowestMs, createdAgain, superseded, wrong, exitCode }
  return result
})

/** Waits until the cluster knows that the node is dead, and says which rooms it had. */
const lostRooms = Effect.fnUntraced(function* ({ call }: TestCluster, { nodeId }: EbbNode) {
  const { rooms } = yield* until(call("room.list", { limit: 1000 }), ({ rooms }) =>
    rooms.every((room) => room.nodeId !== nodeId || room.lost)
  )
  return rooms.filter((room) => room.nodeId === nodeId).map(({ roomId }) => roomId)
})

/** Lets a stopped process go on, and counts which of these rooms it ends because another process has them now. */
const wakeAndWatch = Effect.fnUntraced(function* (
  { system }: TestCluster,
  node: EbbNode,
  roomIds: ReadonlyArray<string>
) {
  const { ask } = system.system(node.incarnation)
  // Sent before it goes on: they wait for it in its socket, and it reads them before anything can end.
  const watching = yield* Effect.forkChild(
    Effect.forEach(
      roomIds,
      (id) => Effect.result(ask("Watch", { kind: "room", id, holdMs: 30_000 }, { timeoutMs: 35_000 })),
      { concurrency: "unbounded" }
    )
  )
  yield* Effect.sleep(200)
  yield* node.signal("SIGCONT")
  const endings = yield* Fiber.join(watching)
  return endings.filter(
    (end) => end._tag === "Success" && /superseded/.test(end.success.terminated?.detail ?? "")
  ).length
})

/** What is wrong once nothing changes any more: asked of every process that lives, and of the directory. */
const settled = Effect.fnUntraced(function* (
  { call, system }: TestCluster,
  pool: NodePool,
  ids: ReadonlyArray<string>
) {
  const look = Effect.gen(function* () {
    const owners = new Map<string, Array<string>>()
    for (const { incarnation, nodeId } of pool.running()) {
      const ref = system.ref(NodeProtocol, { kind: nodeKind, id: nodeId, incarnation })
      // One that has just ended has no rooms.
      const report = yield* Effect.option(ref.ask("Report", undefined))
      if (report._tag === "None") continue
      for (const { id } of report.value.rooms) owners.set(id, [...(owners.get(id) ?? []), nodeId])
    }
    const { rooms } = yield* call("room.list", { limit: 1000 })
    const listed = new Map(rooms.map((room) => [room.roomId, room]))
    const wrong = ids.flatMap((id) => {
      const lives = owners.get(id) ?? []
      const entry = listed.get(id)
      const isRight = lives.length === 1 && entry?.nodeId === lives[0] && entry?.lost === false
      return isRight ? [] : [`${id}: lives on [${lives.join()}], listed ${JSON.stringify(entry)}`]
    })
    const strangers = [...owners.keys()].filter((id) => !ids.includes(id))
    return [...wrong, ...strangers.map((id) => `${id}: nobody asked for it in this run`)]
  })
  return yield* until(look, (wrong) => wrong.length === 0).pipe(
    Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => Effect.orDie(look) })
  )
})
