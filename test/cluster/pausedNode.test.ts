/**
 * A node is paused by SIGSTOP for 3 s, far less than its lease lets it act, while the cluster goes on. What it finds waiting in its socket is
 * older than what was done since through another node, and changes nothing: no live room is cut, no closed one comes back.
 */
import { encode } from "@msgpack/msgpack"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { expect, it } from "@effect/vitest"
import { rawClient } from "../control/rawClient.ts"
import { testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const pauseMs = 3_000
/** A try is sent again when it has had no answer for so long. Those that the paused node got wait for it. */
const againMs = 200

it.live("a node that was paused for 3 s neither cuts nor opens a room by the commands it finds waiting", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const a = yield* cluster.node("a")
    const b = yield* cluster.node("b")
    const raw = yield* rawClient(cluster.nats.address, 30_000)
    yield* call("node.cordon", { nodeId: "a" })
    yield* until(call("node.list", undefined), ({ nodes }) =>
      nodes.some(({ admission }) => admission === "cordoned")
    )
    const live = Array.from({ length: 10 }, (_, n) => `live-${n}`)
    const brief = Array.from({ length: 10 }, (_, n) => `brief-${n}`)
    yield* Effect.forEach(live, (roomId) => call("room.create", { roomId }))

    const tries: Array<Fiber.Fiber<Readonly<Record<string, unknown>>>> = []
    /** Sent again and again until a node answers; what was not answered meanwhile is kept, to see what becomes of it. */
    const persist = Effect.fnUntraced(function* (command: string, roomId: string) {
      while (true) {
        const asked = yield* Effect.forkScoped(raw.ask(`ebb.v1.test.ctl.${command}`, encode({ roomId })))
        const answer = yield* Effect.timeoutOption(Fiber.join(asked), againMs)
        if (answer._tag === "Some") return answer.value
        tries.push(asked)
      }
    })
    const ageOf = (roomId: string) => Effect.map(call("room.get", { roomId }), ({ ageMs }) => ageMs)

    yield* a.signal("SIGSTOP")
    const stoppedMs = performance.now()
    const reopened = yield* Effect.forEach(
      live,
      (roomId) => Effect.andThen(persist("room.close", roomId), persist("room.create", roomId)),
      { concurrency: "unbounded" }
    )
    yield* Effect.forEach(
      brief,
      (roomId) => Effect.andThen(persist("room.create", roomId), persist("room.close", roomId)),
      { concurrency: "unbounded" }
    )
    // Half of all tries went to the paused node.
    const waiting = tries.filter((asked) => asked.pollUnsafe() === undefined)
    expect(waiting.length).toBeGreaterThan(10)
    expect(reopened).toMatchObject(live.map(() => ({ ok: { nodeId: "b" } })))
    yield* Effect.sleep(pauseMs - (performance.now() - stoppedMs))
    const continuedMs = performance.now()
    yield* a.signal("SIGCONT")

    const late = yield* Effect.forEach(waiting, Fiber.join)
    for (const answer of late) {
      expect(answer).toMatchObject({ error: { _tag: "NodeIsolated", nodeId: "a", retry: "safe" } })
    }
    const { rooms } = yield* call("room.list", {})
    expect(rooms).toEqual(live.map((roomId) => ({ roomId, nodeId: "b", lost: false })))
    for (const ageMs of yield* Effect.forEach(live, ageOf)) {
      // The rooms that were opened during the pause, not others of their names.
      expect(ageMs).toBeGreaterThan(performance.now() - continuedMs)
    }
    yield* Effect.logInfo(
      `${late.length} old commands refused after a pause of ${Math.round(continuedMs - stoppedMs)} ms`
    )

    // It obeys again, and nothing holds its drain.
    yield* call("node.uncordon", { nodeId: "a" })
    yield* call("room.create", { roomId: "next" })
    yield* a.signal("SIGTERM")
    yield* call("room.close", { roomId: "next" })
    expect((yield* a.exited).code).toBe(0)
    expect(b.isRunning()).toBe(true)
  })
)
