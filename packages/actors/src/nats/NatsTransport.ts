/**
 * `Transport` on core NATS. Leaves connecting to `NatsConnection`; adds the checks that make a send fail now rather than be
 * lost, the mark on frames that waited while this process was paused, and the map from the client's errors.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Msg } from "nats"
import { type Frame, Transport, TransportError } from "../Transport.ts"
import { NatsConnection } from "./NatsConnection.ts"
import { beatMs, makePauseWatch } from "./pauseWatch.ts"
import { makeRequests } from "./requests.ts"

/** How long a subscription may take to be known to the server before it is taken on trust. */
const subscribeMs = 2_000

/** How long the server may take to confirm that a subscription has ended. */
const unsubscribeMs = 1_000

export const layer: Layer.Layer<Transport, never, NatsConnection> = Layer.effect(
  Transport,
  Effect.gen(function* () {
    const connection = yield* NatsConnection
    const { client, isConnected } = connection
    const report = Effect.runForkWith(yield* Effect.context())

    const pauses = makePauseWatch(
      () => client.flush(),
      () => performance.now()
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => every(beatMs, pauses.beat)),
      (stop) => Effect.sync(stop)
    )

    const frameOf = (message: Msg): Frame => ({
      subject: message.subject,
      data: message.data,
      stale: pauses.isStale(),
      respond:
        message.reply === undefined || !isInbox(message.reply)
          ? undefined
          : (data) => {
              // Closed, draining or too large: whoever asked sees its own time-out.
              try {
                message.respond(data)
              } catch (cause) {
                report(
                  Effect.logWarning(
                    `an answer to ${message.subject} (${data.length} bytes) was dropped`,
                    cause
                  )
                )
              }
            }
    })

    const request = yield* makeRequests(client, {
      inboxPrefix: connection.inboxPrefix,
      isConnected,
      errorOf: transportError
    })

    const publish: Transport["Service"]["publish"] = (subject, data) =>
      Effect.suspend(() => {
        if (!isConnected()) return new TransportError({ reason: "Disconnected", subject })
        return Effect.try({
          try: () => client.publish(subject, data),
          catch: (cause) => transportError(cause, subject)
        })
      })

    const subscribe: Transport["Service"]["subscribe"] = (subject, onFrame, options) =>
      Effect.acquireRelease(
        Effect.sync(() =>
          client.subscribe(subject, {
            ...(options?.queue === undefined ? {} : { queue: options.queue }),
            callback: (error, message) => {
              if (error !== null) {
                report(Effect.logError(`the subscription to ${subject} ended: ${error.message}`))
                return
              }
              // A throw here would end the client's reader, and with it every subscription of this process.
              try {
                onFrame(frameOf(message))
              } catch (defect) {
                report(Effect.logError(`BUG: a frame on ${subject} was not handled`, defect))
              }
            }
          })
        ),
        // Until the server has forgotten it, frames come that nobody else will get: they are taken, too.
        (subscription) =>
          Effect.promise(() =>
            isConnected() ? subscription.drain().catch(() => {}) : Promise.resolve()
          ).pipe(
            Effect.timeoutOrElse({ duration: unsubscribeMs, orElse: () => Effect.void }),
            Effect.andThen(Effect.sync(() => subscription.unsubscribe()))
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

    return {
      request,
      publish,
      subscribe,
      connectedSince: connection.connectedSince,
      connected: connection.connected
    }
  })
)

const transportError = (cause: unknown, subject: string): TransportError => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
    // A subject that this client may not use reaches nobody either; the connection logs which.
    case "503":
    case "PERMISSIONS_VIOLATION":
      return new TransportError({ reason: "NoListener", subject })
    case "MAX_PAYLOAD_EXCEEDED":
      return new TransportError({ reason: "TooLarge", subject })
    case "CONNECTION_CLOSED":
    case "CONNECTION_DRAINING":
      return new TransportError({ reason: "Disconnected", subject })
    default:
      return new TransportError({ reason: "Timeout", subject })
  }
}

// An answer goes with this process's rights wherever the asker says: to an inbox, and nowhere else. A reply subject of `$KV.…` would
// let a client write what it may not. Every client's inboxes begin like this, with a prefix of its own or without; `_R_.` is what
// the server makes of the inbox of another account, and no client may choose it.
const isInbox = (subject: string): boolean =>
  subject.startsWith("_INBOX.") || subject.startsWith("_INBOX_") || subject.startsWith("_R_.")

// Not a fiber: it must not keep the process alive, and no other clock may drive it.
function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms).unref()
  return () => clearInterval(timer)
}
