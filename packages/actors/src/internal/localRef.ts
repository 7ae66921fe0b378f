/** A reference to an actor of this process: messages are not encoded, and go straight into the mailbox. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { AskTimeout } from "../ActorError.ts"
import type { ActorRef } from "../ActorRef.ts"
import { defaultAskTimeoutMs } from "../ActorRef.ts"
import type { UserMessage } from "../Mailbox.ts"
import type { Cell } from "./cell.ts"
import type { AnyMessage, Protocol } from "./rpcSeam.ts"
import { codecOf } from "./rpcSeam.ts"

export const localRef = <R extends AnyMessage>(cell: Cell, protocol: Protocol<R>): ActorRef<R> => {
  const payloadOf = (tag: string, input: unknown) => {
    const payload = codecOf(protocol, tag)?.make(input)
    return () => Exit.succeed(payload)
  }
  const ref: unknown = {
    address: cell.address,
    ask: (tag: string, input: unknown, options?: { readonly timeoutMs?: number }) => {
      const timeoutMs = options?.timeoutMs ?? defaultAskTimeoutMs
      return Effect.callback<unknown, unknown>((resume) => {
        const message: UserMessage = {
          tag,
          payload: payloadOf(tag, input),
          deadline: cell.nowMs() + timeoutMs,
          reply: resume
        }
        cell.deliver(message)
        return Effect.sync(() => cell.cancel(message))
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMs,
          orElse: () => Effect.fail(new AskTimeout({ tag, timeoutMs }))
        })
      )
    },
    tell: (tag: string, input: unknown) =>
      Effect.callback<void, unknown>((resume) => {
        let refused: Exit.Exit<unknown, unknown> | undefined
        // Answered synchronously when it is not taken; whatever comes later is the handler's, and nobody waits for it.
        cell.deliver({
          tag,
          payload: payloadOf(tag, input),
          deadline: Number.POSITIVE_INFINITY,
          reply: (exit) => {
            refused ??= exit
          }
        })
        resume(refused !== undefined && Exit.isFailure(refused) ? Exit.failCause(refused.cause) : Exit.void)
      }),
    terminated: Deferred.await(cell.ended)
  }
  // Typed by the protocol alone; inside, messages are told apart by tag.
  return ref as ActorRef<R>
}
