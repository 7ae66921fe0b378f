/**
 * A spawn flood while SIGTERM arrives: no caller sees a failure, and each room exists exactly once. EBB_FLOOD_RUNS runs (default 6) from
 * EBB_FLOOD_SEED, 200 rooms each.
 */
import * as Effect from "effect/Effect"
import { expect, it } from "@effect/vitest"
import { seededRandom } from "@ebb/actors/testing"
import { testCluster } from "../support/testCluster.ts"
import { nodePool } from "./nodePool.ts"
import { type Fault, spawnFlood } from "./spawnFlood.ts"

const runs = Number(process.env["EBB_FLOOD_RUNS"] ?? 6)
const seed = Number(process.env["EBB_FLOOD_SEED"] ?? 20_241_123)

/** In turn. */
const faults: ReadonlyArray<Fault> = [
  ...(["none", "stop", "kill", "none", "takeover", "none"] as const),
  ...(["stop", "none", "kill", "none"] as const)
]

it.live(
  `${runs} floods of 200 rooms, each with a SIGTERM: no caller sees a failure, none vanishes, none is double`,
  () =>
    Effect.gen(function* () {
      const cluster = yield* testCluster
      const pool = yield* nodePool(cluster, 3)
      for (let run = 0; run < runs; run++) {
        const fault = faults[run % faults.length] ?? "none"
        const name = `r${run}`
        const began = performance.now()
        const flood = yield* spawnFlood(cluster, pool, {
          name,
          rooms: 200,
          fault,
          random: seededRandom(seed + run)
        })
        const { createdAgain, failed, slowestMs, superseded, wrong } = flood
        const seconds = ((performance.now() - began) / 1000).toFixed(1)
        yield* Effect.logInfo(
          `run ${run} (seed ${seed + run}, ${fault}): 200 rooms in ${seconds} s, slowest ${Math.round(slowestMs)} ms, ` +
            `${failed.length} failed, ${wrong.length} wrong, ${createdAgain} created again, ${superseded} superseded`
        )
        expect({ run, failed, wrong }).toEqual({ run, failed: [], wrong: [] })
        if (fault === "takeover") expect(superseded).toBe(createdAgain)
        expect(flood.exitCode).toBe(0)
      }
    }).pipe(Effect.scoped),
  60_000 + runs * 45_000
)
