/**
 * Requests and their answers, over one subscription to an inbox of this client. Owns what is waited for.
 *
 * In place of the client's own `request`, which makes an error with a stack trace for each request that is answered and four promises: two
 * thirds of what an ask costs its sender. Answers resume their askers straight from the socket's callback, so that what one chunk brings is
 * sent on in one write.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { createInbox, Events, type Msg, type NatsConnection as Client } from "nats"
import { type Transport, TransportError } from "../Transport.ts"

type Request = Transport["Service"]["request"]

interface Waiting {
  readonly subject: string
  readonly settle: (exit: Exit.Exit<Uint8Array, TransportError>) => void
}

export const makeRequests = Effect.fnUntraced(function* (
  client: Client,
  options: {
    readonly inboxPrefix: string
    readonly isConnected: () => boolean
    readonly errorOf: (cause: unknown, subject: string) => TransportError
  }
) {
  const inbox = createInbox(options.inboxPrefix)
  const waiting = new Map<string, Waiting>()
  let asked = 0

  const onAnswer = (answer: Msg) => {
    const token = answer.subject.slice(inbox.length + 1)
    const found = waiting.get(token)
    // Nobody waits any more.
    if (found === undefined) return
    const isNobody = answer.data.length === 0 && answer.headers?.code === 503
    found.settle(
      isNobody
        ? Exit.fail(new TransportError({ reason: "NoListener", subject: found.subject }))
        : Exit.succeed(answer.data)
    )
  }
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      client.subscribe(`${inbox}.*`, {
        callback: (error, answer) => {
          if (error === null) onAnswer(answer)
        }
      })
    ),
    (subscription) => Effect.sync(() => subscription.unsubscribe())
  )

  // A subject that this client may not use reaches nobody: the server says so, of the subject alone.
  yield* Stream.fromAsyncIterable(client.status(), () => "ended").pipe(
    Stream.runForEach(({ permissionContext, type }) =>
      Effect.sync(() => {
        if (type !== Events.Error || permissionContext?.operation !== "publish") return
        const { subject } = permissionContext
        for (const each of waiting.values()) {
          if (each.subject === subject)
            each.settle(Exit.fail(new TransportError({ reason: "NoListener", subject })))
        }
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )

  const request: Request = (subject, data, { timeoutMs }) =>
    Effect.callback((resume) => {
      if (!options.isConnected()) {
        return resume(Effect.fail(new TransportError({ reason: "Disconnected", subject })))
      }
      const token = (++asked).toString(36)
      const forget = () => {
        waiting.delete(token)
        clearTimeout(timer)
      }
      const settle: Waiting["settle"] = (exit) => {
        forget()
        resume(exit)
      }
      const timer = setTimeout(
        () => settle(Exit.fail(new TransportError({ reason: "Timeout", subject }))),
        Math.max(1, timeoutMs)
      )
      waiting.set(token, { subject, settle })
      try {
        client.publish(subject, data, { reply: `${inbox}.${token}` })
      } catch (cause) {
        settle(Exit.fail(options.errorOf(cause, subject)))
      }
      return Effect.sync(forget)
    })
  return request
})
