/** A reference to an actor of this process: messages are not encoded, and go straight into the mailbox. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { AskTimeout, UnsupportedMessage } from "../ActorError.ts"
import type { ActorRef, AskOptions } from "../ActorRef.ts"
import type { Address, Epoch } from "../Address.ts"
import type { UserMessage } from "../Mailbox.ts"
import { streamHere } from "./askedStream.ts"
import type { Terminated } from "../Supervision.ts"
import type { Cell } from "./cell.ts"
import type { AnyMessage, AnyStream, MessageCodec, Protocol } from "./rpcSeam.ts"
import { answerHere } from "./replies.ts"
import { codecOf } from "./rpcSeam.ts"
import { askTimeoutMs } from "./timeouts.ts"

export const localRef = <R extends AnyMessage>(
  cell: Cell,
  protocol: Protocol<R>,
  epoch?: Epoch
): ActorRef<R> =>
  // Typed by the protocol alone; inside, messages are told apart by tag.
  new LocalRef(cell, protocol as unknown as Protocol<AnyMessage>, epoch) as unknown as ActorRef<R>

class LocalRef {
  readonly #cell: Cell
  readonly #protocol: Protocol<AnyMessage>
  readonly #epoch: Epoch | undefined

  constructor(cell: Cell, protocol: Protocol<AnyMessage>, epoch: Epoch | undefined) {
    this.#cell = cell
    this.#protocol = protocol
    this.#epoch = epoch
  }

  get address(): Address {
    return this.#cell.address
  }

  get terminated(): Effect.Effect<Terminated> {
    return Deferred.await(this.#cell.ended)
  }

  ask(tag: string, input: unknown, options?: AskOptions): Effect.Effect<unknown, unknown> {
    const codec = codecOf(this.#protocol, tag)
    if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
    const timeout = askTimeoutMs(tag, options)
    if (Exit.isFailure(timeout)) return timeout
    const timeoutMs = timeout.value
    return Effect.withFiber((fiber) => {
      const payload = codec.make(input)
      if (Exit.isFailure(payload)) return payload
      const cell = this.#cell
      const { lane } = cell
      // Most handlers answer in this turn: no fiber waits, and no clock is set, before it is known that one is needed.
      let answer: Exit.Exit<unknown, unknown> | undefined
      let resume = (exit: Exit.Exit<unknown, unknown>): void => {
        answer = exit
      }
      const deadline = cell.nowMs() + timeoutMs
      const message = this.#message(codec, payload.value, fiber.context, deadline, (exit) =>
        resume(answerHere(cell, codec, exit))
      )
      lane.deliver(message)
      if (answer !== undefined) return answer
      return Effect.callback<unknown, unknown>((resumed) => {
        if (answer !== undefined) return resumed(answer)
        resume = resumed
        return Effect.sync(() => lane.cancel(message))
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMs,
          orElse: () => Effect.fail(new AskTimeout({ tag, timeoutMs }))
        })
      )
    })
  }

  tell(tag: string, input: unknown): Effect.Effect<void, unknown> {
    const codec = codecOf(this.#protocol, tag)
    if (codec === undefined) return Effect.fail(new UnsupportedMessage({ tag }))
    return Effect.withFiber((fiber): Effect.Effect<void, unknown> => {
      const payload = codec.make(input)
      if (Exit.isFailure(payload)) return Exit.failCause(payload.cause)
      const forEver = Number.POSITIVE_INFINITY
      const message = this.#message(codec, payload.value, fiber.context, forEver, undefined)
      const refused = this.#cell.lane.deliver(message)
      return refused === undefined ? Effect.void : Effect.fail(refused)
    })
  }

  stream(tag: string, input: unknown, options?: AskOptions): AnyStream {
    const codec = codecOf(this.#protocol, tag)
    if (codec === undefined) return Stream.fail(new UnsupportedMessage({ tag }))
    return Stream.suspend(() => streamHere(this.#cell, codec, this.ask(tag, input, options)))
  }

  #message(
    codec: MessageCodec,
    payload: unknown,
    context: Context.Context<never>,
    deadline: number,
    reply: UserMessage["reply"]
  ): UserMessage {
    return {
      codec,
      payload,
      isEncoded: false,
      deadline,
      reply,
      epoch: this.#epoch,
      span: Context.getOrUndefined(context, Tracer.ParentSpan)
    }
  }
}
