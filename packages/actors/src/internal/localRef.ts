/** A reference to an actor of this process: messages are not encoded, and go straight into the mailbox. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { AskTimeout, UnsupportedMessage } from "../ActorError.ts"
import type { ActorRef, AskOptions } from "../ActorRef.ts"
import { defaultAskTimeoutMs } from "../ActorRef.ts"
import type { Epoch } from "../Address.ts"
import type { UserMessage } from "../Mailbox.ts"
import { streamHere } from "./askedStream.ts"
import type { Cell } from "./cell.ts"
import type { AnyMessage, MessageCodec, Protocol } from "./rpcSeam.ts"
import { codecOf } from "./rpcSeam.ts"

export const localRef = <R extends AnyMessage>(
  cell: Cell,
  protocol: Protocol<R>,
  epoch?: Epoch
): ActorRef<R> => {
  const payloadOf = (codec: MessageCodec, input: unknown) => {
    const payload = Exit.succeed(codec.make(input))
    return () => payload
  }
  const ask = (tag: string, input: unknown, options?: AskOptions) => {
    const codec = codecOf(protocol, tag)
    if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
    const timeoutMs = options?.timeoutMs ?? defaultAskTimeoutMs
    return Effect.withFiber((fiber) => {
      // Most handlers answer in this turn: no fiber waits, and no clock is set, before it is known that one is needed.
      let answer: Exit.Exit<unknown, unknown> | undefined
      let resume = (exit: Exit.Exit<unknown, unknown>): void => {
        answer = exit
      }
      const message: UserMessage = {
        codec,
        payload: payloadOf(codec, input),
        deadline: cell.nowMs() + timeoutMs,
        reply: (exit) => resume(exit),
        epoch,
        span: Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
      }
      cell.lane.deliver(message)
      if (answer !== undefined) return answer
      return Effect.callback<unknown, unknown>((resumed) => {
        if (answer !== undefined) return resumed(answer)
        resume = resumed
        return Effect.sync(() => cell.lane.cancel(message))
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMs,
          orElse: () => Effect.fail(new AskTimeout({ tag, timeoutMs }))
        })
      )
    })
  }
  const ref: unknown = {
    address: cell.address,
    ask,
    tell: (tag: string, input: unknown) => {
      const codec = codecOf(protocol, tag)
      if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
      return Effect.withFiber((fiber) => {
        let refused: Exit.Exit<unknown, unknown> | undefined
        // Answered synchronously when it is not taken; whatever comes later is the handler's, and nobody waits for it.
        cell.lane.deliver({
          codec,
          payload: payloadOf(codec, input),
          deadline: Number.POSITIVE_INFINITY,
          reply: (exit) => {
            refused ??= exit
          },
          epoch,
          span: Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
        })
        return refused !== undefined && Exit.isFailure(refused) ? Exit.failCause(refused.cause) : Exit.void
      })
    },
    stream: (tag: string, input: unknown, options?: AskOptions) =>
      Stream.suspend(() => streamHere(cell, ask(tag, input, options))),
    terminated: Deferred.await(cell.ended)
  }
  // Typed by the protocol alone; inside, messages are told apart by tag.
  return ref as ActorRef<R>
}
