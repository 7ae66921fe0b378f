/**
 * A host process for an engine, run by the signal tests: one room, one producer, one consumer to the port given as its
 * argument. It says on one line what it made, and what its own `process` listeners and environment were before and after.
 * As a host that drains would, it takes SIGTERM and SIGINT; the engine must not.
 */
import * as Effect from "effect/Effect"

const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`)

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    say({ signal })
  })
}

const hostState = () => ({
  listeners: process.eventNames().map((event) => `${String(event)} ${process.listenerCount(event)}`),
  maxListeners: process.getMaxListeners(),
  environment: Object.keys(process.env).toSorted()
})

const before = hostState()
// Loaded only now: importing mediasoup must not add a listener either.
const { makeEngine, audio } = await import("./engineFixture.ts")

await Effect.gen(function* () {
  const engine = yield* makeEngine({ workers: 2 })
  const room = yield* engine.openRoom("room-1")
  const producer = yield* room.addRtpProducer(audio)
  yield* room.addRtpConsumer({
    consumerId: "c",
    producerId: audio.producerId,
    ip: "127.0.0.1",
    port: Number(process.argv[2])
  })
  const workers = (yield* engine.workers).flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  say({ port: producer.port, workers, before, after: hostState() })
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.runPromise)
