/**
 * `Transport` on core NATS. Leaves connecting to `NatsConnection`, sending to `outgoing`, receiving to `incoming`; adds the watch by which
 * frames are marked that waited while this process was paused, and the map from the client's errors.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Transport, TransportError } from "../Transport.ts"
import { makeIncoming } from "./incoming.ts"
import { NatsConnection } from "./NatsConnection.ts"
import { makeOutgoing } from "./outgoing.ts"
import { beatMs, makePauseWatch } from "./pauseWatch.ts"

export const layer: Layer.Layer<Transport, never, NatsConnection> = Layer.effect(
  Transport,
  Effect.gen(function* () {
    const { client, connected, connectedSince, inboxPrefix, isConnected } = yield* NatsConnection
    const report = Effect.runForkWith(yield* Effect.context())

    const pauses = makePauseWatch(
      () => client.flush(),
      () => performance.now()
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => every(beatMs, pauses.beat)),
      (stop) => Effect.sync(stop)
    )

    const { publish, request } = yield* makeOutgoing(client, {
      inboxPrefix,
      isConnected,
      errorOf: transportError,
      warn: (text) => report(Effect.logWarning(text)),
      nowMs: () => performance.now()
    })
    const subscribe = makeIncoming(client, { isConnected, isStale: pauses.isStale, report })
    return { request, publish, subscribe, connectedSince, connected }
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

// Not a fiber: it must not keep the process alive, and no other clock may drive it.
function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms).unref()
  return () => clearInterval(timer)
}
