/**
 * The wire, version 1: what is inside a frame. MessagePack maps with short keys; a reader ignores keys it does not know, so a
 * compatible change is a new key. The target's kind, id and incarnation are in the subject, where NATS permissions see them.
 *
 * Request: `m` message tag, `p` payload, `d` milliseconds the asker still waits (absent: a tell), `e` epoch as [registry, revision],
 * `f` the sender's incarnation.
 * Reply: exactly one of `s` success, `f` the contract's own failure, `a` an error of the runtime (`AskError`).
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
}

export const encodeRequest = (request: Request): Uint8Array =>
  pack({
    m: request.tag,
    p: request.payload,
    d: request.remainingMs,
    e: request.epoch && [request.epoch.registry, request.epoch.revision],
    f: request.from
  })

export const decodeRequest = (bytes: Uint8Array): Exit.Exit<Request, MalformedMessage> => {
  const map = unpack(bytes)
  if (Exit.isFailure(map)) return Exit.failCause(map.cause)
  const value = map.value
  if (!Predicate.isObject(value) || !Predicate.hasProperty(value, "m") || typeof value.m !== "string") {
    return malformed("a request is a map with a message tag 'm'")
  }
  const { d, e, f, m, p } = value as Record<string, unknown>
  if (d !== undefined && !(typeof d === "number" && Number.isFinite(d)))
    return malformed("'d' is milliseconds")
  if (f !== undefined && typeof f !== "string") return malformed("'f' is an incarnation")
  const epoch = decodeEpoch(e)
  if (epoch === null) return malformed("'e' is [registry, revision]")
  return Exit.succeed({ tag: m as string, payload: p, remainingMs: d, epoch, from: f })
}

export type Reply =
  | { readonly _tag: "Success"; readonly value: unknown }
  | { readonly _tag: "Failure"; readonly error: unknown }
  | { readonly _tag: "Refused"; readonly error: AskError }

export const encodeReply = (reply: Reply): Uint8Array => {
  switch (reply._tag) {
    case "Success":
      return pack({ s: reply.value ?? null })
    case "Failure":
      return pack({ f: reply.error })
    case "Refused":
      return pack({ a: encodeAskError(reply.error) })
  }
}

export const decodeReply = (bytes: Uint8Array): Exit.Exit<Reply, MalformedMessage> => {
  const map = unpack(bytes)
  if (Exit.isFailure(map)) return Exit.failCause(map.cause)
  const value = map.value
  if (Predicate.hasProperty(value, "s")) return Exit.succeed({ _tag: "Success", value: value.s ?? undefined })
  if (Predicate.hasProperty(value, "f")) return Exit.succeed({ _tag: "Failure", error: value.f })
  if (Predicate.hasProperty(value, "a")) {
    return Exit.map(decodeAskError(value.a), (error): Reply => ({ _tag: "Refused", error }))
  }
  return malformed("a reply has one of 's', 'f', 'a'")
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
