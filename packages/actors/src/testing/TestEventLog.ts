/**
 * `EventLog` in memory: several processes share one store. A process that is disconnected on the bus finds it unavailable; the
 * fault is the one a real server has: an append that was done and whose answer was lost.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { KeyConflict, RegistryUnavailable } from "../ActorError.ts"
import { EventLog, type LoggedEvent } from "../EventLog.ts"
import type { TestBus } from "./TestBus.ts"

export interface TestEventLog {
  readonly connect: (process: string) => EventLog["Service"]
  readonly layer: (process: string) => Layer.Layer<EventLog>
  /** The next append of this process is done, and its answer lost. */
  readonly loseNextReply: (process: string) => Effect.Effect<void>
}

export const make = (bus: TestBus): TestEventLog => {
  const subjects = new Map<string, Array<LoggedEvent>>()
  const repliesToLose = new Set<string>()
  let sequence = 0

  const connect = (process: string): EventLog["Service"] => {
    const call = <A, E>(run: () => Effect.Effect<A, E>): Effect.Effect<A, E | RegistryUnavailable> =>
      Effect.suspend((): Effect.Effect<A, E | RegistryUnavailable> =>
        bus.isConnected(process) ? run() : Effect.fail(new RegistryUnavailable({ reason: "not connected" }))
      )
    return {
      append: (subject, data, expectedLast) =>
        call((): Effect.Effect<number, KeyConflict | RegistryUnavailable> => {
          const events = subjects.get(subject) ?? []
          if ((events.at(-1)?.sequence ?? 0) !== expectedLast)
            return Effect.fail(new KeyConflict({ key: subject }))
          sequence += 1
          subjects.set(subject, [...events, { sequence, data }])
          return repliesToLose.delete(process)
            ? Effect.fail(new RegistryUnavailable({ reason: "the reply was lost" }))
            : Effect.succeed(sequence)
        }),
      read: (subject) => call(() => Effect.succeed(subjects.get(subject) ?? []))
    }
  }

  return {
    connect,
    layer: (process) => Layer.sync(EventLog, () => connect(process)),
    loseNextReply: (process) => Effect.sync(() => void repliesToLose.add(process))
  }
}
