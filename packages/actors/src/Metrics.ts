/**
 * What the runtime tells of itself, as metrics of Effect: whoever reads those (Prometheus, OTLP, `Metric.snapshot`) finds these. They are
 * the process's: two systems that share a `Metric.MetricRegistry` each need `Metric.CurrentMetricAttributes` of their own, or the later
 * one is what is seen. No label holds an id; kinds and tags are those of the program's own definitions.
 *
 * | name                        | type      | labels             | meaning                                                            |
 * | --------------------------- | --------- | ------------------ | ------------------------------------------------------------------ |
 * | `ebb_actors`                | gauge     | kind, state        | live actors; state is their life: Starting, Serving, Draining, ... |
 * | `ebb_mailbox_messages`      | gauge     | kind               | messages that wait, in all mailboxes of the kind                   |
 * | `ebb_mailbox_messages_max`  | gauge     | kind               | messages that wait in the fullest one                              |
 * | `ebb_drain_phase_seconds`   | gauge     | kind               | how long the present phase of a drain has lasted; 0 without one    |
 * | `ebb_drain_blockers`        | gauge     | kind               | live children that a drain waits for now, by the child's kind      |
 * | `ebb_dead_letters_total`    | counter   | reason             | messages that were dropped; the reasons are `DropReason`           |
 * | `ebb_refusals_total`        | counter   | error              | spawns and messages refused here with an error of the runtime      |
 * | `ebb_bugs_total`            | counter   | kind               | handlers, finalizers, answers that died or broke their contract    |
 * | `ebb_ask_seconds`           | histogram | kind, tag          | from an ask to its answer, as the asker sees it, here and far away |
 * | `ebb_asks_total`            | counter   | kind, tag, outcome | asks that ended: ok, failure, or the runtime's error               |
 * | `ebb_nats_connected`        | gauge     |                    | 1 while the process is connected                                   |
 * | `ebb_lease_renewals_total`  | counter   | outcome            | ok, failed, or refused (somebody else has the key)                 |
 * | `ebb_lease_age_seconds`     | gauge     |                    | since the last confirmed renewal was sent                          |
 *
 * Cheap when nobody looks: gauges, and the counters of what is rare, are read from what the runtime holds anyway. The two of asks cost
 * something with each ask, so they are made only where `AsksMeasured` is true.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/** Whether an `ActorSystem` that starts here measures its asks. Default false. */
export const AsksMeasured: Context.Reference<boolean> = Context.Reference("@ebb/actors/AsksMeasured", {
  defaultValue: () => false
})

export type Labels = Readonly<Record<string, string>>

/** What a metric's series have in common. */
export interface Instrument {
  /** As Prometheus wants it: with its unit, and `_total` where it counts. */
  readonly name: string
  readonly help: string
}

export const instruments = {
  actors: { name: "ebb_actors", help: "Live actors by kind and life" },
  mailboxes: { name: "ebb_mailbox_messages", help: "Messages that wait in the mailboxes of a kind" },
  mailboxesMax: {
    name: "ebb_mailbox_messages_max",
    help: "Messages that wait in the fullest mailbox of a kind"
  },
  drainPhase: {
    name: "ebb_drain_phase_seconds",
    help: "How long the present phase of a drain has lasted; 0 when none of the kind drains"
  },
  drainBlockers: { name: "ebb_drain_blockers", help: "Live children that a drain waits for, by their kind" },
  deadLetters: { name: "ebb_dead_letters_total", help: "Messages that were dropped, by reason" },
  refusals: { name: "ebb_refusals_total", help: "Spawns and messages refused, by the runtime's error" },
  bugs: { name: "ebb_bugs_total", help: "What died, or broke its contract, in actors of a kind" },
  askSeconds: { name: "ebb_ask_seconds", help: "From an ask to its answer, as the asker sees it" },
  asks: { name: "ebb_asks_total", help: "Asks that ended, by outcome: ok, failure, or the runtime's error" },
  connected: { name: "ebb_nats_connected", help: "1 while this process is connected to NATS" },
  leaseRenewals: { name: "ebb_lease_renewals_total", help: "Renewals of the node's lease, by outcome" },
  leaseAge: {
    name: "ebb_lease_age_seconds",
    help: "Since the last renewal of the lease that was confirmed was sent"
  }
} as const satisfies Record<string, Instrument>

/** From a tenth of a millisecond to ten seconds. */
export const secondsBoundaries = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
]

const gaugeOf = ({ help, name }: Instrument, attributes: Labels) =>
  Metric.gauge(name, { description: help, attributes })

export const counterOf = ({ help, name }: Instrument, attributes: Labels) =>
  Metric.counter(name, { description: help, attributes, incremental: true })

/** In seconds. */
export const histogramOf = ({ help, name }: Instrument, attributes: Labels) =>
  Metric.histogram(name, { description: help, attributes, boundaries: secondsBoundaries })

const unused = () => {}

/** A gauge that is read when somebody looks. Into the registry of `context`. */
export const registerGauge = (
  context: Context.Context<never>,
  instrument: Instrument,
  labels: Labels,
  read: () => number
): Metric.Registration =>
  Metric.registerUnsafe(gaugeOf(instrument, labels), context, {
    get: () => ({ value: read() }),
    update: unused,
    modify: unused
  })

/** The same for what only grows. */
export const registerCounter = (
  context: Context.Context<never>,
  instrument: Instrument,
  labels: Labels,
  read: () => number
): Metric.Registration =>
  Metric.registerUnsafe(counterOf(instrument, labels), context, {
    get: () => ({ count: read(), incremental: true }),
    update: unused,
    modify: unused
  })

const scoped =
  (register: typeof registerGauge) =>
  (instrument: Instrument, labels: Labels, read: () => number): Effect.Effect<void, never, Scope.Scope> =>
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => register(context, instrument, labels, read)),
          ({ remove }) => Effect.sync(remove)
        )
      )
    )

/** Until the scope closes. */
export const observableGauge = scoped(registerGauge)
export const observableCounter = scoped(registerCounter)
