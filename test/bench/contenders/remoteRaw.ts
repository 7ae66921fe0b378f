/** The client `nats` with MessagePack and nothing else: what the network costs whoever builds on it. */
import { Decoder, Encoder } from "@msgpack/msgpack"
import { connect } from "nats"
import { askWithPromises } from "./loops.ts"
import { type Heard, type Report, report } from "./report.ts"
import { serve } from "./serve.ts"

const [role = "", nats = ""] = process.argv.slice(2)
const encoder = new Encoder()
const decoder = new Decoder()
const client = await connect({ servers: nats, noAsyncTraces: true })

if (role === "server") {
  let reports = 0
  client.subscribe("bench.report", {
    callback: (error, asked) => {
      if (error !== null) throw error
      const { sequence } = decoder.decode(asked.data) as Report
      const heard: Heard = { sequence, reports: ++reports }
      asked.respond(encoder.encode(heard))
    }
  })
  await client.flush()
  serve({})
} else {
  let sequence = 0
  const ask = async () => {
    const answer = await client.request("bench.report", encoder.encode(report(++sequence)), { timeout: 5000 })
    return decoder.decode(answer.data) as Heard
  }
  serve({ ask: (task) => askWithPromises(task, ask) })
}
