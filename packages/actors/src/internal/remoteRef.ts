/**
 * A reference to an actor of another process: encodes, sends with the time that is left, decodes. Knows what a missing answer means:
 * nobody listening now is `NodeUnreachable`, not a death; a death is only said when the owner's lease was seen absent.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type { AskError } from "../ActorError.ts"
import { AskTimeout, MalformedMessage, NodeUnreachable, UnsupportedMessage } from "../ActorError.ts"
import type { ActorRef } from "../ActorRef.ts"
import { defaultAskTimeoutMs } from "../ActorRef.ts"
import type { Address, Epoch, Incarnation } from "../Address.ts"
import { formatAddress } from "../Address.ts"
import { decodeReply, encodeRequest, maxFrameBytes } from "../Envelope.ts"
import type { Transport, TransportError } from "../Transport.ts"
import type { Terminated } from "./cell.ts"
import type { AnyMessage, Protocol } from "./rpcSeam.ts"
import { codecOf } from "./rpcSeam.ts"

export interface Far {
  readonly transport: Transport["Service"]
  /** The sender. */
  readonly from: Incarnation
  /** Has the owner's lease been seen absent by an observer that was connected all the while? */
  readonly isDead: (incarnation: Incarnation) => Effect.Effect<boolean>
}

/** Sends one message of `protocol` to `subject` and decodes the answer. The one way out of a process. */
export const askFar = (
  far: Far,
  protocol: Protocol<AnyMessage>,
  to: { readonly subject: string; readonly name: string; readonly epoch?: Epoch | undefined },
  tag: string,
  input: unknown,
  timeoutMs: number
): Effect.Effect<unknown, unknown> => {
  const codec = codecOf(protocol, tag)
  if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
  const send = (payload: unknown) => {
    const frame = encodeRequest({ tag, payload, remainingMs: timeoutMs, epoch: to.epoch, from: far.from })
    return far.transport
      .request(to.subject, frame, { timeoutMs })
      .pipe(Effect.mapError((error) => toAskError(error, to.name, tag, timeoutMs)))
  }
  return Effect.suspend(() => codec.encodePayload(codec.make(input))).pipe(
    Effect.flatMap(send),
    Effect.flatMap((bytes) => {
      const reply = decodeReply(bytes)
      if (Exit.isFailure(reply)) return reply
      switch (reply.value._tag) {
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
  watch: Effect.Effect<Terminated | undefined, unknown>,
  epoch?: Epoch
): ActorRef<R> => {
  const to = { subject, name: formatAddress(address), epoch }
  const contract = protocol as unknown as Protocol<AnyMessage>
  const ref: unknown = {
    address,
    ask: (tag: string, input: unknown, options?: { readonly timeoutMs?: number }) =>
      askFar(far, contract, to, tag, input, options?.timeoutMs ?? defaultAskTimeoutMs),
    tell: (tag: string, input: unknown) => {
      const codec = codecOf(protocol, tag)
      if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
      return Effect.suspend(() => codec.encodePayload(codec.make(input))).pipe(
        Effect.flatMap((payload) =>
          far.transport.publish(subject, encodeRequest({ tag, payload, epoch, from: far.from }))
        ),
        Effect.catchTag("TransportError", (error) => Effect.fail(toAskError(error, to.name, tag, 0)))
      )
    },
    terminated: terminatedFar(far, address, watch)
  }
  return ref as ActorRef<R>
}

/** Asks again and again: an answer is the truth, no answer is a question to the leases. */
const terminatedFar = (
  far: Far,
  address: Address,
  watch: Effect.Effect<Terminated | undefined, unknown>
): Effect.Effect<Terminated> => {
  const lost: Terminated = { address, by: "lost", detail: "its process is dead" }
  const once: Effect.Effect<Terminated | undefined> = Effect.catch(watch, () =>
    Effect.map(far.isDead(address.incarnation), (dead) => (dead ? lost : undefined))
  )
  return once.pipe(
    Effect.flatMap((terminated) =>
      terminated === undefined ? Effect.fail("alive") : Effect.succeed(terminated)
    ),
    Effect.retry(Schedule.spaced("500 millis")),
    Effect.catch(() => Effect.never)
  )
}
