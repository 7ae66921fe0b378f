/**
 * The durable truth of a cluster's rollouts, as one process sees it: the log's events and the state they add up to.
 *
 * Guarantees that what `append` returned is in the log after everything this process knew, and that nobody else's event came between:
 * so a deployer that was overtaken fails with `RolloutTakenOver` before it acts, however long it was stopped. A lost answer is read
 * back, never guessed.
 */
import { EventLog, type Id, makeIncarnation, type RegistryUnavailable } from "@ebb/actors"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { RolloutLogUnreadable, RolloutTakenOver } from "./DeployError.ts"
import { idle, type Rollout, transition } from "./Rollout.ts"
import { decodeRecord, encodeRecord, type RolloutEvent, type RolloutRecord } from "./RolloutEvent.ts"

export interface RolloutLog {
  readonly state: () => Rollout
  /** Durable when it returns. Waits for as long as the log cannot be reached. */
  readonly append: (
    event: RolloutEvent
  ) => Effect.Effect<RolloutRecord, RolloutTakenOver | RolloutLogUnreadable>
}

/** One log for all rollouts of a cluster, so that two cannot begin at once. */
const subject = "log"

interface Known {
  readonly rollout: Rollout
  readonly sequence: number
  readonly last: RolloutRecord | undefined
}

const read: Effect.Effect<Known, RegistryUnavailable | RolloutLogUnreadable, EventLog> = Effect.gen(
  function* () {
    const log = yield* EventLog
    let known: Known = { rollout: idle, sequence: 0, last: undefined }
    for (const { data, sequence } of yield* log.read(subject)) {
      const last = decodeRecord(data)
      if (last === undefined)
        return yield* new RolloutLogUnreadable({ sequence, problem: "the event is not known here" })
      const rollout = transition(known.rollout, last.event)
      if (rollout === undefined) {
        const problem = `a ${last.event._tag} while ${known.rollout._tag}`
        return yield* new RolloutLogUnreadable({ sequence, problem })
      }
      known = { rollout, sequence, last }
    }
    return known
  }
)

/** The rollout as it stands, for who only looks. */
export const readRollout = Effect.map(read, ({ rollout }) => rollout)

/** Opens the log for a deployer process `by`. */
export const openRolloutLog = Effect.fnUntraced(function* (by: Id) {
  const log = yield* EventLog
  let known = yield* read

  const append = Effect.fnUntraced(function* (event: RolloutEvent) {
    const rollout = transition(known.rollout, event)
    if (rollout === undefined) return yield* Effect.die(`BUG: a ${event._tag} while ${known.rollout._tag}`)
    const at = yield* Clock.currentTimeMillis
    const record: RolloutRecord = { v: 1, by, nonce: makeIncarnation(), at, event }
    const sequence = yield* log.append(subject, encodeRecord(record), known.sequence).pipe(
      // Done already, perhaps: then the next try conflicts, and the log says with whose event.
      Effect.tapError((error) =>
        error._tag === "RegistryUnavailable"
          ? Effect.logWarning(`the rollout's log: ${error.message}; trying on`)
          : Effect.void
      ),
      Effect.retry({
        schedule: Schedule.spaced("1 second"),
        while: (error) => error._tag === "RegistryUnavailable"
      }),
      Effect.catchTag("KeyConflict", () => readBack(record)),
      Effect.catchTag("RegistryUnavailable", () => Effect.die("BUG: tried on for ever"))
    )
    known = { rollout, sequence, last: record }
    return record
  })

  const readBack = Effect.fnUntraced(
    function* (record: RolloutRecord) {
      const now = yield* Effect.retry(Effect.provideService(read, EventLog, log), {
        schedule: Schedule.spaced("1 second"),
        while: (error) => error._tag === "RegistryUnavailable"
      })
      return now.last?.nonce === record.nonce
        ? now.sequence
        : yield* new RolloutTakenOver({ by: now.last?.by ?? "unknown" })
    },
    Effect.catchTag("RegistryUnavailable", () => Effect.die("BUG: tried on for ever"))
  )

  const opened: RolloutLog = { state: () => known.rollout, append }
  return opened
})
