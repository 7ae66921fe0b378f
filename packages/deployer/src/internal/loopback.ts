/**
 * The door to TCP on 127.0.0.1: free ports, and who answers on one.
 */
import net from "node:net"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const host = "127.0.0.1"

/** Free now. Somebody else may take it before its user binds it: the user has to try again then. */
export const freePort: Effect.Effect<number> = Effect.suspend(() => listen(0)).pipe(
  Effect.map(Option.getOrThrow)
)

export const isFree = (port: number): Effect.Effect<boolean> => listen(port).pipe(Effect.map(Option.isSome))

/** The port that was bound and let go again; none when it could not be had. */
const listen = (port: number) =>
  Effect.callback<Option.Option<number>>((resume) => {
    const server = net.createServer()
    server.once("error", () => resume(Effect.succeedNone))
    server.listen(port, host, () => {
      const address = server.address()
      const bound = typeof address === "object" && address !== null ? address.port : port
      server.close(() => resume(Effect.succeedSome(bound)))
    })
  })

/** What a nats-server says of itself before anybody has said who they are. */
const ServerInfo = Schema.Struct({
  server_name: Schema.String,
  jetstream: Schema.optionalKey(Schema.Boolean)
})
const decodeInfo = Schema.decodeUnknownOption(Schema.fromJsonString(ServerInfo))

/** The greeting of a nats-server on that port; none when nobody, or something else, is there. */
export const natsGreeting = (port: number): Effect.Effect<Option.Option<typeof ServerInfo.Type>> =>
  Effect.callback((resume) => {
    const socket = net.connect(port, host)
    let received = ""
    const done = (info: Option.Option<typeof ServerInfo.Type>) => {
      socket.destroy()
      resume(Effect.succeed(info))
    }
    socket.setEncoding("utf8")
    // Long enough for a busy machine; what is not a nats-server may say nothing for ever.
    socket.setTimeout(2000, () => done(Option.none()))
    socket.once("error", () => done(Option.none()))
    socket.once("end", () => done(Option.none()))
    socket.on("data", (chunk: string) => {
      received += chunk
      const end = received.indexOf("\r\n")
      if (end >= 0 || received.length > 65536) done(decodeInfo(received.slice("INFO ".length, end)))
    })
    return Effect.sync(() => socket.destroy())
  })
