/**
 * Where a new room goes, and where a room is. Decides nothing by itself: the candidate node admits in its own mailbox, and the
 * directory's outcome says who owns the name. So a wrong guess from an old lease costs one more ask, never a room.
 */
import type { AskError, Id, NodeLease } from "@ebb/actors"
import { ActorSystem, Directory, Leases } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { NotFound } from "../protocol/Common.ts"
import { NoNodeAdmits } from "../protocol/Control.ts"
import { nodeKind, NodeProtocol } from "../protocol/Node.ts"
import type { RoomOptions } from "../protocol/Room.ts"
import { roomKind } from "../protocol/Room.ts"

/** One candidate's time to answer, in milliseconds: short enough that a stopped node leaves time for two others. */
const candidateTimeoutMs = 1500
/** After that the caller is told what was found last. Below the 5 s that an asker waits by default. */
const budgetMs = 4500

/**
 * Open nodes first, then cordoned ones, then draining ones: these refuse, unless they are told `prefer` or have just been undrained. In
 * each class two are drawn and the emptier goes first.
 */
export const candidates = Effect.fnUntraced(function* (nodes: ReadonlyArray<NodeLease>) {
  const serving = nodes.filter(({ life }) => life === "Serving")
  const classes = [
    serving.filter(({ admission }) => admission === "open"),
    serving.filter(({ admission }) => admission !== "open"),
    nodes.filter(({ life }) => life === "Draining" || life === "Evacuating")
  ]
  const ordered: Array<NodeLease> = []
  for (const each of classes) {
    const [first, second, ...rest] = yield* Random.shuffle(each)
    // Two random choices (Mitzenmacher 2001): close to the least loaded, without every placer taking the same one.
    const pair = [first, second].filter((node) => node !== undefined).toSorted((a, b) => a.rooms - b.rooms)
    ordered.push(...pair, ...rest.toSorted((a, b) => a.rooms - b.rooms))
  }
  return ordered
})

/** Errors after which another node may be asked. A timeout is one of them: a room made twice loses its second claim. */
const tryElsewhere = new Set<string>([
  "NodeDraining",
  "NodeIsolated",
  "NodeUnreachable",
  "NoSuchActor",
  "MailboxFull",
  "MediaUnavailable",
  "AskTimeout",
  "ActorCrashed"
])

/** Opens a room on some node, or finds it where it is. */
export const placeRoom = Effect.fnUntraced(function* (input: {
  readonly roomId: Id
  readonly options: RoomOptions
  readonly admission: "strict" | "prefer"
}) {
  const directory = yield* Directory
  const leases = yield* Leases
  const system = yield* ActorSystem
  const began = yield* Effect.clockWith((clock) => clock.monotonicTimeNanos)
  const leftMs = Effect.map(
    Effect.clockWith((clock) => clock.monotonicTimeNanos),
    (now) => budgetMs - Number((now - began) / 1_000_000n)
  )
  const ask = (node: { readonly node: Id; readonly inc: Id }) =>
    system
      .ref(NodeProtocol, { kind: nodeKind, id: node.node, incarnation: node.inc })
      .ask("OpenRoom", input, { timeoutMs: candidateTimeoutMs })

  let last: Effect.Error<ReturnType<typeof ask>> | undefined
  while ((yield* leftMs) > 0) {
    const located = yield* directory.lookup({ kind: roomKind, id: input.roomId })
    if (located !== undefined && !(yield* leases.isDead(located.entry.inc))) {
      const there = yield* Effect.result(ask(located.entry))
      if (there._tag === "Success") return there.success
      // It is ending there, and its entry with it; or its node does not answer. Either may have changed a moment later.
      if (there.failure._tag !== "Elsewhere" && !tryElsewhere.has(there.failure._tag))
        return yield* there.failure
      last = there.failure
      yield* Effect.sleep(100)
      continue
    }
    const nodes = yield* leases.current
    const drains = new Set<Id>()
    let undecided: typeof last
    for (const node of yield* candidates(nodes)) {
      if ((yield* leftMs) <= 0) break
      const there = yield* Effect.result(ask(node))
      if (there._tag === "Success") return there.success
      if (there.failure._tag === "NodeDraining") {
        drains.add(node.inc)
        continue
      }
      undecided = there.failure
      if (there.failure._tag === "Elsewhere") break
      if (!tryElsewhere.has(there.failure._tag)) return yield* there.failure
    }
    if (undecided === undefined) {
      return yield* new NoNodeAdmits({
        nodes: nodes.map(({ admission, inc, life, node }) =>
          // What it says itself is later than what its lease says.
          drains.has(inc)
            ? { nodeId: node, life: life === "Serving" ? "Draining" : life, admission: "closed" }
            : { nodeId: node, life, admission }
        )
      })
    }
    last = undecided
    yield* Effect.sleep(50)
  }
  return yield* last ?? new NoNodeAdmits({ nodes: [] })
})

/** The live owner of a name, or `NotFound` with what is known. */
export const locate = Effect.fnUntraced(function* (kind: string, id: Id) {
  const directory = yield* Directory
  const leases = yield* Leases
  const located = yield* directory.lookup({ kind, id })
  if (located === undefined) return yield* new NotFound({ entity: kind, id })
  const { entry, epoch } = located
  if (yield* leases.isDead(entry.inc)) {
    return yield* new NotFound({ entity: kind, id, problem: `its node '${entry.node}' is dead` })
  }
  return { nodeId: entry.node, epoch, address: { kind, id, incarnation: entry.inc } }
})

/** The owner itself says that it does not live: its entry is about to go. */
export const goneIsNotFound = <A, E, R>(kind: string, id: Id, effect: Effect.Effect<A, E | AskError, R>) =>
  Effect.catchIf(
    effect,
    (error): error is Extract<AskError, { _tag: "NoSuchActor" }> =>
      (error as AskError)._tag === "NoSuchActor",
    () => new NotFound({ entity: kind, id, problem: "it has just ended" })
  )
