import { assert, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { connect } from "node:net"
import type { NodeAxes } from "../../src/nodeReadiness.ts"
import { serveMetrics } from "../../src/observability/MetricsServer.ts"

const serving: NodeAxes = { life: "Serving", admission: "open", control: "connected" }

const served = Effect.fnUntraced(function* (state: () => NodeAxes | undefined = () => serving) {
  const registry: Metric.MetricRegistry = new Map()
  yield* Effect.provideService(
    Metric.update(Metric.counter("things_total", { description: "Things" }), 3),
    Metric.MetricRegistry,
    registry
  )
  const { address } = yield* serveMetrics({ port: 0, state }).pipe(
    Effect.provideService(Metric.MetricRegistry, registry)
  )
  const get = (path: string, init?: RequestInit) =>
    Effect.promise(async () => {
      const response = await fetch(`http://${address}${path}`, init)
      return {
        status: response.status,
        type: response.headers.get("content-type"),
        text: await response.text()
      }
    })
  return { address, get }
})

/** Sends bytes as they are; what comes back until the other side is done. */
const raw = (address: string, bytes: string | Uint8Array) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve) => {
        const socket = connect(Number(address.split(":")[1]), "127.0.0.1")
        let got = ""
        socket.on("data", (data) => (got += data.toString("latin1")))
        socket.on("error", () => {})
        socket.on("close", () => resolve(got))
        socket.write(bytes)
      })
  )

it.live("metrics are in Prometheus' text format, by GET and HEAD", () =>
  Effect.gen(function* () {
    const { get } = yield* served()
    expect(yield* get("/metrics?x=1")).toEqual({
      status: 200,
      type: "text/plain; version=0.0.4; charset=utf-8",
      text: "# HELP things_total Things\n# TYPE things_total counter\nthings_total 3\n"
    })
    expect(yield* get("/metrics", { method: "HEAD" })).toMatchObject({ status: 200, text: "" })
  })
)

it.live("a node is alive in every state, and ready while it takes new rooms", () =>
  Effect.gen(function* () {
    let state: NodeAxes | undefined
    const { get } = yield* served(() => state)
    const both = Effect.map(
      Effect.all([get("/healthz"), get("/readyz")]),
      ([{ status: alive }, { status: ready, text }]) => ({ alive, ready, text: text.trim() })
    )
    expect(yield* both).toEqual({ alive: 200, ready: 503, text: "not ready for new rooms: life=Starting" })
    state = serving
    expect(yield* both).toMatchObject({ alive: 200, ready: 200 })
    state = { ...serving, admission: "cordoned" }
    expect(yield* both).toMatchObject({ alive: 200, ready: 200 })
    state = { ...serving, control: "isolated" }
    expect(yield* both).toMatchObject({ alive: 200, ready: 503 })
    state = { life: "Draining", admission: "closed", control: "connected" }
    expect(yield* both).toEqual({
      alive: 200,
      ready: 503,
      text: "not ready for new rooms: life=Draining admission=closed control=connected"
    })
  })
)

it.live("any request is answered or cut off, and the next one is served", () =>
  Effect.gen(function* () {
    const { address, get } = yield* served()
    expect(yield* get("/")).toMatchObject({ status: 404 })
    expect(yield* get("/__proto__")).toMatchObject({ status: 404 })
    expect(yield* get("/../../etc/passwd")).toMatchObject({ status: 404 })
    expect(yield* get("/metrics", { method: "DELETE" })).toMatchObject({ status: 405 })
    expect(yield* get("/metrics", { method: "POST", body: "x".repeat(1_000_000) })).toMatchObject({
      status: 405
    })
    for (const bytes of ["\r\n\r\nno http\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", Buffer.alloc(65_536, 255)]) {
      expect(yield* raw(address, bytes)).toMatch(/^HTTP\/1\.1 400 /)
    }
    const huge = `GET /metrics HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(100_000)}\r\n\r\n`
    expect(yield* raw(address, huge)).toMatch(/^HTTP\/1\.1 4\d\d /)
    const many = yield* Effect.forEach(Array.from({ length: 200 }), () => Effect.exit(get("/healthz")), {
      concurrency: "unbounded"
    })
    assert.isAtLeast(many.filter((exit) => exit._tag === "Success").length, 1)
    expect(yield* get("/metrics")).toMatchObject({ status: 200 })
  })
)

it.live("a metric that cannot be read is an answer too", () =>
  Effect.gen(function* () {
    const registry: Metric.MetricRegistry = new Map()
    const broken = () => assert.fail("broken")
    const hooks = { get: broken, update: () => {}, modify: () => {} }
    Metric.registerUnsafe(Metric.gauge("broken"), Context.make(Metric.MetricRegistry, registry), hooks)
    const { address } = yield* serveMetrics({ port: 0, state: () => serving }).pipe(
      Effect.provideService(Metric.MetricRegistry, registry)
    )
    const response = yield* Effect.promise(() => fetch(`http://${address}/metrics`))
    expect(response.status).toBe(500)
  })
)

it.live("a port that somebody has is a typed error", () =>
  Effect.gen(function* () {
    const { address } = yield* served()
    const port = Number(address.split(":")[1])
    const error = yield* Effect.flip(serveMetrics({ port, state: () => serving }))
    expect(error).toMatchObject({ _tag: "MetricsPortUnavailable", port, retry: "never" })
  })
)
