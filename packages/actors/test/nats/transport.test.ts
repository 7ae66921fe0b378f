import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Layer from "effect/Layer"
import * as Context from "effect/Context"
import { type Frame, Transport } from "../../src/Transport.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsTransport from "../../src/nats/NatsTransport.ts"
import { transportContract } from "../transport.contract.ts"
import { quietly } from "../quietly.ts"
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
      mend: server.start,
      pausedWhile: (_, send) =>
        Effect.gen(function* () {
          yield* send
          // The server has it when this process stops.
          yield* Effect.promise(() => new Promise<void>((written) => queueMicrotask(written)))
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
        })
    }
  })
)

it.live("whoever leaves a queue group answers what the server gave him before it knew", () =>
  Effect.gen(function* () {
    const server = yield* natsServer()
    const connect = (name: string) =>
      Layer.build(
        NatsTransport.layer.pipe(Layer.provide(NatsConnection.layer({ servers: server.url, name })))
      ).pipe(Effect.map(Context.get(Transport)))
    const [asker, stayer, leaver] = [
      yield* connect("asker"),
      yield* connect("stayer"),
      yield* connect("leaver")
    ]
    const answer = (frame: Frame) => frame.respond?.(frame.data)
    yield* stayer.subscribe("work", answer, { queue: "workers" })
    for (let round = 0; round < 20; round++) {
      const scope = yield* Scope.make()
      yield* leaver.subscribe("work", answer, { queue: "workers" }).pipe(Scope.provide(scope))
      const asked = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 200 }),
          () => asker.request("work", new Uint8Array(1), { timeoutMs: 2_000 }),
          { concurrency: 50 }
        )
      )
      yield* Effect.sleep(round % 5)
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(asked)
    }
  }).pipe(quietly)
)

it.live("an answer goes to an inbox and nowhere else: it goes with the rights of whoever answers", () =>
  Effect.gen(function* () {
    const server = yield* natsServer()
    const services = yield* Layer.build(
      NatsTransport.layer.pipe(
        Layer.provideMerge(NatsConnection.layer({ servers: server.url, name: "node" }))
      )
    )
    const transport = Context.get(services, Transport)
    const { client } = Context.get(services, NatsConnection)
    const frames = yield* Queue.unbounded<Frame>()
    yield* transport.subscribe("work", (frame) => void Queue.offerUnsafe(frames, frame))
    for (const reply of ["$KV.ebb_local_leases.a", "ebb.v1.local.sys.b", "_INBOXES.c"]) {
      client.publish("work", new Uint8Array(1), { reply })
      expect((yield* Queue.take(frames)).respond).toBeUndefined()
    }
    for (const reply of ["_INBOX.a", "_INBOX_control.b.c"]) {
      client.publish("work", new Uint8Array(1), { reply })
      expect((yield* Queue.take(frames)).respond).toBeDefined()
    }
  }).pipe(quietly)
)
