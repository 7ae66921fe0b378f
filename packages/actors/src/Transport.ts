/**
 * The frames service: what the runtime needs of a network, and no more. NATS implements it (`nats/NatsTransport`), and a
 * seeded bus in memory does for tests (`testing/TestBus`); one contract suite runs on both.
 *
 * At most once, in order per sender and subject. Nothing is queued while disconnected: what cannot be sent now fails now.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * A frame that was not delivered, or not answered.
 *
 * - `NoListener`    nobody subscribes to the subject *now*: not executed. The listener may be reconnecting.
 * - `Disconnected`  this process has no connection: not sent.
 * - `TooLarge`      larger than the network takes: not sent.
 * - `Timeout`       sent, and not answered in time: outcome unknown.
 */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  reason: Schema.Literals(["NoListener", "Disconnected", "TooLarge", "Timeout"]),
  subject: Schema.String
}) {
  override get message() {
    return `${this.reason} on ${this.subject}`
  }
}

export interface Frame {
  readonly subject: string
  readonly data: Uint8Array
  /** Answers a request, at most once; undefined for a publish. Never throws: an answer that cannot be sent is dropped. */
  readonly respond: ((data: Uint8Array) => void) | undefined
  /**
   * This process was paused or blocked, and the frame may have waited for that to end: whoever sent it may have given up since,
   * asked somebody else, and gone on from there. To act on it now may undo what came later; to refuse it is safe.
   */
  readonly stale: boolean
  /** The header of that name (W3C Trace Context), as its sender wrote it: checked by nobody. */
  readonly traceparent?: string | undefined
}

export class Transport extends Context.Service<
  Transport,
  {
    /** Sends and awaits one answer. `timeoutMs` counts from the call. */
    readonly request: (
      subject: string,
      data: Uint8Array,
      options: { readonly timeoutMs: number }
    ) => Effect.Effect<Uint8Array, TransportError>

    readonly publish: (subject: string, data: Uint8Array) => Effect.Effect<void, TransportError>

    /**
     * Calls `onFrame` for each frame, synchronously and in order, until the scope closes. With `queue`, each frame goes to
     * one member of that group. Survives reconnects.
     */
    readonly subscribe: (
      subject: string,
      onFrame: (frame: Frame) => void,
      options?: { readonly queue?: string }
    ) => Effect.Effect<void, never, Scope.Scope>

    /** Monotonic milliseconds at which the present unbroken connection began; undefined while disconnected. */
    readonly connectedSince: Effect.Effect<number | undefined>

    /** `true` on each connection made, `false` on each lost; begins with the present state. Never fails, never ends. */
    readonly connected: Stream.Stream<boolean>
  }
>()("@ebb/actors/Transport") {
  /** No network: for actors of one process that nobody else is to reach. Whatever is sent elsewhere finds no listener. */
  static readonly layerNone: Layer.Layer<Transport> = Layer.succeed(Transport, {
    request: (subject) => Effect.fail(new TransportError({ reason: "NoListener", subject })),
    publish: () => Effect.void,
    subscribe: () => Effect.void,
    connectedSince: Effect.succeed(0),
    connected: Stream.concat(Stream.succeed(true), Stream.never)
  })
}
