/** What a node sends to a collector, and what becomes of a node whose collector is away or hangs. */
import { expect, it } from "@effect/vitest"
import { connect, headers } from "nats"
import { createServer } from "node:net"
import * as Effect from "effect/Effect"
import { testCluster } from "../support/testCluster.ts"
import { until, untilTrue } from "../support/until.ts"
import { otlpCollector, type SeenSpan } from "./otlpCollector.ts"

it.live("a collector gets metrics, logs, and a command's trace through the processes it went through", () =>
  Effect.gen(function* () {
    const { call, node } = yield* testCluster
    const collector = yield* otlpCollector
    const args = [`--otlp=${collector.url}`, "--log=json"]
    const nodes = yield* Effect.all([node("a", { args }), node("b", { args })], { concurrency: 2 })

    const { nodeId } = yield* call("room.create", { roomId: "talk" })
    yield* untilTrue(() => collector.values.get(`${nodeId} ebb_rooms{}`) === 1)
    yield* untilTrue(() => collector.logs.some(({ text }) => text.includes("node 'a' serves")))

    // Any node answers; sooner or later one that has to ask the owner.
    const [root, handled] = yield* until(
      Effect.map(call("room.get", { roomId: "talk" }), () => acrossProcesses(collector.spans, "room.Get")),
      (found) => found.length === 2
    )
    expect(root).toMatchObject({ name: "control room.get", parentSpanId: "" })
    expect(handled).toMatchObject({ name: "room.Get", parentSpanId: root?.spanId })

    yield* call("room.close", { roomId: "talk" })
    for (const each of nodes) {
      yield* each.signal("SIGTERM")
      expect(yield* each.exited).toMatchObject({ code: 0 })
    }
    // The last of what there was goes with the end.
    expect(collector.logs.map(({ node, text }) => `${node}: ${text}`)).toContain(
      "a: node 'a' ended by itself: drained"
    )
    const closed = ["a", "b"].map((each) =>
      collector.values.get(`${each} ebb_commands_total{command=room.close,outcome=ok}`)
    )
    expect(closed.filter((count) => count !== undefined)).toEqual([1])
    expect(collector.problems).toEqual([])

    const [a] = nodes
    const lines = a?.lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    const last = lines?.find(({ message }) => String(message).includes("ended by itself"))
    expect(last).toMatchObject({ level: "INFO", node: "a", cluster: "test", incarnation: a?.incarnation })
  })
)

it.live("a command's span hangs on its asker's, when the request says which that is and wants it seen", () =>
  Effect.gen(function* () {
    const { nats, node } = yield* testCluster
    const collector = yield* otlpCollector
    yield* node("a", { args: [`--otlp=${collector.url}`] })
    const client = yield* Effect.acquireRelease(
      Effect.promise(() => connect({ servers: nats.address })),
      (open) => Effect.promise(() => open.close())
    )
    const command = (traceparent: string) =>
      Effect.promise(() => {
        const told = headers()
        told.set("traceparent", traceparent)
        return client.request("ebb.v1.test.ctl.node.list", new Uint8Array(), {
          headers: told,
          timeout: 5_000
        })
      })
    const trace = (first: string) => first.repeat(32)
    const span = "00f067aa0ba902b7"
    yield* command(`00-${trace("a")}-${span}-00`)
    yield* command(`00-${trace("b")}-${span}-01`)
    yield* command(`00-${trace("0")}-${span}-01`)
    yield* command("no trace")
    const commands = Effect.sync(() => collector.spans.filter(({ name }) => name === "control node.list"))
    const seen = yield* until(commands, (spans) => spans.length >= 3)
    expect(seen.map(({ parentSpanId }) => parentSpanId)).toEqual([span, "", ""])
    expect(seen[0]?.traceId).toBe(trace("b"))
    expect(collector.problems).toEqual([])
  })
)

it.live("a collector that is away is said once and holds nothing up; one that hangs neither", () =>
  Effect.gen(function* () {
    const { call, node } = yield* testCluster
    const hanging = yield* deafPort
    const a = yield* node("a", { args: ["--otlp=http://127.0.0.1:1"] })
    const b = yield* node("b", { args: [`--otlp=http://127.0.0.1:${hanging}`] })
    yield* a.says(/the OTLP collector does not take what it is sent/)
    yield* b.says(/the OTLP collector does not take what it is sent: .*no answer in time/)
    yield* call("room.create", { roomId: "talk" })
    yield* call("room.close", { roomId: "talk" })
    for (const each of [a, b]) {
      yield* each.signal("SIGTERM")
      expect(yield* each.exited).toMatchObject({ code: 0 })
      expect(each.lines.filter((line) => line.includes("OTLP collector"))).toHaveLength(1)
    }
  })
)

/** A command's root span at one node, and the span of whoever handled it at another. */
const acrossProcesses = (spans: ReadonlyArray<SeenSpan>, message: string) => {
  for (const handled of spans.filter(({ name }) => name === message)) {
    const root = spans.find(({ parentSpanId, traceId }) => traceId === handled.traceId && parentSpanId === "")
    if (root !== undefined && root.node !== handled.node) return [root, handled]
  }
  return []
}

/** Takes connections and says nothing. */
const deafPort = Effect.map(
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((socket) => void socket.on("error", () => {}).resume())
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => void server.close())
  ),
  (server) => {
    const bound = server.address()
    return typeof bound === "object" && bound !== null ? bound.port : 0
  }
)
