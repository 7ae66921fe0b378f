/**
 * What a control command came to, as the one frame that answers it. Guarantees that there is one, whatever a handler ended with; and that a
 * page of a list which does not fit into a frame is cut, and says where the next begins.
 */
import { ActorCrashed, maxFrameBytes, pack } from "@ebb/actors"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { AnswerTooLarge, ControlError } from "../protocol/Control.ts"

export interface Reply {
  readonly frame: Uint8Array
  /** For the counts: `ok`, an error's tag, or `Defect`. Errors of the protocol alone have names that are known beforehand. */
  readonly outcome: string
}

const isControlError = Schema.is(ControlError)
const encodeError = Schema.encodeUnknownExit(ControlError)

/** By command: where a page has its items, and by what the next page begins after one of them. */
const pages: Readonly<Record<string, readonly [items: string, id: string]>> = {
  "room.list": ["rooms", "roomId"],
  "recording.list": ["recordings", "recordingId"]
}

/** `exit` has what the contract's codec made of the answer. */
export const replyOf = (command: string, exit: Exit.Exit<unknown, unknown>): Reply => {
  if (Exit.isSuccess(exit)) {
    const frame = pack({ ok: exit.value ?? {} })
    if (frame.length <= maxFrameBytes) return { frame, outcome: "ok" }
    const cut = cutPage(command, exit.value, frame.length)
    if (cut !== undefined) return { frame: cut, outcome: "ok" }
    return replyOf(command, Exit.fail(new AnswerTooLarge({ bytes: frame.length, maxBytes: maxFrameBytes })))
  }
  const error = Cause.squash(exit.cause)
  const encoded = encodeError(error)
  if (Exit.isSuccess(encoded) && isControlError(error)) {
    const { message, retry } = error
    return { frame: pack({ error: { ...encoded.value, message, retry } }), outcome: error._tag }
  }
  const reason = "the node failed at it; its log says how"
  const crashed = replyOf(command, Exit.fail(new ActorCrashed({ kind: "control", id: "", reason })))
  return { ...crashed, outcome: "Defect" }
}

/** As much of a page as fits; undefined for what is no page, and where not even the first of it fits. */
const cutPage = (command: string, value: unknown, bytes: number): Uint8Array | undefined => {
  const page = Object.hasOwn(pages, command) ? pages[command] : undefined
  if (page === undefined || !Predicate.isObject(value)) return undefined
  const [field, id] = page
  const all: unknown = Reflect.get(value, field)
  if (!Array.isArray(all)) return undefined
  let count = all.length
  let size = bytes
  while (count > 1) {
    // By what they take on average, and a bit less: the next try mostly fits.
    count = Math.max(1, Math.min(count - 1, Math.floor((count * maxFrameBytes * 0.95) / size)))
    const last: unknown = all[count - 1]
    const next: unknown = Predicate.isObject(last) ? Reflect.get(last, id) : undefined
    const frame = pack({ ok: { ...value, [field]: all.slice(0, count), next } })
    if (frame.length <= maxFrameBytes) return frame
    size = frame.length
  }
  return undefined
}
