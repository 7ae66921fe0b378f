/**
 * A control client: what a backend in TypeScript, the command line and the deployer use. Knows no node by name; sends again, by itself, what
 * is safe or idempotent to send again, until its time is over.
 */
import type { Failure, Input, Success, Tag, TransportError } from "@ebb/actors"
import {
  AskTimeout,
  codecOf,
  MalformedMessage,
  NodeUnreachable,
  pack,
  subjects,
  Transport,
  unpack
} from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type { ControlError, ControlMessage } from "./Control.ts"
import { ControlProtocol } from "./Control.ts"

export interface CallOptions {
  /** Milliseconds for one try. Default 5000. */
  readonly timeoutMs?: number
  /** Milliseconds for all tries. Default 30000; 0 sends once. */
  readonly retryForMs?: number
}

export interface ControlClient {
  readonly call: <T extends Tag<ControlMessage>>(
    command: T,
    input: Input<ControlMessage, T>,
    options?: CallOptions
  ) => Effect.Effect<Success<ControlMessage, T>, Failure<ControlMessage, T>>
}

/** All commands may be sent twice: creates are idempotent by their id, and the others set a state or read it. */
const isWorthRetrying = (error: ControlError): boolean => error.retry !== "never"

const pause = Schedule.jittered(Schedule.spaced("200 millis"))

/** A client of the cluster `cluster` on the connection of this process. */
export const makeControlClient = Effect.fnUntraced(function* (cluster: string) {
  const transport = yield* Transport
  const names = subjects(cluster)

  const once = (
    command: Tag<ControlMessage>,
    input: unknown,
    timeoutMs: number
  ): Effect.Effect<unknown, ControlError> => {
    const codec = codecOf(ControlProtocol, command)
    if (codec === undefined) return Effect.die(`no such command: ${command}`)
    return Effect.suspend(() => codec.encodePayload(codec.make(input))).pipe(
      Effect.flatMap((payload) =>
        transport
          .request(names.control(command), pack(payload ?? {}), { timeoutMs })
          .pipe(Effect.mapError((error) => asControlError(error, command, timeoutMs)))
      ),
      Effect.flatMap(unpack),
      Effect.flatMap((reply) => {
        if (Predicate.hasProperty(reply, "ok"))
          return codec.decodeSuccess(codec.givesNothing ? undefined : reply.ok)
        if (!Predicate.hasProperty(reply, "error")) {
          return Effect.fail(new MalformedMessage({ problem: "a reply has 'ok' or 'error'" }))
        }
        return Effect.flatMap(codec.decodeError(reply.error), (error) => Effect.fail(error as ControlError))
      })
    )
  }

  const call = (command: Tag<ControlMessage>, input: unknown, options: CallOptions = {}) => {
    const { retryForMs = 30_000, timeoutMs = 5000 } = options
    const sent = once(command, input, timeoutMs)
    return retryForMs === 0
      ? sent
      : Effect.retry(sent, {
          schedule: Schedule.upTo(pause, { duration: retryForMs }),
          while: isWorthRetrying
        })
  }
  return { call } as ControlClient
})

const asControlError = (error: TransportError, command: string, timeoutMs: number): ControlError => {
  switch (error.reason) {
    case "Timeout":
      return new AskTimeout({ tag: command, timeoutMs })
    case "NoListener":
      return new NodeUnreachable({ target: "the cluster", reason: "no node listens for control commands" })
    case "Disconnected":
      return new NodeUnreachable({ target: "the cluster", reason: "this process has no connection to NATS" })
    case "TooLarge":
      return new MalformedMessage({ problem: `${command} is larger than NATS takes` })
  }
}
