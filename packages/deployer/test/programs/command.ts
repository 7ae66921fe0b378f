// One orchestrator call in a process of its own, as another terminal would make it; meant to be killed in the middle.
//   command.ts start|signal INSTANCES RELEASES INSTANCE
import process from "node:process"
import * as Effect from "effect/Effect"
import { layerLocal } from "../../src/orchestrators/local.ts"
import { Orchestrator } from "../../src/Orchestrator.ts"

const [, , verb, instances = "", releases = "", instance = ""] = process.argv

const call = Effect.gen(function* () {
  const orchestrator = yield* Orchestrator
  const result =
    verb === "start"
      ? yield* orchestrator.start({ instance, version: "v1" })
      : yield* orchestrator.signalOnce(instance, "SIGTERM")
  process.stdout.write(`${JSON.stringify(result)}\n`)
})

await Effect.runPromise(Effect.provide(call, layerLocal({ instances, releases })))
