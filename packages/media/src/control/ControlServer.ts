/**
 * NATS control commands onto handlers: one subscription in the queue group of all nodes, so that any live node answers any command.
 *
 * Guarantees: every request gets one reply, `{ok}` or `{error}`, whatever bytes it brings; bounded work in flight; at its end it stops
 * listening first and then waits for what it has begun.
 */
import type { Frame, Tag } from "@ebb/actors"
import { ActorSystem, codecOf, MailboxFull, pack, Transport, unpack, UnsupportedMessage } from "@ebb/actors"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import type { ControlMessage } from "../protocol/Control.ts"
import { ControlError, ControlProtocol } from "../protocol/Control.ts"
import type { ControlServices } from "./ControlHandlers.ts"
import { controlHandlers } from "./ControlHandlers.ts"

/** Commands in work at once; more are refused with `MailboxFull`. */
const capacity = 1024
/** How long the end waits for commands that were begun, in milliseconds. */
const finishMs = 5000

const encodeError = Schema.encodeUnknownExit(ControlError)

const isCommand = (text: string): text is Tag<ControlMessage> => Object.hasOwn(controlHandlers, text)

/** Answers control commands until the scope closes. */
export const serveControl = Effect.gen(function* () {
  const system = yield* ActorSystem
  const transport = yield* Transport
  const fibers = yield* FiberSet.make<void>()
  const run = yield* FiberSet.runtime(fibers)<ControlServices>()
  const prefix = system.subjects.control("")
  let inWork = 0

  const handle = (frame: Frame): Effect.Effect<unknown, unknown, ControlServices> => {
    const command = frame.subject.slice(prefix.length)
    const codec = codecOf(ControlProtocol, command)
    if (codec === undefined || !isCommand(command))
      return new UnsupportedMessage({ tag: command.slice(0, 64) })
    const bytes = unpack(frame.data)
    // An empty request is a command without fields.
    const payload = frame.data.length === 0 ? Exit.succeed({}) : bytes
    const handler = controlHandlers[command] as (
      input: unknown
    ) => Effect.Effect<unknown, unknown, ControlServices>
    return Effect.flatMap(payload, (given) =>
      Effect.flatMap(codec.decodePayload(codec.takesNothing ? undefined : given), handler)
    ).pipe(Effect.flatMap(codec.encodeSuccess))
  }

  const answer = (frame: Frame) =>
    Effect.suspend(() => handle(frame)).pipe(
      Effect.exit,
      Effect.flatMap((exit) =>
        Effect.andThen(
          Effect.sync(() => frame.respond?.(replyOf(exit))),
          Exit.isFailure(exit) && Cause.hasDies(exit.cause)
            ? Effect.logError(`BUG: the command ${frame.subject} died`, exit.cause)
            : Effect.void
        )
      ),
      Effect.ensuring(Effect.sync(() => void inWork--))
    )

  // Added before the subscription, so that it runs after it: nothing new comes while what was begun is awaited.
  yield* Effect.addFinalizer(() =>
    Effect.timeoutOrElse(FiberSet.awaitEmpty(fibers), { duration: finishMs, orElse: () => Effect.void })
  )
  yield* transport.subscribe(
    system.subjects.controlAll,
    (frame) => {
      if (frame.respond === undefined) return
      if (inWork >= capacity) {
        return frame.respond(
          replyOf(Exit.fail(new MailboxFull({ kind: "control", id: system.nodeId, capacity })))
        )
      }
      inWork++
      run(answer(frame))
    },
    { queue: "control" }
  )
})

const replyOf = (exit: Exit.Exit<unknown, unknown>): Uint8Array => {
  if (Exit.isSuccess(exit)) return pack({ ok: exit.value ?? {} })
  const error = Cause.squash(exit.cause)
  const encoded = encodeError(error)
  if (Exit.isSuccess(encoded)) {
    const { message, retry } = error as ControlError
    return pack({ error: { ...encoded.value, message, retry } })
  }
  return pack({
    error: { _tag: "Bug", message: "the node failed at it; its log says how", retry: "unknown" }
  })
}
