/**
 * The streams that this process answers with to askers elsewhere, by who asked: gives them out as they are asked for, one frame at a time,
 * and ends those that nobody asks for any more.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { ActorCrashed, MalformedMessage } from "../ActorError.ts"
import type { FollowUp, Reply } from "../Envelope.ts"
import { encodeReply, maxFrameBytes } from "../Envelope.ts"
import type { Cell, CellHost } from "./cell.ts"
import type { Batch, ReplyStream } from "./replyStream.ts"
import type { AnyStream, MessageCodec } from "./rpcSeam.ts"

/** An asker that is slow says so every `keepEveryMs` (in `askedStream`); one that does not is gone. */
const abandonedAfterMs = 60_000

/** What an asker may have of us at once, whatever it asks for. */
const maxCredit = 4096

interface Served {
  readonly cell: Cell
  readonly codec: MessageCodec
  readonly stream: ReplyStream
  askedAtMs: number
}

export type EncodeEnd = (codec: MessageCodec, exit: Exit.Exit<unknown, unknown>) => Reply

export class ServedStreams {
  readonly #host: CellHost
  readonly #encode: EncodeEnd
  readonly #served = new Map<string, Served>()

  constructor(host: CellHost, encode: EncodeEnd) {
    this.#host = host
    this.#encode = encode
  }

  /** Begins a stream and gives its first items: those that are there without waiting. */
  begin(cell: Cell, codec: MessageCodec, stream: AnyStream, asked: FollowUp): Effect.Effect<Uint8Array> {
    return Effect.flatMap(cell.openStream(stream), (opened) => {
      const served: Served = { cell, codec, stream: opened, askedAtMs: cell.nowMs() }
      const key = keyOf(asked)
      this.#served.set(key, served)
      Effect.runForkWith(this.#host.context)(this.#endWhenAbandoned(key, served))
      return this.#give(key, served, asked.credit ?? 0, 0)
    })
  }

  /** The next items; undefined when no such stream is known. */
  next(asked: FollowUp): Effect.Effect<Uint8Array> | undefined {
    const key = keyOf(asked)
    const served = this.#served.get(key)
    if (served === undefined) return undefined
    return this.#give(key, served, asked.credit ?? 0, asked.remainingMs ?? 0)
  }

  /** Ends it. False when no such stream is known. */
  cancel(asked: FollowUp): boolean {
    const key = keyOf(asked)
    const served = this.#served.get(key)
    if (served === undefined) return false
    this.#end(key, served)
    return true
  }

  #end(key: string, { cell, stream }: Served): void {
    this.#served.delete(key)
    Effect.runForkWith(this.#host.context)(cell.closeStream(stream))
  }

  #give(key: string, served: Served, credit: number, holdMs: number): Effect.Effect<Uint8Array> {
    served.askedAtMs = served.cell.nowMs()
    // Only to keep it: nothing is taken.
    if (credit === 0) return Effect.sync(() => encodeReply({ _tag: "Batch", items: [] }))
    return Effect.map(served.stream.take(Math.min(credit, maxCredit), holdMs), (batch) => {
      const reply = this.#frameOf(served, batch)
      if (reply.isLast) this.#end(key, served)
      return reply.frame
    })
  }

  #frameOf(served: Served, { end, items }: Batch): { readonly frame: Uint8Array; readonly isLast: boolean } {
    const { codec, stream } = served
    const encoded: Array<unknown> = []
    for (const item of items) {
      const exit = codec.encodeSuccess(item)
      if (Exit.isFailure(exit)) return lastOf(encoded, this.#encode(codec, exit))
      encoded.push(exit.value)
    }
    const last = end && (Exit.isSuccess(end) ? done : this.#encode(codec, end))
    if (last !== undefined && last._tag !== "Batch") {
      const whole = lastOf(encoded, last)
      if (whole.frame.length <= maxFrameBytes) return whole
    }
    // As many as fit into a frame; the rest goes with the next.
    for (let count = encoded.length; ; count = Math.floor(count / 2)) {
      const frame = encodeReply({ _tag: "Batch", items: encoded.slice(0, count) })
      if (frame.length <= maxFrameBytes) {
        stream.putBack(items.slice(count))
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

const keyOf = ({ from, id }: FollowUp): string => `${from}/${id}`
