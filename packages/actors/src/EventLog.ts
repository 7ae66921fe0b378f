/**
 * A durable log of events by subject, appended to only by who knows its end. JetStream implements it (`nats/NatsEventLog`), a map
 * in memory does for tests (`testing/TestEventLog`).
 *
 * Guarantees that of two who append after the same event exactly one succeeds: that is a fence. An append whose answer was lost
 * may have been done: read the log to know. Leaves to its user what an event is, and when a log is done with.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { KeyConflict, RegistryUnavailable } from "./ActorError.ts"
import type { Id } from "./Address.ts"

export interface LoggedEvent {
  /** Grows from event to event of a subject, not necessarily by one. Above 0. */
  readonly sequence: number
  readonly data: Uint8Array
}

export class EventLog extends Context.Service<
  EventLog,
  {
    /** Appends when the subject's last event is `expectedLast` (0: it has none); otherwise `KeyConflict`. The new event's sequence. */
    readonly append: (
      subject: Id,
      data: Uint8Array,
      expectedLast: number
    ) => Effect.Effect<number, KeyConflict | RegistryUnavailable>
    /** All events of a subject, oldest first, up to its end at the time of the call. */
    readonly read: (subject: Id) => Effect.Effect<ReadonlyArray<LoggedEvent>, RegistryUnavailable>
  }
>()("@ebb/actors/EventLog") {}
