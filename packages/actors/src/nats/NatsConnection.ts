/**
 * The one NATS connection of a process. Owns connecting, reconnecting for ever, and the knowledge of since when it has been
 * unbroken; the transport and the registry both stand on it.
 *
 * A publish while disconnected would be buffered by the client and then lost without an error, so whoever sends asks
 * `isConnected` first. Credentials are in no log line and no error.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { connect, DebugEvents, Events, type NatsConnection as Client } from "nats"
import { NatsRefused, NatsUnavailable } from "../ActorError.ts"
import type { Id } from "../Address.ts"
import { monotonicMillis } from "../internal/monotonic.ts"
import { natsSecurity, type NatsSecurity, refusal } from "./natsSecurity.ts"

export interface NatsOptions extends NatsSecurity {
  /** `host:port`, `nats://host:port` or `tls://host:port`, one or several of one cluster. Credentials do not belong here. */
  readonly servers: string | ReadonlyArray<string>
  /** How the server's monitoring names this client. */
  readonly name: Id
  /** Where this client's answers arrive; no other client may listen there. Default `_INBOX_<name>`. */
  readonly inboxPrefix?: string | undefined
  /**
   * When no server answers at the start: `fail` (default) fails with `NatsUnavailable`; `wait` logs it and tries until one
   * does. Once connected it reconnects for ever in both cases. One that refuses us is `NatsRefused` at the start, and waited for later.
   */
  readonly firstConnect?: "fail" | "wait" | undefined
}

/** A dead server is noticed after two unanswered pings: 10 to 15 s. One dial is given up after `dialMs`. */
const pingIntervalMs = 5_000
const dialMs = 5_000
const reconnectBaseMs = 100
const reconnectJitterMs = 400

export class NatsConnection extends Context.Service<
  NatsConnection,
  {
    readonly client: Client
    /** Where answers to this client arrive. */
    readonly inboxPrefix: string
    /** Synchronous: for the check before each send. */
    readonly isConnected: () => boolean
    readonly connectedSince: Effect.Effect<number | undefined>
    readonly connected: Stream.Stream<boolean>
  }
>()("@ebb/actors/nats/NatsConnection") {
  static readonly layer = (
    options: NatsOptions
  ): Layer.Layer<NatsConnection, NatsUnavailable | NatsRefused> => Layer.effect(NatsConnection, make(options))
}

const inboxPrefixOf = ({ inboxPrefix, name }: NatsOptions): string => inboxPrefix ?? `_INBOX_${name}`

const dial = Effect.fnUntraced(function* (
  options: NatsOptions
): Effect.fn.Return<Client, NatsUnavailable | NatsRefused> {
  const servers = typeof options.servers === "string" ? [options.servers] : [...options.servers]
  const shown = servers.map(withoutCredentials)
  const security = yield* Effect.mapError(
    natsSecurity(options, servers),
    (problem) => new NatsRefused({ servers: shown, problem })
  )
  return yield* Effect.tryPromise({
    try: () =>
      connect({
        servers,
        name: options.name,
        inboxPrefix: inboxPrefixOf(options),
        ...security,
        timeout: dialMs,
        pingInterval: pingIntervalMs,
        maxPingOut: 2,
        maxReconnectAttempts: -1,
        // After a server came back with other credentials for a while, the right ones must still get in.
        ignoreAuthErrorAbort: true,
        reconnectDelayHandler: () => reconnectBaseMs + Math.floor(Math.random() * reconnectJitterMs),
        noAsyncTraces: true
      }),
    catch: (cause) => {
      const problem = refusal(cause)
      return problem === undefined
        ? new NatsUnavailable({ servers: shown, reason: reasonOf(cause, security.tls !== undefined) })
        : new NatsRefused({ servers: shown, problem })
    }
  })
})

/** Different errors of one connection that are logged. */
const saidMax = 100

/** What a process does without, as where NATS was configured for an earlier version, and what it lacks then. */
const dispensable = [
  { subjects: /^\$SRV\./, lacking: "NATS tools do not find it as a service" },
  { subjects: /^ebb\.v\d+\.[^.]+\.b\./, lacking: "messages go one by one, not several in a frame" }
]

/** What to say, and of what it is said once. */
const reported = (
  code: string,
  context: { readonly operation: string; readonly subject: string } | undefined
): { readonly text: string; readonly once: string; readonly isServing: boolean } => {
  if (context !== undefined) {
    const text = `NATS does not allow this process: ${context.operation} ${context.subject}`
    const without = dispensable.find(({ subjects }) => subjects.test(context.subject))
    return without === undefined
      ? { text, once: text, isServing: false }
      : { text: `${text}; ${without.lacking}`, once: without.lacking, isServing: true }
  }
  const problem = refusal({ code })
  const text = problem === undefined ? `NATS reports ${code}` : `NATS: ${problem}; trying on`
  return { text, once: text, isServing: false }
}

const withoutCredentials = (server: string): string => server.replace(/^([a-z]+:\/\/)?[^@/]*@/, "$1")

const reasonOf = (cause: unknown, byTls = false): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  if (code === "CONNECTION_REFUSED") return "nothing listens there; is nats-server running?"
  if (code === "TIMEOUT" || code === "CONNECTION_TIMEOUT")
    // A server that refuses a client's certificate hangs up after the handshake, which the client does not notice.
    return `no answer in ${dialMs} ms; is it a nats-server, and not stopped?${byTls ? " Does it want a client certificate, or another one?" : ""}`
  return cause instanceof Error && cause.message !== "" ? cause.message : "the connection was closed"
}

const isAway = (error: NatsUnavailable | NatsRefused) => error._tag === "NatsUnavailable"

const make = Effect.fnUntraced(function* (
  options: NatsOptions
): Effect.fn.Return<NatsConnection["Service"], NatsUnavailable | NatsRefused, Scope.Scope> {
  // A dial is not interrupted, only the wait between two: its client would live on with nobody to close it.
  const acquire = Effect.acquireRelease(dial(options), (client) => Effect.promise(() => client.close()))
  const client = yield* options.firstConnect === "wait"
    ? Effect.retry(acquire, {
        schedule: Schedule.spaced("1 second").pipe(
          Schedule.setInputType<NatsUnavailable | NatsRefused>(),
          // After the 1st, 2nd, 4th, 8th … try.
          Schedule.tap(({ attempt, input }) =>
            isAway(input) && Number.isInteger(Math.log2(attempt))
              ? Effect.logWarning(`${input.message}; trying on`)
              : Effect.void
          )
        ),
        while: isAway
      })
    : acquire

  let since: number | undefined = yield* monotonicMillis
  const connected = yield* SubscriptionRef.make(true)
  yield* Effect.logInfo(`connected to NATS at ${client.getServer()}`)

  /** A server that refuses us says so several times a second; a publish that is not allowed says so each time. */
  const said = new Set<string>()
  const sayOnce = ({ isServing, once, text }: ReturnType<typeof reported>) =>
    Effect.suspend(() => {
      if (said.has(once) || said.size >= saidMax) return Effect.void
      said.add(once)
      return isServing ? Effect.logWarning(text) : Effect.logError(text)
    })

  const lost = (why: string) =>
    Effect.suspend(() => {
      if (since === undefined) return Effect.void
      since = undefined
      return Effect.andThen(
        SubscriptionRef.set(connected, false),
        Effect.logWarning(`NATS connection lost: ${why}`)
      )
    })
  const back = Effect.gen(function* () {
    since = yield* monotonicMillis
    said.clear()
    yield* SubscriptionRef.set(connected, true)
    yield* Effect.logInfo(`reconnected to NATS at ${client.getServer()}`)
  })

  yield* Stream.fromAsyncIterable(client.status(), (cause) => reasonOf(cause)).pipe(
    Stream.runForEach((status) => {
      const what = typeof status.data === "string" ? status.data : ""
      switch (status.type) {
        case Events.Disconnect:
          return lost(`${what} has gone, reconnecting`)
        case Events.Reconnect:
          return back
        case Events.Error:
          return sayOnce(reported(what, status.permissionContext))
        case Events.LDM:
          return Effect.logInfo(`${what} is about to shut down (lame duck)`)
        case Events.Update:
        case DebugEvents.Reconnecting:
        case DebugEvents.PingTimer:
        case DebugEvents.StaleConnection:
        case DebugEvents.ClientInitiatedReconnect:
          return Effect.void
      }
    }),
    Effect.ignore,
    // The client gives up only when it was told to; anything else would leave a process that looks alive and is deaf.
    Effect.andThen(lost("the client gave up")),
    Effect.forkScoped
  )

  return {
    client,
    inboxPrefix: inboxPrefixOf(options),
    isConnected: () => since !== undefined && !client.isClosed(),
    connectedSince: Effect.sync(() => (client.isClosed() ? undefined : since)),
    connected: SubscriptionRef.changes(connected)
  }
})
