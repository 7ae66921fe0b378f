/**
 * What a scraper and a supervisor ask a node by HTTP: /metrics in Prometheus' text format, /healthz and /readyz. A node that drains is
 * alive and not ready: it is neither killed for that nor given new rooms.
 *
 * Guarantees: every request is answered, whatever it is, and changes nothing; no request's body is read; connections are few and short.
 * Whoever can reach the port can read it, so it is on loopback unless told otherwise.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { MetricsPortUnavailable } from "../MediaError.ts"
import { isReady, type NodeAxes } from "../nodeReadiness.ts"

export interface MetricsServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** 0 is a free one. */
  readonly port: number
  /** Undefined until the node is there. */
  readonly state: () => NodeAxes | undefined
}

export interface MetricsServer {
  /** `host:port`, as it can be asked for. */
  readonly address: string
}

/** Far more than scrapers there are. */
const connectionsMax = 64
const requestMs = 5_000

/** Serves until the scope closes. What it shows is the `Metric.MetricRegistry` it is started with. */
export const serveMetrics = Effect.fnUntraced(function* (
  options: MetricsServerOptions
): Effect.fn.Return<MetricsServer, MetricsPortUnavailable, Scope.Scope> {
  const context = Context.make(Metric.MetricRegistry, yield* Metric.MetricRegistry)
  const { host = "127.0.0.1", port } = options
  const pages: Readonly<Record<string, () => Page>> = {
    "/metrics": () => ({ status: 200, type: prometheusText, body: PrometheusMetrics.formatUnsafe(context) }),
    "/healthz": () => ({ status: 200, type: plainText, body: `alive: ${described(options.state())}\n` }),
    "/readyz": () => {
      const state = options.state()
      const ready = state !== undefined && isReady(state)
      const body = `${ready ? "ready" : "not ready for new rooms"}: ${described(state)}\n`
      return { status: ready ? 200 : 503, type: plainText, body }
    }
  }
  const server = createServer(
    { requestTimeout: requestMs, headersTimeout: requestMs, keepAliveTimeout: requestMs },
    (request, response) => answer(pages, request, response)
  )
  server.maxConnections = connectionsMax
  // What is no HTTP at all.
  server.on("clientError", (_, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    else socket.destroy()
  })
  yield* Effect.acquireRelease(listen(server, host, port), () => close(server))
  const bound = server.address()
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port
  return { address: `${host.includes(":") ? `[${host}]` : host}:${boundPort}` }
})

interface Page {
  readonly status: number
  readonly type: string
  readonly body: string
}

const prometheusText = "text/plain; version=0.0.4; charset=utf-8"
const plainText = "text/plain; charset=utf-8"

const described = (state: NodeAxes | undefined): string =>
  state === undefined
    ? "life=Starting"
    : `life=${state.life} admission=${state.admission} control=${state.control}`

/** A metric of the host's own may fail to be read: that must not end the process. */
const made = (page: () => Page): Page => {
  try {
    return page()
  } catch (cause) {
    return { status: 500, type: plainText, body: `${String(cause)}\n` }
  }
}

const answer = (
  pages: Readonly<Record<string, () => Page>>,
  request: IncomingMessage,
  response: ServerResponse
): void => {
  const path = (request.url ?? "").split("?", 1)[0] ?? ""
  const isRead = request.method === "GET" || request.method === "HEAD"
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  const { body, status, type }: Page = !isRead
    ? { status: 405, type: plainText, body: "only GET and HEAD\n" }
    : page === undefined
      ? { status: 404, type: plainText, body: `there are ${Object.keys(pages).join(", ")}\n` }
      : made(page)
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    // A body that nobody reads must not be waited for.
    ...(isRead ? {} : { allow: "GET, HEAD", connection: "close" })
  })
  response.end(request.method === "HEAD" ? undefined : body)
}

const listen = (server: Server, host: string, port: number) =>
  Effect.callback<void, MetricsPortUnavailable>((resume) => {
    server.once("error", (error) =>
      resume(Effect.fail(new MetricsPortUnavailable({ host, port, reason: error.message })))
    )
    server.listen(port, host, () => {
      server.removeAllListeners("error")
      // Too many open files, for instance: that is the next connection's trouble.
      server.on("error", () => {})
      resume(Effect.void)
    })
  })

const close = (server: Server) =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })
