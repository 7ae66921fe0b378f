/** A client that knows nothing but bytes: what it sends is checked by nobody, and what comes back is only decoded. */
import { decode } from "@msgpack/msgpack"
import { connect } from "nats"
import * as Effect from "effect/Effect"

export interface RawClient {
  /** The one answer, decoded. Dies when none comes in time. */
  readonly ask: (subject: string, bytes: Uint8Array) => Effect.Effect<Readonly<Record<string, unknown>>>
  /** Nobody is told where to answer. */
  readonly tell: (subject: string, bytes: Uint8Array) => Effect.Effect<void>
}

/** `answerMs`: the deadline of an ask. */
export const rawClient = Effect.fnUntraced(function* (address: string, answerMs = 5000) {
  const connection = yield* Effect.acquireRelease(
    Effect.promise(() => connect({ servers: address, inboxPrefix: "_INBOX_raw", noAsyncTraces: true })),
    (open) => Effect.promise(() => open.close())
  )
  const client: RawClient = {
    ask: (subject, bytes) =>
      Effect.promise(async () => {
        const answer = await connection.request(subject, bytes, { timeout: answerMs })
        return decode(answer.data) as Readonly<Record<string, unknown>>
      }),
    tell: (subject, bytes) => Effect.sync(() => connection.publish(subject, bytes))
  }
  return client
})
