/** Two processes on a nats-server, and the frames that go between them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Msg, NatsConnection as Client } from "nats"
import { subjects } from "../../src/Address.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsTransport from "../../src/nats/NatsTransport.ts"
import { Transport } from "../../src/Transport.ts"
import { type NatsServer, natsServer } from "./natsServer.ts"

export const of = subjects("c")

export const to = (id: string, incarnation = "inc") => of.actor({ kind: "k", id, incarnation })

export const shared = (incarnation = "inc") => `ebb.v1.c.b.${incarnation}`

export const bytes = (text: string) => new TextEncoder().encode(text)

export const text = (data: Uint8Array) => new TextDecoder().decode(data)

export const soon = { timeoutMs: 2_000 }

/** What comes between the question, which nobody waits for, and its answer. */
export const inOneTurn = { concurrency: "unbounded" } as const

export const processOn = Effect.fnUntraced(function* (server: NatsServer, name: string) {
  const services = yield* Layer.build(
    NatsTransport.layer.pipe(Layer.provideMerge(NatsConnection.layer({ servers: server.url, name })))
  ).pipe(Effect.orDie)
  return { transport: Context.get(services, Transport), client: Context.get(services, NatsConnection).client }
})

/** Two processes, and the subjects of all frames that were sent between them. */
export const stage = Effect.gen(function* () {
  const server = yield* natsServer({ jetstream: false })
  const here = yield* processOn(server, "here")
  const there = yield* processOn(server, "there")
  const guard = yield* processOn(server, "guard")
  const passed: Array<Msg> = []
  const watch = Effect.promise(async () => {
    const watching = guard.client.subscribe("ebb.>", {
      callback: (error, passing) => void (error ?? passed.push(passing))
    })
    await guard.client.flush()
    return watching
  })
  const watching = yield* watch
  const seen = Effect.promise(async () => {
    // What this process sends waits for the end of the turn, as what the client sends does.
    await Promise.resolve()
    await here.client.flush()
    await guard.client.flush()
    return passed.splice(0)
  })
  return {
    server,
    here: here.transport,
    there: there.transport,
    client: guard.client,
    hereClient: here.client,
    unwatch: Effect.promise(() => watching.drain()),
    watch,
    /** Since it was asked before. */
    seen,
    subjectsSeen: Effect.map(seen, (all) => all.map(({ subject }) => subject))
  }
})

export const askAll = (transport: Transport["Service"], ids: ReadonlyArray<string>, incarnation?: string) =>
  Effect.forEach(
    ids,
    (id) => Effect.map(transport.request(to(id, incarnation), bytes(id), soon), text),
    inOneTurn
  )

/** Two asks in a turn, until the other side has said that it takes shared frames. */
export const acquaint = (transport: Transport["Service"], client: Client) =>
  Effect.gen(function* () {
    yield* askAll(transport, ["x", "y"])
    yield* Effect.promise(() => client.flush())
  })
