/**
 * An entity of `effect/cluster` in one process, at its lightest: no storage, and no encoding of what stays in the process (which is
 * on by default there, to find what could not be sent).
 */
import * as Entity from "effect/cluster/Entity"
import * as MessageStorage from "effect/cluster/MessageStorage"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { Figures, Task } from "../Task.ts"
import { askWithEffect, Handled, heapBytes, newAdder, stopwatch, tellWithEffect } from "./loops.ts"
import { serve } from "./serve.ts"

const Counter = Entity.make("Counter", [
  Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int })
])

const handled = new Handled()

const counter = Counter.toLayer(
  Effect.gen(function* () {
    const { entityId } = yield* Entity.CurrentAddress
    const adder = entityId === "one" ? handled : newAdder()
    return { Add: ({ payload }) => Effect.sync(() => adder.add(payload.by)) }
  }),
  { maxIdleTime: "1 hour" }
)

const cluster = counter.pipe(
  Layer.provideMerge(Sharding.layer),
  Layer.provide(Runners.layerNoop),
  Layer.provide(MessageStorage.layerNoop),
  Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
  Layer.provide(
    ShardingConfig.layer({ simulateRemoteSerialization: false, maxResidentEntities: "unbounded" })
  ),
  Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Error"))
)

const newRuntime = async () => {
  const runtime = ManagedRuntime.make(cluster)
  const client = await runtime.runPromise(Counter.client)
  // Its shards are acquired when this is answered.
  await runtime.runPromise(client("first").Add({ by: 1 }))
  return { runtime, client }
}

const { client, runtime } = await newRuntime()
const one = client("one")

const born = async ({ client, runtime }: Awaited<ReturnType<typeof newRuntime>>, count: number) =>
  runtime.runPromise(
    Effect.forEach(
      Array.from({ length: count }, (_, number) => `child-${number}`),
      (id) => client(id).Add({ by: 1 }),
      { concurrency: "unbounded", discard: true }
    )
  )

// Its entities cannot be stopped one by one: they go with their runner, and that is not measured.
const spawn = async ({ count }: Extract<Task, { name: "spawn" }>): Promise<Figures> => {
  const own = await newRuntime()
  const birth = stopwatch()
  await born(own, count)
  const bornPerSecond = birth.rates(count).perCpuSecond
  await own.runtime.dispose()
  return { bornPerSecond }
}

const bytes = async ({ count }: Extract<Task, { name: "bytes" }>): Promise<Figures> => {
  const first = await newRuntime()
  await born(first, 100)
  const other = await newRuntime()
  const before = await heapBytes()
  await born(other, count)
  return { bytesEach: ((await heapBytes()) - before) / count }
}

serve({
  ask: (task) => runtime.runPromise(askWithEffect(task, (by) => one.Add({ by }))),
  tell: (task) =>
    runtime.runPromise(tellWithEffect(task, handled, (by) => one.Add({ by }, { discard: true }))),
  spawn,
  bytes
})
