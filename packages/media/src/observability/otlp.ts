/**
 * Metrics, spans and logs to an OpenTelemetry collector, by OTLP over HTTP in protobuf. A collector that is away, slow or hangs costs the
 * node nothing but what it would have been told: it is said once, and tried again a minute later.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"

export interface OtlpOptions {
  /** `http://host:4318`: `/v1/metrics`, `/v1/traces` and `/v1/logs` are below it. */
  readonly url: string
  readonly nodeId: string
  readonly cluster: string
  readonly version: string
  /** Between two exports. Default: 10 s for metrics, 5 s for spans, 1 s for logs. */
  readonly intervalMs?: number
}

/** A collector that takes a connection and does not answer would otherwise gather what waits for it. */
const requestTimeout = Duration.seconds(5)
/** How long the end of the process may wait for the last export. */
const lastExport = Duration.seconds(2)

const client = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function* () {
    let isAway = false
    const wasReached = Effect.sync(() => {
      isAway = false
    })
    const sayOnce = (error: HttpClientError.HttpClientError) =>
      Effect.suspend(() => {
        if (isAway) return Effect.void
        isAway = true
        return Effect.logWarning(`the OTLP collector does not take what it is sent: ${error.message}`)
      })
    return HttpClient.transform(yield* HttpClient.HttpClient, (answered, request) =>
      answered.pipe(
        Effect.timeoutOrElse({
          duration: requestTimeout,
          orElse: () => {
            const reason = new HttpClientError.TransportError({ request, description: "no answer in time" })
            return Effect.fail(new HttpClientError.HttpClientError({ reason }))
          }
        }),
        Effect.tap(wasReached),
        Effect.tapError(sayOnce)
      )
    )
  })
).pipe(Layer.provide(FetchHttpClient.layer))

/** For whatever is started below it. Its end sends what is left. */
export const layerOtlp = ({ cluster, intervalMs, nodeId, url, version }: OtlpOptions) =>
  Otlp.layerProtobuf({
    baseUrl: url,
    resource: {
      serviceName: "ebb-node",
      serviceVersion: version,
      attributes: { "service.instance.id": nodeId, "ebb.cluster": cluster, "process.pid": process.pid }
    },
    shutdownTimeout: lastExport,
    ...(intervalMs === undefined
      ? {}
      : {
          loggerExportInterval: intervalMs,
          metricsExportInterval: intervalMs,
          tracerExportInterval: intervalMs
        })
  }).pipe(Layer.provide(client))
