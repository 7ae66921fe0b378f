/**
 * NATS by hand, over a socket: what the server itself says to a user, with no client library between.
 */
import net from "node:net"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { NatsEndpoint } from "../src/cluster/natsEndpoint.ts"
import { until } from "./fixtures.ts"

export interface RawNats {
  /** Sends the lines; returns all that came until the server has dealt with them. */
  readonly send: (...lines: ReadonlyArray<string>) => Effect.Effect<string>
  /** Waits until that text has come. */
  readonly receive: (text: string) => Effect.Effect<string>
}

export const publish = (subject: string, body: string, reply = "") =>
  `PUB ${subject} ${reply} ${body.length}\r\n${body}`

/** The first answer is to the log-in. */
export const connectRaw = Effect.fnUntraced(function* (endpoint: NatsEndpoint) {
  const [host = "", port = ""] = (endpoint.servers[0] ?? "").split(":")
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => net.connect(Number(port), host)),
    (socket) => Effect.sync(() => socket.destroy())
  )
  let received = ""
  let closed = false
  socket.setEncoding("utf8").on("data", (chunk: string) => (received += chunk))
  socket.on("error", () => {})
  socket.on("close", () => (closed = true))

  const look = Effect.sync(() => received)
  const receive: RawNats["receive"] = (text) => until(look, (all) => closed || all.includes(text))
  const send: RawNats["send"] = Effect.fnUntraced(function* (...lines) {
    received = ""
    socket.write([...lines, "PING", ""].join("\r\n"))
    return yield* receive("PONG")
  })

  const login = {
    user: endpoint.user,
    pass: Redacted.value(endpoint.password),
    verbose: false,
    headers: true
  }
  const greeting = yield* send(`CONNECT ${JSON.stringify({ ...login, no_responders: true })}`)
  return { send, receive, greeting }
})
