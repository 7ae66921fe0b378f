/**
 * What this process sends, and the answers to it, over one subscription to an inbox of this client. Owns what is awaited, what is to be
 * sent in this turn, and the knowledge of who takes shared frames. Guarantees that frames to one process arrive in the order they were
 * sent in, alone or shared.
 *
 * In place of the client's own `request`, which makes an error with a stack trace for each request that is answered and four promises: two
 * thirds of what an ask costs its sender. Answers resume their askers straight from the socket's callback, so that what one chunk brings is
 * sent on in one write, and in one frame where it can be.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { createInbox, Events, type Msg, type NatsConnection as Client } from "nats"
import { type Transport, TransportError } from "../Transport.ts"
import {
  actorSubject,
  decodeAnswers,
  encodeMessages,
  makeTurn,
  type SharedMessage,
  sharedLimit,
  sharedSubject
} from "./sharedFrames.ts"

/** Somebody who waits for an answer. */
interface Asked {
  readonly subject: string
  readonly resume: (exit: Exit.Exit<Uint8Array, TransportError>) => void
  readonly timer: NodeJS.Timeout
  isOver: boolean
  /** Once it is sent: with which frame, and its place there. */
  sent: Sent | undefined
  at: number
}

/** A frame of which some answer is still awaited. */
interface Sent {
  readonly token: string
  readonly subject: string
  /** By place; undefined where nobody waits. */
  readonly asked: Array<Asked | undefined>
  waiting: number
}

interface Message extends SharedMessage {
  readonly subject: string
  readonly asked: Asked | undefined
}

/** Processes of which it is known whether they take shared frames; when there are more the oldest are asked again. */
const peersMax = 1024

/** One that did not say so was of a version before, or away; a process that is back does. In milliseconds. */
const askPeerAgainMs = 10_000

/** A token's first letter; those of frames have no capitals. */
const peerToken = "T."

export const makeOutgoing = Effect.fnUntraced(function* (
  client: Client,
  options: {
    readonly inboxPrefix: string
    readonly isConnected: () => boolean
    readonly errorOf: (cause: unknown, subject: string) => TransportError
    readonly warn: (text: string) => void
    /** Monotonic milliseconds. */
    readonly nowMs: () => number
  }
) {
  const { isConnected } = options
  const inbox = createInbox(options.inboxPrefix)
  const awaited = new Map<string, Sent>()
  let frames = 0

  const forget = (asked: Asked) => {
    if (asked.isOver) return
    asked.isOver = true
    clearTimeout(asked.timer)
    const { sent } = asked
    if (sent === undefined) return
    sent.asked[asked.at] = undefined
    sent.waiting -= 1
    if (sent.waiting === 0) awaited.delete(sent.token)
  }
  const settle = (asked: Asked | undefined, exit: Exit.Exit<Uint8Array, TransportError>) => {
    if (asked === undefined || asked.isOver) return
    forget(asked)
    asked.resume(exit)
  }
  const fail = (asked: Asked | undefined, reason: TransportError["reason"]) => {
    if (asked !== undefined) settle(asked, Exit.fail(new TransportError({ reason, subject: asked.subject })))
  }
  /** Of a frame that reached nobody, nothing was executed. */
  const failAll = ({ asked, subject }: Sent) => {
    for (const each of asked) fail(each, "NoListener")
    peers.delete(subject)
  }

  /** `asked` has a place for each message of the frame. */
  const sendFrame = (subject: string, data: Uint8Array, asked: Array<Asked | undefined>) => {
    const sent: Sent = { token: (++frames).toString(36), subject, asked, waiting: 0 }
    for (const [at, each] of asked.entries()) {
      if (each === undefined || each.isOver) continue
      each.sent = sent
      each.at = at
      sent.waiting += 1
    }
    if (sent.waiting > 0) awaited.set(sent.token, sent)
    const reply = sent.waiting > 0 ? sent.token : undefined
    const failure = isConnected()
      ? handOver(subject, data, reply)
      : new TransportError({ reason: "Disconnected", subject })
    if (failure === undefined) return
    // A tell was told to be sent when the connection was there; it went in the very turn.
    if (asked.includes(undefined)) options.warn(`a frame to ${subject} was not sent: ${failure.reason}`)
    for (const each of asked) fail(each, failure.reason)
  }
  const handOver = (subject: string, data: Uint8Array, reply?: string): TransportError | undefined => {
    try {
      client.publish(subject, data, reply === undefined ? {} : { reply: `${inbox}.${reply}` })
      return undefined
    } catch (cause) {
      return options.errorOf(cause, subject)
    }
  }

  /** By the subject of their shared frames. */
  const peers = new Map<string, { takes: boolean; readonly askedAtMs: number }>()
  /** Asks whom it does not know, and does not wait: nothing goes there shared before the answer, so nothing has to be sent twice. */
  const takesShared = (subject: string): boolean => {
    const known = peers.get(subject)
    if (known?.takes) return true
    const askedAtMs = options.nowMs()
    if (known !== undefined && askedAtMs - known.askedAtMs < askPeerAgainMs) return false
    peers.delete(subject)
    const [oldest] = peers.keys()
    if (oldest !== undefined && peers.size >= peersMax) peers.delete(oldest)
    peers.set(subject, { takes: false, askedAtMs })
    if (isConnected()) handOver(subject, encodeMessages([]), `${peerToken}${subject}`)
    return false
  }

  const turn = makeTurn<Message>(
    () => sharedLimit(client),
    (shared, messages) => {
      if (messages.length > 1 && takesShared(shared)) {
        sendFrame(
          shared,
          encodeMessages(messages),
          messages.map(({ asked }) => asked)
        )
      } else for (const { asked, data, subject } of messages) sendFrame(subject, data, [asked])
    }
  )

  const isNobody = (answer: Msg) => answer.data.length === 0 && answer.headers?.code === 503

  const onAnswer = (answer: Msg) => {
    const token = answer.subject.slice(inbox.length + 1)
    if (token.startsWith(peerToken)) {
      const peer = peers.get(token.slice(peerToken.length))
      if (peer !== undefined && !isNobody(answer)) peer.takes = true
      return
    }
    const [frame = "", place] = token.split(".")
    const sent = awaited.get(frame)
    // Nobody waits any more.
    if (sent === undefined) return
    if (isNobody(answer)) return failAll(sent)
    if (place !== undefined) return settle(sent.asked[Number(place)], Exit.succeed(answer.data))
    const answers = sent.asked.length > 1 ? decodeAnswers(answer.data) : undefined
    if (answers !== undefined) for (const { at, data } of answers) settle(sent.asked[at], Exit.succeed(data))
    // Of one message, or of a frame that could not be read there: of each.
    else for (const each of sent.asked) settle(each, Exit.succeed(answer.data))
  }
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      client.subscribe(`${inbox}.>`, {
        callback: (error, answer) => {
          if (error === null) onAnswer(answer)
        }
      })
    ),
    (subscription) =>
      Effect.sync(() => {
        turn.flush()
        subscription.unsubscribe()
      })
  )

  // A subject that this client may not use reaches nobody: the server says so, of the subject alone.
  yield* Stream.fromAsyncIterable(client.status(), () => "ended").pipe(
    Stream.runForEach(({ permissionContext, type }) =>
      Effect.sync(() => {
        if (type !== Events.Error || permissionContext?.operation !== "publish") return
        for (const sent of awaited.values()) if (sent.subject === permissionContext.subject) failAll(sent)
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )

  /** False when it has to go alone: then all before it is sent. What is large would be copied once more, for nothing. */
  const addToTurn = (subject: string, data: Uint8Array, asked: Asked | undefined): boolean => {
    const to = data.length < sharedLimit(client) / 2 ? actorSubject(subject) : undefined
    if (to === undefined) {
      turn.flush()
      return false
    }
    const { target } = to
    turn.add(sharedSubject(to), { subject, target, wantsAnswer: asked !== undefined, data, asked })
    return true
  }

  const request: Transport["Service"]["request"] = (subject, data, { timeoutMs }) =>
    Effect.callback((resume) => {
      if (!isConnected()) {
        return resume(Effect.fail(new TransportError({ reason: "Disconnected", subject })))
      }
      const asked: Asked = {
        subject,
        resume,
        timer: after(timeoutMs, () => fail(asked, "Timeout")),
        isOver: false,
        sent: undefined,
        at: 0
      }
      if (!addToTurn(subject, data, asked)) sendFrame(subject, data, [asked])
      return Effect.sync(() => forget(asked))
    })

  /**
   * Succeeds when the frame is in line for the end of this turn. Nothing is read before that, not even that the connection is lost: so it
   * is handed to the socket then, as what the client itself buffers until then.
   */
  const publish: Transport["Service"]["publish"] = (subject, data) =>
    Effect.suspend(() => {
      if (!isConnected()) return new TransportError({ reason: "Disconnected", subject })
      if (addToTurn(subject, data, undefined)) return Effect.void
      return handOver(subject, data) ?? Effect.void
    })

  return { request, publish }
})

// Not a fiber: an ask that is answered costs none.
const after = (ms: number, run: () => void): NodeJS.Timeout => setTimeout(run, Math.max(1, ms))
