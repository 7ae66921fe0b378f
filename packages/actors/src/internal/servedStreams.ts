/**
 * The streams that this process answers with to askers elsewhere, by who asked: gives them out as they are asked for, one frame at a time,
 * and ends those that nobody asks for any more.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { ActorCrashed, MailboxFull, MalformedMessage } from "../ActorError.ts"
import type { FollowUp, Reply } from "../Envelope.ts"
import { encodeReply, maxFrameBytes } from "../Envelope.ts"
import type { Cell } from "./cell.ts"
import type { CellHost } from "./cellHost.ts"
import { outside, replyOf } from "./replies.ts"
import type { Batch, ReplyStream } from "./replyStream.ts"
import type { AnyStream, MessageCodec } from "./rpcSeam.ts"

/** An asker that is slow says so every `keepEveryMs` (in `askedStream`); one that does not is gone. */
const abandonedAfterMs = 60_000

/** What an asker may have of us at once, whatever it asks for. */
const maxCredit = 4096

/** What one process keeps open for others. */
const maxStreams = 1024

interface Served {
  readonly cell: Cell
  readonly codec: MessageCodec
  readonly stream: ReplyStream
  askedAtMs: number
  /** Items that are tried in the next frame: twice what fitted into the last. */
  most: number
  /** An asker asks for one batch after the other. */
  isTaking: boolean
  watched: Fiber.Fiber<void> | undefined
}

/** No asker of ours waits longer. */
const maxHoldMs = 10_000

export class ServedStreams {
  readonly #host: CellHost
  readonly #served = new Map<string, Served>()

  constructor(host: CellHost) {
    this.#host = host
  }

  /** Begins a stream and gives its first items: those that are there without waiting. */
  begin(cell: Cell, codec: MessageCodec, stream: AnyStream, asked: FollowUp): Effect.Effect<Uint8Array> {
    if (this.#served.size >= maxStreams) {
      const { id, kind } = cell.address
      this.#host.deadLetters.drop("full", { kind, id, tag: codec.tag })
      const error = new MailboxFull({ kind, id, capacity: maxStreams })
      return Effect.sync(() => encodeReply({ _tag: "Refused", error }))
    }
    return Effect.flatMap(cell.openStream(stream), (opened) => {
      const served: Served = {
        cell,
        codec,
        stream: opened,
        askedAtMs: cell.nowMs(),
        most: 16,
        isTaking: false,
        watched: undefined
      }
      const key = keyOf(cell.name, asked)
      const before = this.#served.get(key)
      // A number is an asker's once: the same again is a frame that came twice, or somebody who wants both to be held.
      if (before !== undefined) this.#end(key, before)
      this.#served.set(key, served)
      served.watched = Effect.runForkWith(this.#host.context)(this.#endWhenAbandoned(key, served))
      return this.#give(key, served, asked.credit ?? 0, 0)
    })
  }

  /** The next items; undefined when no such stream is known, `again` when its asker waits for some already. */
  next(actor: string, asked: FollowUp): Effect.Effect<Uint8Array> | "again" | undefined {
    const key = keyOf(actor, asked)
    const served = this.#served.get(key)
    if (served === undefined) return undefined
    if (asked.credit !== 0 && served.isTaking) return "again"
    return this.#give(key, served, asked.credit ?? 0, asked.remainingMs ?? 0)
  }

  /** Ends it. False when no such stream is known. */
  cancel(actor: string, asked: FollowUp): boolean {
    const key = keyOf(actor, asked)
    const served = this.#served.get(key)
    if (served === undefined) return false
    this.#end(key, served)
    return true
  }

  #end(key: string, { cell, stream, watched }: Served): void {
    this.#served.delete(key)
    watched?.interruptUnsafe()
    Effect.runForkWith(this.#host.context)(cell.closeStream(stream))
  }

  #give(key: string, served: Served, credit: number, holdMs: number): Effect.Effect<Uint8Array> {
    served.askedAtMs = served.cell.nowMs()
    // Only to keep it: nothing is taken.
    if (credit === 0) return Effect.sync(() => encodeReply({ _tag: "Batch", items: [] }))
    served.isTaking = true
    const taken = served.stream.take(Math.min(credit, maxCredit), Math.min(holdMs, maxHoldMs)).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          served.isTaking = false
        })
      )
    )
    return Effect.map(taken, (batch) => {
      const reply = this.#frameOf(served, batch)
      if (reply.isLast) this.#end(key, served)
      return reply.frame
    })
  }

  #frameOf(served: Served, { end, items }: Batch): { readonly frame: Uint8Array; readonly isLast: boolean } {
    const { cell, codec, stream } = served
    const encoded: Array<unknown> = []
    // No more than may fit is encoded: what does not go would be encoded again with every frame.
    const tried = items.slice(0, served.most)
    const later = items.slice(served.most)
    for (const item of tried) {
      const exit = codec.encodeSuccess(item)
      if (Exit.isFailure(exit)) {
        return lastOf(encoded, { _tag: "Refused", error: outside(cell, codec, exit.cause) })
      }
      encoded.push(exit.value)
    }
    const last =
      later.length > 0 ? undefined : end && (Exit.isSuccess(end) ? done : replyOf(cell, codec, end))
    if (last !== undefined && last._tag !== "Batch") {
      const whole = lastOf(encoded, last)
      if (whole.frame.length <= maxFrameBytes) return whole
      if (encoded.length === 0) {
        const error = new MalformedMessage({ problem: `the end of ${codec.tag} is larger than a frame` })
        return lastOf([], { _tag: "Refused", error })
      }
    }
    // As many as fit into a frame; the rest goes with the next.
    for (let count = encoded.length; ; count = Math.floor(count / 2)) {
      const frame = encodeReply({ _tag: "Batch", items: encoded.slice(0, count) })
      if (frame.length <= maxFrameBytes) {
        stream.putBack([...tried.slice(count), ...later])
        served.most = Math.max(1, count * 2)
        return { frame, isLast: false }
      }
      if (count <= 1) {
        const error = new MalformedMessage({ problem: `an item of ${codec.tag} is larger than a frame` })
        return lastOf([], { _tag: "Refused", error })
      }
    }
  }

  #endWhenAbandoned(key: string, served: Served): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#served.get(key) !== served) return Effect.void
      const leftMs = served.askedAtMs + abandonedAfterMs - served.cell.nowMs()
      if (leftMs > 0) return Effect.andThen(Effect.sleep(leftMs), this.#endWhenAbandoned(key, served))
      const { id, kind } = served.cell.address
      this.#host.deadLetters.drop("abandoned", { kind, id, tag: served.codec.tag })
      this.#end(key, served)
      return Effect.void
    })
  }
}

/** What is said of a stream that is not known here: it was abandoned, or its actor has ended. */
export const streamIsGone = (kind: string, id: string) =>
  new ActorCrashed({ kind, id, reason: "the stream is no longer there" })

const done: Reply = { _tag: "Success", value: undefined }

const lastOf = (items: ReadonlyArray<unknown>, end: Reply) => ({
  frame: encodeReply({ _tag: "Batch", items, ...(end._tag === "Batch" ? {} : { end }) }),
  isLast: true
})

// With the asker's word: a stream is found, replaced and ended by whoever knows that, and by nobody else.
const keyOf = (actor: string, { from, id, word = "" }: FollowUp): string => `${actor}/${from}/${id}/${word}`
