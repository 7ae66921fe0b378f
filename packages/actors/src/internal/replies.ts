/**
 * What came of a message, as its asker is told: in a frame to one elsewhere, as it is to one in this process.
 *
 * An answer that its contract does not allow is a bug of who gave it: both askers are told the same, and its owner says so in its log. The
 * work is done, but nobody can say what came out.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ActorCrashed, AskError } from "../ActorError.ts"
import type { Reply } from "../Envelope.ts"
import { encodeReply, maxFrameBytes } from "../Envelope.ts"
import { describeCause } from "./describeCause.ts"
import type { MessageCodec } from "./rpcSeam.ts"

/** Whose answer it is. */
export interface Owner {
  readonly address: { readonly kind: string; readonly id: string }
  /** Says in its log what must not be, and counts it. */
  bug(what: string, ...causes: ReadonlyArray<Cause.Cause<unknown>>): void
}

const isAskError = Schema.is(AskError)

/** As a frame says it. An error of the runtime is told apart from the contract's own by its class. */
export const replyOf = (owner: Owner, codec: MessageCodec, exit: Exit.Exit<unknown, unknown>): Reply => {
  if (Exit.isSuccess(exit)) {
    const encoded = codec.encodeSuccess(exit.value)
    if (Exit.isSuccess(encoded)) return { _tag: "Success", value: encoded.value }
    return { _tag: "Refused", error: outside(owner, codec, encoded.cause) }
  }
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return { _tag: "Refused", error: outside(owner, codec, exit.cause) }
  const encoded = codec.encodeError(error.value)
  if (Exit.isSuccess(encoded)) return { _tag: "Failure", error: encoded.value }
  const known = isAskError(error.value) ? error.value : outside(owner, codec, encoded.cause)
  return { _tag: "Refused", error: known }
}

/** Never throws: this is called where a throw would end the process. What cannot be said, or not in one frame, is said so. */
export const frameOf = (owner: Owner, codec: MessageCodec, reply: Reply): Uint8Array => {
  try {
    const frame = encodeReply(reply)
    if (frame.length <= maxFrameBytes) return frame
    const tooLarge = new Error(`it has ${frame.length} bytes, more than a frame`)
    return encodeReply({ _tag: "Refused", error: outside(owner, codec, Cause.die(tooLarge)) })
  } catch (defect) {
    return encodeReply({ _tag: "Refused", error: outside(owner, codec, Cause.die(defect)) })
  }
}

/** The same for an asker in this process: what would not go over the wire is not given here either. */
export const answerHere = (
  owner: Owner,
  codec: MessageCodec,
  exit: Exit.Exit<unknown, unknown>
): Exit.Exit<unknown, unknown> => {
  if (Exit.isFailure(exit)) return failureHere(owner, codec, exit.cause)
  // Of a stream each item is looked at as it comes.
  return codec.streams ? exit : (outsideHere(owner, codec, exit.value) ?? exit)
}

/** Undefined when the contract allows that value. */
export const outsideHere = (
  owner: Owner,
  codec: MessageCodec,
  value: unknown
): Exit.Exit<never, ActorCrashed> | undefined => {
  if (codec.isSuccess(value)) return undefined
  const encoded = codec.encodeSuccess(value)
  return Exit.isSuccess(encoded) ? undefined : Exit.fail(outside(owner, codec, encoded.cause))
}

export const failureHere = (
  owner: Owner,
  codec: MessageCodec,
  cause: Cause.Cause<unknown>
): Exit.Exit<never, unknown> => {
  const error = Cause.findErrorOption(cause)
  if (Option.isNone(error)) return Exit.fail(outside(owner, codec, cause))
  const encoded = codec.encodeError(error.value)
  if (Exit.isSuccess(encoded) || isAskError(error.value)) return Exit.failCause(cause)
  return Exit.fail(outside(owner, codec, encoded.cause))
}

const problemMax = 500

/** Of what the contract does not allow, told by its owner. */
export const outside = (owner: Owner, { tag }: MessageCodec, cause: Cause.Cause<unknown>): ActorCrashed => {
  const { id, kind } = owner.address
  const what = `an answer outside the contract: ${tag}: ${describeCause(cause).slice(0, problemMax)}`
  owner.bug(what)
  return new ActorCrashed({ kind, id, reason: `BUG: ${what}` })
}
