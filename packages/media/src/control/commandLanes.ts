/**
 * How many control commands are in work at once, by lane, so that no one takes what another needs: each command that only reads has a
 * lane of its own, those that look after nodes share one, and all others share one. What finds its lane full is refused, safe to send
 * again.
 *
 * It is the event loop that is shared: lists, which cost the most of it, are made by a few at once, and the rest of their lane waits.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** What changes nothing: answered by a node that is cut off from the registry, too, as far as it can. */
const reading: ReadonlySet<string> = new Set([
  "room.get",
  "room.list",
  "room.capabilities",
  "recording.get",
  "recording.list",
  "node.list",
  "node.status"
])

export const isReading = (command: string): boolean => reading.has(command)

/** In work and waiting, before more are refused. */
const capacities = { lists: 32, reads: 256, nodes: 256, others: 1024 }
/** Of each kind of list. */
const listsAtOnce = 2

export interface Lane {
  readonly capacity: number
  /** False when it is full. Otherwise to be followed by `leave`. */
  readonly enter: () => boolean
  readonly leave: () => void
  /** Runs it when its turn has come. */
  readonly inTurn: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

const makeLane = (capacity: number, atOnce?: number): Lane => {
  const turns = atOnce === undefined ? undefined : Semaphore.makeUnsafe(atOnce)
  let inside = 0
  return {
    capacity,
    enter: () => {
      if (inside >= capacity) return false
      inside++
      return true
    },
    leave: () => void inside--,
    inTurn: (effect) => turns?.withPermit(effect) ?? effect
  }
}

/** The lane of a command; of anything else, too. */
export const makeLanes = (): ((command: string) => Lane) => {
  const lanes = new Map<string, Lane>()
  for (const command of reading) {
    const isList = command === "room.list" || command === "recording.list"
    lanes.set(command, isList ? makeLane(capacities.lists, listsAtOnce) : makeLane(capacities.reads))
  }
  const nodes = makeLane(capacities.nodes)
  const others = makeLane(capacities.others)
  return (command) => lanes.get(command) ?? (command.startsWith("node.") ? nodes : others)
}
