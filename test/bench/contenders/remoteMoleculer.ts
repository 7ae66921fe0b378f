/** Moleculer with its NATS transporter and its MsgPack serializer; what it can do without is off. */
import { ServiceBroker } from "moleculer"
import { askWithPromises } from "./loops.ts"
import { type Heard, type Report, report } from "./report.ts"
import { serve } from "./serve.ts"

const [role = "", nats = ""] = process.argv.slice(2)
const broker = new ServiceBroker({
  namespace: "bench",
  nodeID: role,
  transporter: { type: "NATS", options: { url: `nats://${nats}` } },
  serializer: "MsgPack",
  requestTimeout: 5000,
  logger: false,
  metrics: false,
  tracing: false,
  validator: false
})

if (role === "server") {
  let reports = 0
  broker.createService({
    name: "desk",
    actions: {
      report: ({ params }: { params: Report }): Heard => ({ sequence: params.sequence, reports: ++reports })
    }
  })
  await broker.start()
  serve({})
} else {
  await broker.start()
  await broker.waitForServices("desk")
  let sequence = 0
  serve({ ask: (task) => askWithPromises(task, () => broker.call("desk.report", report(++sequence))) })
}
