import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { EventLog } from "../../src/EventLog.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsEventLog from "../../src/nats/NatsEventLog.ts"
import { eventLogContract } from "../eventLog.contract.ts"
import { natsServer } from "./natsServer.ts"

eventLogContract(
  "a JetStream stream",
  Effect.gen(function* () {
    const server = yield* natsServer()
    return {
      connect: (name) =>
        Layer.build(
          NatsEventLog.layer({ cluster: "test", log: "rollout" }).pipe(
            Layer.provide(NatsConnection.layer({ servers: server.url, name }))
          )
        ).pipe(Effect.map(Context.get(EventLog)), Effect.orDie),
      cut: server.kill,
      mend: server.start
    }
  })
)
