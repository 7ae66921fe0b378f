/** Ours over NATS. `server NATS`: one actor. `client NATS INCARNATION`: asks it. */
import { ActorSystem, define, layerNats, message, protocol } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { askWithEffect } from "./loops.ts"
import { report } from "./report.ts"
import { serve } from "./serve.ts"

const Desk = protocol(
  message("Report", {
    payload: {
      roomId: Schema.String,
      peerId: Schema.String,
      producerId: Schema.String,
      sequence: Schema.Int,
      bitrate: Schema.Int,
      lostPackets: Schema.Int,
      muted: Schema.Boolean
    },
    success: Schema.Struct({ sequence: Schema.Int, reports: Schema.Int })
  })
)

const desk = define("desk", Desk, () =>
  Effect.sync(() => {
    let reports = 0
    return { Report: ({ sequence }) => Effect.sync(() => ({ sequence, reports: ++reports })) }
  })
)

const [role = "", nats = "", incarnation = ""] = process.argv.slice(2)
const runtime = ManagedRuntime.make(
  ActorSystem.layer({ cluster: "bench", nodeId: role }).pipe(
    Layer.provide(layerNats({ servers: nats, name: `bench-${role}`, cluster: "bench" })),
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Error"))
  )
)
const system = await runtime.runPromise(ActorSystem)

if (role === "server") {
  const spawned = await runtime.runPromise(system.spawn(desk, "one", undefined))
  await runtime.runPromise(spawned.started)
  serve({}, system.incarnation)
} else {
  const ref = system.ref(Desk, { kind: "desk", id: "one", incarnation })
  let sequence = 0
  serve({
    ask: (task) => runtime.runPromise(askWithEffect(task, () => ref.ask("Report", report(++sequence))))
  })
}
