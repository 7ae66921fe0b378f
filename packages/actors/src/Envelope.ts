/**
 * The wire, version 1: what is inside a frame. MessagePack maps with short keys; a reader ignores keys it does not know, so a
 * compatible change is a new key. Whom it is for is not in here: the incarnation is in the subject, where NATS permissions
 * see it; kind and id are there too, or beside the frame when several share one (`nats/sharedFrames`).
 *
 * Request: `m` message tag, `p` payload, `d` milliseconds the asker still waits (absent: a tell), `e` epoch as [registry, revision],
 * `f` the sender's incarnation, `i` the sender's number for it, `w` a random word of the sender's for it, `t` the sender's span as [trace
 * id, span id, sampled], `c` how many items of a stream may be answered.
 * Of a request before, by the same `f`, `i` and `w`, and without `m`: `c` asks for the next items of its stream (0: only that it be kept),
 * `x` takes it back. Anybody can say another's `f` and `i`; `w` is known to the two ends alone.
 * Reply: exactly one of `s` success, `f` the contract's own failure, `a` an error of the runtime (`AskError`). Of a stream: `b` items,
 * and `n` when there may be more; without `n` it has ended, by `f` or `a` if these are there.
 */
import { Decoder, Encoder } from "@msgpack/msgpack"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { AskError, MalformedMessage } from "./ActorError.ts"
import type { Epoch, Incarnation } from "./Address.ts"
import { flawOf } from "./internal/wellFormed.ts"

/** The largest frame that is sent or read, in bytes: what a nats-server takes by default. */
export const maxFrameBytes = 1024 * 1024

// One of each per process: making them costs twice what using them does. Lengths are bounded before anything is allocated.
const encoder = new Encoder({ ignoreUndefined: true, initialBufferSize: 4096 })
const decoder = new Decoder({
  maxStrLength: maxFrameBytes,
  maxBinLength: maxFrameBytes,
  maxArrayLength: 65_536,
  maxMapLength: 65_536,
  maxExtLength: 0
})

/** Encodes plain data; the bytes are the caller's. Throws on what MessagePack cannot say (a function, a bigint). */
export const pack = (value: unknown): Uint8Array<ArrayBuffer> => encoder.encode(value)

/**
 * The same for what is sent and gone, into memory that Node shares among small buffers: a third less of what an ask costs to encode. Nobody
 * may hand on its `buffer`, nor keep it for long.
 */
const packFrame = (value: unknown): Uint8Array => {
  const { buffer, byteOffset, length } = Buffer.from(encoder.encodeSharedRef(value))
  // No `Buffer`: bytes in a message of a process's own bus would be one, too.
  return new Uint8Array(buffer, byteOffset, length)
}

/** Decodes bytes from anywhere: never throws, whatever they are, and allocates no more than they are worth. */
export const unpack = (bytes: Uint8Array): Exit.Exit<unknown, MalformedMessage> => {
  const flaw = flawOf(bytes)
  if (flaw !== undefined) return malformed(flaw)
  try {
    return Exit.succeed(decoder.decode(bytes))
  } catch (error) {
    return malformed(error instanceof Error ? error.message : String(error))
  }
}

export interface Request {
  readonly tag: string
  readonly payload: unknown
  /** Absent for a tell. */
  readonly remainingMs?: number | undefined
  readonly epoch?: Epoch | undefined
  readonly from?: Incarnation | undefined
  /** Counts the sender's requests, so that it can speak of this one again. */
  readonly id?: number | undefined
  /** By which the target knows that who speaks of this request again is its sender. */
  readonly word?: string | undefined
  readonly trace?: TraceContext | undefined
  /** Items of a stream that may come with the answer. */
  readonly credit?: number | undefined
}

/** W3C Trace Context: 32 and 16 hexadecimal digits. */
export interface TraceContext {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

/** A word about a request before. */
export interface FollowUp {
  readonly from: Incarnation
  readonly id: number
  readonly word?: string | undefined
  readonly remainingMs?: number | undefined
  /** The next items of its stream, at most so many; undefined: it is taken back. */
  readonly credit?: number | undefined
}

export const encodeRequest = ({
  credit,
  epoch,
  from,
  id,
  payload,
  remainingMs,
  tag,
  trace,
  word
}: Request): Uint8Array =>
  packFrame({
    m: tag,
    p: payload,
    d: remainingMs,
    e: epoch && [epoch.registry, epoch.revision],
    f: from,
    i: id,
    w: word,
    t: trace && [trace.traceId, trace.spanId, trace.sampled],
    c: credit
  })

export const encodeFollowUp = ({ credit, from, id, remainingMs, word }: FollowUp): Uint8Array =>
  packFrame({
    f: from,
    i: id,
    w: word,
    d: remainingMs,
    ...(credit === undefined ? { x: true } : { c: credit })
  })

export const decodeRequest = (bytes: Uint8Array): Exit.Exit<Request | FollowUp, MalformedMessage> => {
  const map = unpack(bytes)
  if (Exit.isFailure(map)) return Exit.failCause(map.cause)
  const value = map.value
  if (!Predicate.isObject(value)) return malformed("a request is a map")
  const { c, d, e, f, i, m, p, t, w, x } = value as Record<string, unknown>
  if (d !== undefined && !(typeof d === "number" && Number.isFinite(d)))
    return malformed("'d' is milliseconds")
  if (f !== undefined && typeof f !== "string") return malformed("'f' is an incarnation")
  if (i !== undefined && !isCount(i)) return malformed("'i' is a number that counts")
  if (w !== undefined && !(typeof w === "string" && w.length <= wordMax)) return malformed("'w' is a word")
  if (c !== undefined && !isCount(c)) return malformed("'c' is a number of items")
  if (m === undefined) {
    if (f === undefined || i === undefined || (c === undefined && x !== true)) {
      return malformed("a request is a map with a message tag 'm', or with 'f', 'i' and one of 'c' and 'x'")
    }
    return Exit.succeed({
      from: f,
      id: i,
      word: w,
      remainingMs: d,
      credit: x === true ? undefined : c
    })
  }
  if (typeof m !== "string") return malformed("a request is a map with a message tag 'm'")
  const epoch = decodeEpoch(e)
  if (epoch === null) return malformed("'e' is [registry, revision]")
  const trace = decodeTrace(t)
  return Exit.succeed({
    tag: m,
    payload: p,
    remainingMs: d,
    epoch,
    from: f,
    id: i,
    word: w,
    trace,
    credit: c
  })
}

/** Ours have 22 characters. */
const wordMax = 64

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0

// A trace that cannot be read is none: nobody's call fails for it.
const decodeTrace = (value: unknown): TraceContext | undefined => {
  if (!Array.isArray(value)) return undefined
  const [traceId, spanId, sampled] = value as ReadonlyArray<unknown>
  const isRead =
    typeof traceId === "string" &&
    typeof spanId === "string" &&
    /^[0-9a-f]{32}$/.test(traceId) &&
    /^[0-9a-f]{16}$/.test(spanId)
  return isRead ? { traceId, spanId, sampled: sampled === true } : undefined
}

export type Reply =
  | { readonly _tag: "Success"; readonly value: unknown }
  | { readonly _tag: "Failure"; readonly error: unknown }
  | { readonly _tag: "Refused"; readonly error: AskError }
  | {
      readonly _tag: "Batch"
      readonly items: ReadonlyArray<unknown>
      /** Absent while there may be more; `Success` of nothing when that was all. */
      readonly end?: Exclude<Reply, { readonly _tag: "Batch" }>
    }

export const encodeReply = (reply: Reply): Uint8Array => {
  switch (reply._tag) {
    case "Batch": {
      const { end, items } = reply
      if (end?._tag === "Failure") return packFrame({ b: items, f: end.error })
      if (end?._tag === "Refused") return packFrame({ b: items, a: encodeAskError(end.error) })
      return packFrame(end === undefined ? { b: items, n: true } : { b: items })
    }
    case "Success":
      return packFrame({ s: reply.value ?? null })
    case "Failure":
      return packFrame({ f: reply.error })
    case "Refused":
      return packFrame({ a: encodeAskError(reply.error) })
  }
}

export const decodeReply = (bytes: Uint8Array): Exit.Exit<Reply, MalformedMessage> => {
  const map = unpack(bytes)
  if (Exit.isFailure(map)) return Exit.failCause(map.cause)
  const value = map.value
  if (Predicate.hasProperty(value, "b")) return decodeBatch(value.b, value)
  if (Predicate.hasProperty(value, "s")) return Exit.succeed({ _tag: "Success", value: value.s ?? undefined })
  if (Predicate.hasProperty(value, "f")) return Exit.succeed({ _tag: "Failure", error: value.f })
  if (Predicate.hasProperty(value, "a")) {
    return Exit.map(decodeAskError(value.a), (error): Reply => ({ _tag: "Refused", error }))
  }
  return malformed("a reply has one of 's', 'f', 'a'")
}

const decodeBatch = (items: unknown, value: {}): Exit.Exit<Reply, MalformedMessage> => {
  if (!Array.isArray(items)) return malformed("'b' is a list of items")
  if (Predicate.hasProperty(value, "n")) return Exit.succeed({ _tag: "Batch", items })
  const ended = (end: Exclude<Reply, { readonly _tag: "Batch" }>): Reply => ({ _tag: "Batch", items, end })
  if (Predicate.hasProperty(value, "f")) return Exit.succeed(ended({ _tag: "Failure", error: value.f }))
  if (Predicate.hasProperty(value, "a")) {
    return Exit.map(decodeAskError(value.a), (error) => ended({ _tag: "Refused", error }))
  }
  return Exit.succeed(ended({ _tag: "Success", value: undefined }))
}

const encodeAskError = Schema.encodeSync(AskError)
const askErrorExit = Schema.decodeUnknownExit(AskError)
const decodeAskError = (value: unknown): Exit.Exit<AskError, MalformedMessage> =>
  Exit.mapError(askErrorExit(value), (error) => new MalformedMessage({ problem: `'a': ${error.message}` }))

const decodeEpoch = (value: unknown): Epoch | undefined | null => {
  if (value === undefined) return undefined
  if (!Array.isArray(value)) return null
  const [registry, revision] = value as ReadonlyArray<unknown>
  return typeof registry === "string" && typeof revision === "number" ? { registry, revision } : null
}

const malformed = (problem: string) => Exit.fail(new MalformedMessage({ problem }))
