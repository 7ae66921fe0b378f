/** Asks over NATS between two processes, against the client `nats` itself and against Moleculer. */
import * as Effect from "effect/Effect"
import { natsServer } from "../../support/natsServer.ts"
import { startContender } from "../Contender.ts"
import { heat } from "../heat.ts"
import { compared, type Figure } from "../Row.ts"
import type { Group } from "./Group.ts"

const throughput: Figure = { name: "perSecond", unit: "asks/s", better: "more" }
const latency: Figure = { name: "medianUs", unit: "us, median", better: "less" }

export const remote = (inFlight: number): Group => ({
  name: `ask-remote-${inFlight}`,
  run: Effect.fnUntraced(function* ({ effort, execArgv }) {
    const nats = (yield* natsServer).address
    const pair = Effect.fnUntraced(function* (name: string, file: string) {
      const options = name === "ebb" ? { execArgv } : {}
      const { address } = yield* startContender(name, file, ["server", nats], options)
      return yield* startContender(name, file, ["client", nats, address], options)
    })
    const contenders = [
      yield* pair("ebb", "remoteEbb"),
      yield* pair("raw-nats", "remoteRaw"),
      yield* pair("moleculer", "remoteMoleculer")
    ]
    const of = yield* heat(contenders, effort, { name: "ask", inFlight, forMs: effort.turnMs })
    return ["raw-nats", "moleculer"].flatMap((peer) => [
      compared(`ask-remote-${inFlight}/${peer}`, throughput, of("ebb"), of(peer)),
      compared(`ask-remote-${inFlight}-latency/${peer}`, latency, of("ebb"), of(peer))
    ])
  })
})
