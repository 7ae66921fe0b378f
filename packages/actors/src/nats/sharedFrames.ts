/**
 * Several messages in one frame: what a process sends to another in one turn of its event loop costs the network, and both ends, once.
 *
 * The wire, version 1. Messages to actors of one process go to `ebb.v1.<cluster>.b.<incarnation>` as a MessagePack array of three for each:
 * `<kind>.<id>`, whether an answer is wanted, and the frame (bin) that would go to `….a.<kind>.<id>.<incarnation>` alone. An answer to the
 * message at place n, from 0, goes to `<reply>.<n>`; several of one turn to `<reply>`, as an array of two for each: n, and the answer (bin).
 * An empty array asks whether such frames are taken there; who takes them answers with the same.
 *
 * What is alone in its turn, or large, goes alone as it always did. Leaves to `outgoing` and `incoming` who sends, and who is answered.
 */
import * as Exit from "effect/Exit"
import type { NatsConnection as Client } from "nats"
import { wireVersion } from "../Address.ts"
import { pack, unpack } from "../Envelope.ts"

export interface SharedMessage {
  /** `<kind>.<id>`. */
  readonly target: string
  readonly wantsAnswer: boolean
  readonly data: Uint8Array
}

export interface SharedAnswer {
  /** The place of its message, from 0. */
  readonly at: number
  readonly data: Uint8Array
}

export const encodeMessages = (messages: ReadonlyArray<SharedMessage>): Uint8Array => {
  const values: Array<unknown> = []
  for (const { data, target, wantsAnswer } of messages) values.push(target, wantsAnswer, data)
  return pack(values)
}

/** Undefined when any of it is not as it has to be: then nothing is known of the rest. Never throws. */
export const decodeMessages = (bytes: Uint8Array): ReadonlyArray<SharedMessage> | undefined => {
  const values = arrayOf(bytes, 3)
  if (values === undefined) return undefined
  const messages: Array<SharedMessage> = []
  for (let n = 0; n < values.length; n += 3) {
    const [target, wantsAnswer, data] = [values[n], values[n + 1], values[n + 2]]
    if (typeof target !== "string" || !targetPattern.test(target)) return undefined
    if (typeof wantsAnswer !== "boolean" || !(data instanceof Uint8Array)) return undefined
    messages.push({ target, wantsAnswer, data })
  }
  return messages
}

export const encodeAnswers = (answers: ReadonlyArray<SharedAnswer>): Uint8Array => {
  const values: Array<unknown> = []
  for (const { at, data } of answers) values.push(at, data)
  return pack(values)
}

/** Undefined when any of it is not as it has to be. Never throws. */
export const decodeAnswers = (bytes: Uint8Array): ReadonlyArray<SharedAnswer> | undefined => {
  const values = arrayOf(bytes, 2)
  if (values === undefined) return undefined
  const answers: Array<SharedAnswer> = []
  for (let n = 0; n < values.length; n += 2) {
    const [at, data] = [values[n], values[n + 1]]
    if (typeof at !== "number" || !(data instanceof Uint8Array)) return undefined
    answers.push({ at, data })
  }
  return answers
}

const arrayOf = (bytes: Uint8Array, width: number): ReadonlyArray<unknown> | undefined => {
  const value = unpack(bytes)
  if (Exit.isFailure(value) || !Array.isArray(value.value) || value.value.length % width !== 0)
    return undefined
  return value.value
}

const id = "[A-Za-z0-9_-]{1,64}"
const targetPattern = new RegExp(`^${id}\\.${id}$`)
const actorPattern = new RegExp(`^(ebb\\.${wireVersion}\\.${id})\\.a\\.(${id}\\.${id}|\\*\\.\\*)\\.(${id})$`)

/** The parts of a subject that `subjects(...).actor` or `.actorsOf` made. */
export interface ActorSubject {
  readonly root: string
  /** `<kind>.<id>`, or `*.*` for all actors of a process. */
  readonly target: string
  readonly incarnation: string
}

/** Undefined for any other subject: its frames are not shared. */
export const actorSubject = (subject: string): ActorSubject | undefined => {
  const [, root, target, incarnation] = actorPattern.exec(subject) ?? []
  return root === undefined || target === undefined || incarnation === undefined
    ? undefined
    : { root, target, incarnation }
}

export const formatActorSubject = ({ incarnation, root, target }: ActorSubject): string =>
  `${root}.a.${target}.${incarnation}`

/** Where frames go that are shared among the actors of that process. */
export const sharedSubject = ({ incarnation, root }: ActorSubject): string => `${root}.b.${incarnation}`

/** The largest frame that is shared, in bytes. */
const maxSharedBytes = 64 * 1024

/** What a message costs beside its data and its name: three heads of MessagePack, at most. */
const besideBytes = 16

export const sharedLimit = (client: Client): number =>
  Math.min(maxSharedBytes, (client.info?.max_payload ?? maxSharedBytes) / 2)

/** What is sent in one turn, by where it goes. */
export interface Turn<A> {
  /** To be sent when the turn ends, before any input is read. In order for each `to`. */
  readonly add: (to: string, item: A) => void
  /** Sends now what waits: before whatever goes another way and must not overtake it. */
  readonly flush: () => void
}

/** `send` gets one or several items that fit one frame of `limit()` bytes together, and must not throw. */
export const makeTurn = <A extends { readonly data: Uint8Array; readonly target?: string }>(
  limit: () => number,
  send: (to: string, items: ReadonlyArray<A>) => void
): Turn<A> => {
  const waiting = new Map<string, { readonly items: Array<A>; bytes: number }>()
  const flush = () => {
    if (waiting.size === 0) return
    // Who is told that something was not sent may send again at once: that is the next turn's.
    const all = [...waiting]
    waiting.clear()
    for (const [to, { items }] of all) send(to, items)
  }
  return {
    add: (to, item) => {
      const bytes = item.data.length + (item.target?.length ?? 0) + besideBytes
      const others = waiting.get(to)
      if (others !== undefined && others.bytes + bytes <= limit()) {
        others.items.push(item)
        others.bytes += bytes
        return
      }
      if (waiting.size === 0) queueMicrotask(flush)
      waiting.set(to, { items: [item], bytes })
      if (others !== undefined) send(to, others.items)
    },
    flush
  }
}
