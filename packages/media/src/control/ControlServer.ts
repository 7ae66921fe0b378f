/**
 * NATS control commands onto handlers: one subscription in the queue group of all nodes, so that any live node answers any command.
 *
 * Guarantees: every request gets one reply, `{ok}` or `{error}`, whatever bytes it brings; bounded work in flight, by lane; at its end it stops
 * listening first and then waits for what it has begun. A process that was paused changes nothing with the commands that it finds waiting:
 * whoever sent them may have sent them again, and gone on from there.
 */
import type { Frame, Tag } from "@ebb/actors"
import {
  ActorSystem,
  codecOf,
  MailboxFull,
  MalformedMessage,
  NodeIsolated,
  Transport,
  unpack,
  UnsupportedMessage
} from "@ebb/actors"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { commandMetrics } from "../MediaMetrics.ts"
import { isReading, type Lane, makeLanes } from "./commandLanes.ts"
import { makeCommandTally } from "./commandTally.ts"
import { Membership } from "../Membership.ts"
import type { ControlMessage } from "../protocol/Control.ts"
import { ControlProtocol } from "../protocol/Control.ts"
import type { ControlServices } from "./ControlHandlers.ts"
import { controlHandlers } from "./ControlHandlers.ts"
import { replyOf } from "./reply.ts"

/** How long the end waits for commands that were begun, in milliseconds. */
const finishMs = 5000

/** No command takes bytes; a schema whose fields may all be left out would take them for an empty map. */
const isPlainMap = (value: unknown): value is object =>
  Predicate.isObject(value) && !Array.isArray(value) && !hasBytes(value)

/** As deep as a message may be. */
const hasBytes = (value: unknown): boolean =>
  value instanceof Uint8Array ||
  (typeof value === "object" && value !== null && Object.values(value).some(hasBytes))

const isCommand = (text: string): text is Tag<ControlMessage> => Object.hasOwn(controlHandlers, text)

/** Each command is given to one node of this group. */
export const controlQueue = "control"

/** Answers control commands until the scope closes; gives what it counts of them. */
export const serveControl = Effect.gen(function* () {
  const system = yield* ActorSystem
  const transport = yield* Transport
  const lease = yield* Membership
  const fibers = yield* FiberSet.make<void>()
  const run = yield* FiberSet.runtime(fibers)<ControlServices>()
  const prefix = system.subjects.control("")
  const measure = yield* commandMetrics
  const tally = makeCommandTally()
  const record: typeof measure = (command, outcome, seconds) => {
    measure(command, outcome, seconds)
    tally.record(command, outcome, seconds)
  }
  const laneOf = makeLanes()

  const handle = (frame: Frame): Effect.Effect<unknown, unknown, ControlServices> => {
    const command = frame.subject.slice(prefix.length)
    const codec = codecOf(ControlProtocol, command)
    if (codec === undefined || !isCommand(command))
      return new UnsupportedMessage({ tag: command.slice(0, 64) })
    // An empty request is a command without fields.
    const payload = frame.data.length === 0 ? Exit.succeed({}) : unpack(frame.data)
    const handler = controlHandlers[command] as (
      input: unknown
    ) => Effect.Effect<unknown, unknown, ControlServices>
    return payload.pipe(
      Effect.filterOrFail(
        isPlainMap,
        () => new MalformedMessage({ problem: `${command} wants a map, and no bytes in it` })
      ),
      Effect.flatMap((given) => codec.decodePayload(codec.takesNothing ? undefined : given)),
      Effect.tap(() => {
        if (isReading(command)) return Effect.void
        return frame.stale ? new NodeIsolated({ nodeId: system.nodeId }) : lease.assertFresh
      }),
      Effect.flatMap(handler),
      Effect.flatMap(codec.encodeSuccess)
    )
  }

  /** Where nobody collects spans none is made: what it asks would carry the trace along. */
  const traced = (
    command: string,
    { traceparent }: Frame,
    handled: Effect.Effect<unknown, unknown, ControlServices>
  ) =>
    Effect.flatMap(Effect.tracer, (tracer) =>
      tracer === Tracer.nativeTracer
        ? handled
        : Effect.withSpan(handled, `control ${command}`, {
            ...asked(traceparent),
            kind: "server",
            attributes: { "ebb.node": system.nodeId, "ebb.incarnation": system.incarnation }
          })
    )

  const answer = (frame: Frame, command: string, lane: Lane) => {
    const beganAt = performance.now()
    return traced(command, frame, lane.inTurn(Effect.suspend(() => handle(frame)))).pipe(
      Effect.exit,
      Effect.flatMap((exit) =>
        Effect.andThen(
          Effect.sync(() => {
            const reply = replyOf(command, exit)
            frame.respond?.(reply.frame)
            record(command, reply.outcome, (performance.now() - beganAt) / 1000)
          }),
          Exit.isFailure(exit) && Cause.hasDies(exit.cause)
            ? Effect.logError(`BUG: the command ${frame.subject} died`, exit.cause)
            : Effect.void
        )
      ),
      Effect.ensuring(Effect.sync(lane.leave))
    )
  }

  // Added before the subscription, so that it runs after it: nothing new comes while what was begun is awaited.
  yield* Effect.addFinalizer(() =>
    Effect.timeoutOrElse(FiberSet.awaitEmpty(fibers), { duration: finishMs, orElse: () => Effect.void })
  )
  yield* transport.subscribe(
    system.subjects.controlAll,
    (frame) => {
      if (frame.respond === undefined) return
      const named = frame.subject.slice(prefix.length)
      const command = isCommand(named) ? named : "unknown"
      const lane = laneOf(command)
      if (!lane.enter()) {
        const full = new MailboxFull({ kind: "control", id: system.nodeId, capacity: lane.capacity })
        const reply = replyOf(command, Exit.fail(full))
        record(command, reply.outcome, 0)
        return frame.respond(reply.frame)
      }
      run(answer(frame, command, lane))
    },
    { queue: controlQueue }
  )
  return tally
})

/** What a command's span hangs on: its asker's, where that can be read. W3C Trace Context, of which later versions keep these fields. */
const asked = (traceparent: string | undefined) => {
  const [, traceId, spanId, flags] = traceparentPattern.exec(traceparent ?? "") ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return { root: true }
  return { parent: Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }) }
}
const traceparentPattern =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/
