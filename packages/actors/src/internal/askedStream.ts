/**
 * A stream of answers, on the side of the asker: asks for as many items as the consumer is ready for, one frame ahead of it, and says so
 * when it will have no more.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { MalformedMessage } from "../ActorError.ts"
import { decodeReply } from "../Envelope.ts"
import type { Cell } from "./cell.ts"
import { failureHere, outsideHere } from "./replies.ts"
import type { Batch } from "./replyStream.ts"
import type { AnyStream, MessageCodec } from "./rpcSeam.ts"
import { defaultAskTimeoutMs } from "./timeouts.ts"

/** Items asked for at once. */
export const streamCredit = 256
/** How long the far side may wait for an item before it answers that there is none yet, in milliseconds. */
const holdMs = 10_000
/** How often a stream is kept whose consumer is busy, in milliseconds: a third of what the far side waits (`servedStreams`). */
const keepEveryMs = 20_000

/** One stream at the far side. */
export interface FarStream {
  readonly codec: MessageCodec
  /** Sends the request, and awaits the answer. */
  readonly begin: Effect.Effect<Uint8Array, unknown>
  readonly next: (options: {
    readonly credit: number
    readonly holdMs: number
    readonly timeoutMs: number
  }) => Effect.Effect<Uint8Array, unknown>
  /** Tells that no more is wanted; does not wait. */
  readonly cancel: Effect.Effect<void>
}

type Items = Pull.Pull<Arr.NonEmptyReadonlyArray<unknown>, unknown>

export const streamFar = (far: FarStream): AnyStream =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { codec } = far
      let ended: Exit.Exit<never, unknown> | undefined
      // It has ended there, however long the consumer needs until it comes to that.
      let isOver = false
      const arrived = (frame: Effect.Effect<Uint8Array, unknown>) =>
        Effect.tap(Effect.flatMap(frame, decodeReply), (reply) =>
          Effect.sync(() => {
            isOver = reply._tag !== "Batch" || reply.end !== undefined
          })
        )
      yield* Effect.addFinalizer(() => (ended === undefined ? far.cancel : Effect.void))
      const next = arrived(
        far.next({ credit: streamCredit, holdMs, timeoutMs: holdMs + defaultAskTimeoutMs })
      )
      const scope = yield* Effect.scope
      let coming = yield* Effect.forkIn(arrived(far.begin), scope, { startImmediately: true })
      const keep = far.next({ credit: 0, holdMs: 0, timeoutMs: defaultAskTimeoutMs })
      yield* Effect.suspend(() => (isOver ? Effect.void : keep)).pipe(
        Effect.ignore,
        Effect.delay(keepEveryMs),
        Effect.forever,
        Effect.forkScoped
      )

      const pull: Items = Effect.gen(function* () {
        while (true) {
          if (ended !== undefined) return yield* ended
          const reply = yield* Effect.onError(Fiber.join(coming), (cause) =>
            Effect.sync(() => {
              if (!Cause.hasInterruptsOnly(cause)) ended = Exit.failCause(cause)
            })
          )
          switch (reply._tag) {
            case "Refused":
              return yield* Effect.fail(reply.error)
            case "Failure":
              return yield* Effect.flatMap(codec.decodeError(reply.error), Effect.fail)
            case "Success":
              return yield* new MalformedMessage({
                problem: `${codec.tag}: one answer, where a stream was asked for`
              })
            case "Batch": {
              const { end, items } = reply
              if (end === undefined) coming = yield* Effect.forkIn(next, scope, { startImmediately: true })
              else ended = yield* endOf(codec, end)
              const decoded = yield* Effect.forEach(items, codec.decodeSuccess)
              if (Arr.isArrayNonEmpty(decoded)) return decoded
            }
          }
        }
      })
      return Stream.fromPull(Effect.succeed(pull))
    })
  )

const endOf = (codec: MessageCodec, end: { readonly _tag: string; readonly error?: unknown }) =>
  end._tag === "Success"
    ? Effect.succeed(Exit.failCause(Cause.fail(Cause.Done())))
    : end._tag === "Refused"
      ? Effect.succeed(Exit.fail(end.error))
      : Effect.map(codec.decodeError(end.error), Exit.fail)

/** The same of an actor of this process: it runs in the actor, too, and as fast as it is asked for. */
export const streamHere = (
  cell: Cell,
  codec: MessageCodec,
  ask: Effect.Effect<unknown, unknown>
): AnyStream =>
  Stream.unwrap(
    Effect.gen(function* () {
      const stream = (yield* ask) as AnyStream
      const opened = yield* Effect.acquireRelease(cell.openStream(stream), (it) => cell.closeStream(it))
      let ended: Exit.Exit<never, unknown> | undefined
      const pull: Items = Effect.gen(function* () {
        while (true) {
          if (ended !== undefined) return yield* ended
          const batch = itemsHere(cell, codec, yield* opened.take(streamCredit, holdMs))
          ended = batch.ended
          if (Arr.isReadonlyArrayNonEmpty(batch.items)) return batch.items
        }
      })
      return Stream.fromPull(Effect.succeed(pull))
    })
  )

/** What the contract allows of it, and how it ended, if it did: also with the first that the contract does not allow. */
const itemsHere = (cell: Cell, codec: MessageCodec, { end, items }: Batch) => {
  for (const [at, item] of items.entries()) {
    const ended = outsideHere(cell, codec, item)
    if (ended !== undefined) return { items: items.slice(0, at), ended }
  }
  if (end === undefined) return { items, ended: undefined }
  if (Exit.isSuccess(end)) return { items, ended: Exit.failCause(Cause.fail(Cause.Done())) }
  return { items, ended: failureHere(cell, codec, end.cause) }
}
