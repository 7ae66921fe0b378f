/**
 * A host of two nodes, run by the test: it has a SIGTERM listener of its own, and says on lines of JSON what its process looks like. It does
 * what it is told on its standard input (`drain a`), and leaves it to Node when the process ends.
 */
import { createInterface } from "node:readline"

const say = (what: string, more: object = {}) =>
  void process.stdout.write(`${JSON.stringify({ what, ...more })}\n`)

process.on("SIGTERM", () => say("heard SIGTERM"))
const input = createInterface({ input: process.stdin })
const words = input[Symbol.asyncIterator]()

const state = () => ({
  listeners: Object.fromEntries(
    process.eventNames().map((event) => [String(event), process.listenerCount(event)])
  ),
  maxListeners: process.getMaxListeners(),
  environment: Object.keys(process.env).toSorted()
})
say("before", state())

// Loaded only now: loading it must not touch the process either.
const { startNode } = await import("@ebb/media")
const [nats = "", dataDir = ""] = process.argv.slice(2)
const options = { cluster: "test", nats: { servers: nats }, dataDir, media: { workers: 1 } }

const failure: unknown = await startNode({
  ...options,
  nodeId: "none",
  nats: { servers: "127.0.0.1:1" }
}).catch((error: unknown) => error)
say("failed", { error: failure, ...state() })

const [a, b] = await Promise.all([
  startNode({ ...options, nodeId: "a" }),
  startNode({ ...options, nodeId: "b" })
])
say("serve", { ...state(), pid: process.pid })

for (const node of [a, b]) void node.ended.then((end) => say(`${node.nodeId} ended`, { end, ...state() }))

const commands: Readonly<Record<string, (node: typeof a) => unknown>> = {
  drainOnSignals: (node) => {
    node.drainOnSignals()
    say("listens", state())
  },
  drain: (node) => node.drain({ reason: "a test" }),
  report: async (node) => say(`report of ${node.nodeId}`, { life: (await node.report()).life }),
  close: (node) => node.close()
}
for (let next = await words.next(); next.done !== true; next = await words.next()) {
  const [command = "", nodeId] = next.value.split(" ")
  await commands[command]?.(nodeId === "a" ? a : b)
}
