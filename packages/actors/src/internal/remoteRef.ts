/**
 * A reference to an actor of another process: encodes, sends with the time that is left, decodes. Knows what a missing answer means:
 * nobody listening now is `NodeUnreachable`, not a death; a death is only said when the owner's lease was seen absent.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { AskError } from "../ActorError.ts"
import { AskTimeout, MalformedMessage, NodeUnreachable, UnsupportedMessage } from "../ActorError.ts"
import type { ActorRef, AskOptions } from "../ActorRef.ts"
import type { Address, Epoch, Incarnation } from "../Address.ts"
import { formatAddress } from "../Address.ts"
import type { FollowUp } from "../Envelope.ts"
import { decodeReply, encodeFollowUp, encodeRequest, maxFrameBytes } from "../Envelope.ts"
import type { Transport, TransportError } from "../Transport.ts"
import { streamCredit, streamFar } from "./askedStream.ts"
import type { Terminated } from "../Supervision.ts"
import type { AnyMessage, MessageCodec, Protocol } from "./rpcSeam.ts"
import { randomWord } from "./randomWord.ts"
import { codecOf } from "./rpcSeam.ts"
import { askTimeoutMs } from "./timeouts.ts"

export interface Far {
  readonly transport: Transport["Service"]
  /** Numbers for this process's requests, from 1. */
  readonly nextId: () => number
  /** The sender. */
  readonly from: Incarnation
  /** Has the owner's lease been seen absent by an observer that was connected all the while? */
  readonly isDead: (incarnation: Incarnation) => Effect.Effect<boolean>
}

interface To {
  readonly subject: string
  readonly name: string
  readonly epoch?: Epoch | undefined
}

/** Sends one message of `protocol` to `subject` and decodes the answer. The one way out of a process. */
export const askFar = (
  far: Far,
  protocol: Protocol<AnyMessage>,
  to: To,
  tag: string,
  input: unknown,
  options: AskOptions | undefined
): Effect.Effect<unknown, unknown> => {
  const codec = codecOf(protocol, tag)
  if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
  const timeoutMs = askTimeoutMs(tag, options)
  if (Exit.isFailure(timeoutMs)) return timeoutMs
  return Effect.suspend(() => sendRequest(far, to, codec, input, timeoutMs.value, nameOf(far))).pipe(
    Effect.flatMap((bytes) => {
      const reply = decodeReply(bytes)
      if (Exit.isFailure(reply)) return reply
      switch (reply.value._tag) {
        case "Batch":
          return new MalformedMessage({ problem: `${tag}: a stream, where one answer was asked for` })
        case "Success":
          return codec.decodeSuccess(reply.value.value)
        case "Failure":
          return Effect.flatMap(codec.decodeError(reply.value.error), Effect.fail)
        case "Refused":
          return Effect.fail(reply.value.error)
      }
    })
  )
}

const sendRequest = (
  far: Far,
  to: To,
  codec: MessageCodec,
  input: unknown,
  timeoutMs: number,
  name: FollowUp,
  credit?: number
): Effect.Effect<Uint8Array, AskError> => {
  const { transport } = far
  const made = codec.make(input)
  const encoded = Exit.isFailure(made) ? made : codec.encodePayload(made.value)
  if (Exit.isFailure(encoded)) return Exit.failCause(encoded.cause)
  const { tag } = codec
  return Effect.withFiber((fiber) => {
    const trace = codec.traced ? Context.getOrUndefined(fiber.context, Tracer.ParentSpan) : undefined
    const payload = encoded.value
    const request = { tag, payload, remainingMs: timeoutMs, epoch: to.epoch, ...name, trace, credit }
    return transport.request(to.subject, encodeRequest(request), { timeoutMs }).pipe(
      Effect.mapError((error) => toAskError(error, to.name, tag, timeoutMs)),
      Effect.tapError((error) =>
        error._tag === "AskTimeout" && codec.interruptible ? takeBack(far, to, name) : Effect.void
      ),
      // Nobody waits any more: what waits there is taken out. One frame, and at most once, like all.
      Effect.onInterrupt(() => takeBack(far, to, name))
    )
  })
}

/** By which a request is spoken of again, by its sender alone. */
const nameOf = ({ from, nextId }: Far): FollowUp => ({ from, id: nextId(), word: randomWord() })

const takeBack = ({ transport }: Far, to: To, name: FollowUp): Effect.Effect<void> =>
  Effect.ignore(transport.publish(to.subject, encodeFollowUp(name)))

/** The stream of answers to one message. */
const streamOf = (
  far: Far,
  protocol: Protocol<AnyMessage>,
  to: To,
  tag: string,
  input: unknown,
  options: AskOptions | undefined
) =>
  Stream.suspend(() => {
    const codec = codecOf(protocol, tag)
    if (codec === undefined) return Stream.fail(new UnsupportedMessage({ tag }))
    const timeoutMs = askTimeoutMs(tag, options)
    if (Exit.isFailure(timeoutMs)) return Stream.fromEffect(timeoutMs)
    const name = nameOf(far)
    return streamFar({
      codec,
      begin: Effect.suspend(() => sendRequest(far, to, codec, input, timeoutMs.value, name, streamCredit)),
      next: ({ credit, holdMs: remainingMs, timeoutMs: waitMs }) =>
        far.transport
          .request(to.subject, encodeFollowUp({ ...name, credit, remainingMs }), {
            timeoutMs: waitMs
          })
          .pipe(Effect.mapError((error) => toAskError(error, to.name, tag, waitMs))),
      cancel: takeBack(far, to, name)
    })
  })

const toAskError = (error: TransportError, name: string, tag: string, timeoutMs: number): AskError => {
  switch (error.reason) {
    case "NoListener":
      return new NodeUnreachable({ target: name, reason: "nobody listens there now" })
    case "Disconnected":
      return new NodeUnreachable({ target: name, reason: "this process has no connection to NATS" })
    case "TooLarge":
      return new MalformedMessage({ problem: `${tag} is larger than ${maxFrameBytes} bytes` })
    case "Timeout":
      return new AskTimeout({ tag, timeoutMs })
  }
}

export const remoteRef = <R extends AnyMessage>(
  far: Far,
  protocol: Protocol<R>,
  address: Address,
  subject: string,
  terminated: Effect.Effect<Terminated>,
  epoch?: Epoch
): ActorRef<R> => {
  const to = { subject, name: formatAddress(address), epoch }
  const contract = protocol as unknown as Protocol<AnyMessage>
  const ref: unknown = {
    address,
    ask: (tag: string, input: unknown, options?: AskOptions) =>
      askFar(far, contract, to, tag, input, options),
    stream: (tag: string, input: unknown, options?: AskOptions) =>
      streamOf(far, contract, to, tag, input, options),
    tell: (tag: string, input: unknown) => {
      const codec = codecOf(protocol, tag)
      if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
      return Effect.suspend(() => Effect.flatMap(codec.make(input), codec.encodePayload)).pipe(
        Effect.flatMap((payload) =>
          far.transport.publish(subject, encodeRequest({ tag, payload, epoch, from: far.from }))
        ),
        Effect.catchTag("TransportError", (error) => Effect.fail(toAskError(error, to.name, tag, 0)))
      )
    },
    terminated
  }
  return ref as ActorRef<R>
}
