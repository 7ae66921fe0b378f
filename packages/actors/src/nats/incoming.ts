/**
 * What others send to this process, onto who listens: frame by frame, and message by message of those that are shared. Guarantees that
 * nothing in a frame ends the client's reader, and that an answer goes where the server says that the frame came from, and to an inbox.
 */
import * as Effect from "effect/Effect"
import type { Msg, NatsConnection as Client, Subscription } from "nats"
import type { Frame, Transport } from "../Transport.ts"
import {
  actorSubject,
  type ActorSubject,
  decodeMessages,
  encodeAnswers,
  encodeMessages,
  formatActorSubject,
  makeTurn,
  type SharedAnswer,
  sharedLimit,
  sharedSubject
} from "./sharedFrames.ts"

/** How long a subscription may take to be known to the server before it is taken on trust. */
const subscribeMs = 2_000

/** How long the server may take to confirm that a subscription has ended. */
const unsubscribeMs = 1_000

export const makeIncoming = (
  client: Client,
  {
    isConnected,
    isStale,
    report
  }: {
    readonly isConnected: () => boolean
    /** To be asked for each frame, before it is delivered. */
    readonly isStale: () => boolean
    readonly report: (log: Effect.Effect<void>) => void
  }
): Transport["Service"]["subscribe"] => {
  const answer = (to: string, data: Uint8Array) => {
    // Closed, draining or too large: whoever asked sees its own time-out.
    try {
      client.publish(to, data)
    } catch (cause) {
      report(Effect.logWarning(`an answer to ${to} (${data.length} bytes) was dropped`, cause))
    }
  }
  const answers = makeTurn<SharedAnswer>(
    () => sharedLimit(client),
    (to, all) => {
      const [one] = all
      if (one !== undefined && all.length === 1) answer(`${to}.${one.at}`, one.data)
      else answer(to, encodeAnswers(all))
    }
  )

  const frameOf = (message: Msg): Frame => {
    const to = inboxOf(message)
    return {
      subject: message.subject,
      data: message.data,
      stale: isStale(),
      respond: to === undefined ? undefined : (data) => answer(to, data),
      traceparent: traceparentOf(message)
    }
  }

  const deliverShared = (message: Msg, listened: ActorSubject, deliver: (frame: Frame) => void) => {
    const messages = decodeMessages(message.data)
    // Whoever counts what cannot be read, counts this.
    if (messages === undefined) return deliver(frameOf(message))
    const to = inboxOf(message)
    if (messages.length === 0 && to !== undefined) return answer(to, encodeMessages([]))
    for (const [at, { data, target, wantsAnswer }] of messages.entries()) {
      deliver({
        subject: formatActorSubject({ ...listened, target }),
        data,
        stale: isStale(),
        respond: wantsAnswer && to !== undefined ? (data) => answers.add(to, { at, data }) : undefined
      })
    }
  }

  return (subject, onFrame, options) => {
    const deliver = (frame: Frame) => {
      // A throw here would end the client's reader, and with it every subscription of this process.
      try {
        onFrame(frame)
      } catch (defect) {
        report(Effect.logError(`BUG: a frame on ${frame.subject} was not handled`, defect))
      }
    }
    const listen = (subject: string, onMessage: (message: Msg) => void): Subscription =>
      client.subscribe(subject, {
        ...(options?.queue === undefined ? {} : { queue: options.queue }),
        callback: (error, message) => {
          if (error === null) onMessage(message)
          else report(Effect.logError(`the subscription to ${subject} ended: ${error.message}`))
        }
      })
    const listened = actorSubject(subject)
    return Effect.acquireRelease(
      Effect.sync(() => {
        const subscriptions = [listen(subject, (message) => deliver(frameOf(message)))]
        if (listened?.target === "*.*" && options?.queue === undefined) {
          subscriptions.push(
            listen(sharedSubject(listened), (message) => deliverShared(message, listened, deliver))
          )
        }
        return subscriptions
      }),
      // Until the server has forgotten it, frames come that nobody else will get: they are taken, too.
      (subscriptions) =>
        Effect.promise(async () => {
          if (isConnected()) await Promise.allSettled(subscriptions.map((each) => each.drain()))
        }).pipe(
          Effect.timeoutOrElse({ duration: unsubscribeMs, orElse: () => Effect.void }),
          Effect.andThen(
            Effect.sync(() => {
              for (const each of subscriptions) each.unsubscribe()
            })
          )
        )
    ).pipe(
      // Until the server has it, a request from elsewhere would still find nobody.
      Effect.andThen(
        Effect.suspend(() =>
          isConnected() ? Effect.promise(() => client.flush().catch(() => {})) : Effect.void
        )
      ),
      Effect.timeoutOrElse({ duration: subscribeMs, orElse: () => Effect.void })
    )
  }
}

// Headers that the client cannot read are none: nobody's message fails for its trace.
const traceparentOf = (message: Msg): string | undefined => {
  try {
    return message.headers?.get("traceparent")
  } catch {
    return undefined
  }
}

// An answer goes with this process's rights wherever the asker says: to an inbox, and nowhere else. A reply subject of `$KV.…` would
// let a client write what it may not. Every client's inboxes begin like this, with a prefix of its own or without; `_R_.` is what
// the server makes of the inbox of another account, and no client may choose it.
const inboxOf = ({ reply }: Msg): string | undefined =>
  reply !== undefined &&
  (reply.startsWith("_INBOX.") || reply.startsWith("_INBOX_") || reply.startsWith("_R_."))
    ? reply
    : undefined
