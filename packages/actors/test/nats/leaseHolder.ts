/** A process that holds a lease, for a test to stop: says `held` and `resumed`, and answers each line with `fresh` or `isolated`. */
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { hold } from "../../src/Lease.ts"
import * as Nats from "../../src/nats/Nats.ts"
import { LeaseTimes } from "../../src/NodeLease.ts"
import { body } from "../cluster.ts"
import { quietly } from "../quietly.ts"

const [url = "", times = ""] = process.argv.slice(2)
const say = (word: string) => process.stdout.write(`${word}\n`)

await Effect.gen(function* () {
  const lease = yield* hold({ nodeId: "held", incarnation: "inc-1", initial: body({ pid: process.pid }) })
  yield* Effect.forkScoped(Stream.runForEach(lease.resumed, () => Effect.sync(() => say("resumed"))))
  say("held")
  yield* Stream.fromAsyncIterable(createInterface({ input: process.stdin }), String).pipe(
    Stream.runForEach(() =>
      Effect.map(Effect.result(lease.assertFresh), (fresh) =>
        say(Result.isSuccess(fresh) ? "fresh" : "isolated")
      )
    )
  )
}).pipe(
  Effect.provide(Nats.layer({ servers: url, name: "holder", cluster: "test" })),
  Effect.provideService(LeaseTimes, JSON.parse(times)),
  Effect.scoped,
  quietly,
  Effect.runPromise
)
