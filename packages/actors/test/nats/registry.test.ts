import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsRegistry from "../../src/nats/NatsRegistry.ts"
import { Registry } from "../../src/Registry.ts"
import { registryContract } from "../registry.contract.ts"
import { natsServer } from "./natsServer.ts"

registryContract(
  "JetStream KV",
  Effect.gen(function* () {
    const server = yield* natsServer()
    return {
      connect: (name) =>
        Layer.build(
          NatsRegistry.layer({ cluster: "test" }).pipe(
            Layer.provide(NatsConnection.layer({ servers: server.url, name }))
          )
        ).pipe(Effect.map(Context.get(Registry)), Effect.orDie),
      cut: server.kill,
      mend: server.start,
      loseStore: server.loseStore,
      hang: server.pause,
      resume: server.resume
    }
  })
)
