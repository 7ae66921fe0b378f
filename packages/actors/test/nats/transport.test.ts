import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Context from "effect/Context"
import { Transport } from "../../src/Transport.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsTransport from "../../src/nats/NatsTransport.ts"
import { transportContract } from "../transport.contract.ts"
import { natsServer } from "./natsServer.ts"

transportContract(
  "NATS",
  Effect.gen(function* () {
    const server = yield* natsServer()
    return {
      connect: (name) =>
        Layer.build(
          NatsTransport.layer.pipe(Layer.provide(NatsConnection.layer({ servers: server.url, name })))
        ).pipe(Effect.map(Context.get(Transport)), Effect.orDie),
      cut: server.kill,
      mend: server.start
    }
  })
)
