/**
 * Stands in for an OpenTelemetry collector, of which Debian 12 and npm have none: an HTTP server that reads what it is sent with the decoder
 * that OpenTelemetry generates from its own definitions, and takes no span or log record with a field that those do not name.
 */
import root from "@opentelemetry/otlp-transformer/build/src/generated/root.js"
import { createServer } from "node:http"
import * as Effect from "effect/Effect"

interface Value {
  readonly stringValue?: string | null
}
interface Attribute {
  readonly key: string
  readonly value: Value
}
interface Resource {
  readonly attributes: ReadonlyArray<Attribute>
}
interface Point {
  readonly attributes: ReadonlyArray<Attribute>
  readonly asDouble?: number
  readonly count?: { toNumber(): number }
}
interface Points {
  readonly dataPoints: ReadonlyArray<Point>
}
interface MetricsRequest {
  readonly resourceMetrics: ReadonlyArray<{
    readonly resource: Resource
    readonly scopeMetrics: ReadonlyArray<{
      readonly metrics: ReadonlyArray<{
        readonly name: string
        readonly gauge?: Points | null
        readonly sum?: Points | null
        readonly histogram?: Points | null
      }>
    }>
  }>
}
interface TraceRequest {
  readonly resourceSpans: ReadonlyArray<{
    readonly resource: Resource
    readonly scopeSpans: ReadonlyArray<{
      readonly spans: ReadonlyArray<{
        readonly name: string
        readonly traceId: Uint8Array
        readonly spanId: Uint8Array
        readonly parentSpanId: Uint8Array | null
      }>
    }>
  }>
}
interface LogsRequest {
  readonly resourceLogs: ReadonlyArray<{
    readonly resource: Resource
    readonly scopeLogs: ReadonlyArray<{
      readonly logRecords: ReadonlyArray<{ readonly body: Value }>
    }>
  }>
}

/** Of one of protobufjs' static message classes. */
interface MessageClass<A> {
  decode(bytes: Uint8Array): A
  encode(message: A): { finish(): Uint8Array }
}
interface Definitions {
  readonly opentelemetry: {
    readonly proto: {
      readonly collector: {
        readonly metrics: {
          readonly v1: { readonly ExportMetricsServiceRequest: MessageClass<MetricsRequest> }
        }
        readonly trace: { readonly v1: { readonly ExportTraceServiceRequest: MessageClass<TraceRequest> } }
        readonly logs: { readonly v1: { readonly ExportLogsServiceRequest: MessageClass<LogsRequest> } }
      }
    }
  }
}
const { collector } = (root as unknown as Definitions).opentelemetry.proto

/** What is not in the definitions is skipped by the decoder, and then it is missing when written again. */
const strictly = <A>(of: MessageClass<A>, bytes: Uint8Array): A => {
  const message = of.decode(bytes)
  if (of.encode(message).finish().length !== bytes.length) throw new Error("fields that OTLP does not have")
  return message
}

export interface SeenSpan {
  readonly node: string
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
}

const attributeOf = (attributes: ReadonlyArray<Attribute>, key: string): string =>
  attributes.find((attribute) => attribute.key === key)?.value.stringValue ?? ""
const hex = (bytes: Uint8Array | null) => Buffer.from(bytes ?? []).toString("hex")
const nodeOf = ({ attributes }: Resource) => attributeOf(attributes, "service.instance.id")

export const otlpCollector = Effect.gen(function* () {
  const spans: Array<SeenSpan> = []
  const logs: Array<{ readonly node: string; readonly text: string }> = []
  /** The last value of each series: `node name{label=value,...}`. */
  const values = new Map<string, number>()
  const problems: Array<string> = []

  const take: Readonly<Record<string, (bytes: Uint8Array) => void>> = {
    "/v1/metrics": (bytes) => {
      // Buckets come unpacked, which every decoder takes, and would be written again packed: no length to compare.
      const request = collector.metrics.v1.ExportMetricsServiceRequest.decode(bytes)
      for (const { resource, scopeMetrics } of request.resourceMetrics) {
        for (const { gauge, histogram, name, sum } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
          for (const point of (gauge ?? sum ?? histogram)?.dataPoints ?? []) {
            const labels = point.attributes.map(({ key, value }) => `${key}=${value.stringValue}`).join()
            values.set(
              `${nodeOf(resource)} ${name}{${labels}}`,
              histogram ? (point.count?.toNumber() ?? -1) : (point.asDouble ?? -1)
            )
          }
        }
      }
    },
    "/v1/traces": (bytes) => {
      const request = strictly(collector.trace.v1.ExportTraceServiceRequest, bytes)
      for (const { resource, scopeSpans } of request.resourceSpans) {
        for (const { name, parentSpanId, spanId, traceId } of scopeSpans.flatMap((scope) => scope.spans)) {
          spans.push({
            node: nodeOf(resource),
            name,
            traceId: hex(traceId),
            spanId: hex(spanId),
            parentSpanId: hex(parentSpanId)
          })
        }
      }
    },
    "/v1/logs": (bytes) => {
      const request = strictly(collector.logs.v1.ExportLogsServiceRequest, bytes)
      for (const { resource, scopeLogs } of request.resourceLogs) {
        for (const { body } of scopeLogs.flatMap(({ logRecords }) => logRecords)) {
          logs.push({ node: nodeOf(resource), text: body.stringValue ?? "" })
        }
      }
    }
  }

  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      try {
        if (request.headers["content-type"] !== "application/x-protobuf") throw new Error("not protobuf")
        take[request.url ?? ""]?.(Buffer.concat(chunks))
        response.writeHead(200, { "content-type": "application/x-protobuf" }).end()
      } catch (cause) {
        problems.push(`${request.url}: ${String(cause)}`)
        response.writeHead(400).end()
      }
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const bound = server.address()
  const port = typeof bound === "object" && bound !== null ? bound.port : 0
  return { url: `http://127.0.0.1:${port}`, spans, logs, values, problems }
})
