/**
 * Asks, tells, births and ends in one process, against an entity of `effect/cluster`, nact, and Effect's own parts. Nobody waits for anything
 * but the processor here, so a second is one that the thread was given: the same as by the clock, but for other programs.
 */
import * as Effect from "effect/Effect"
import { startContender, type StartOptions } from "../Contender.ts"
import { type Effort, heat } from "../heat.ts"
import { compared, type Figure, type Rounds } from "../Row.ts"
import type { Figures, Task } from "../Task.ts"
import type { Group, GroupContext } from "./Group.ts"

const files = {
  ebb: "localEbb",
  "effect-entity": "localEntity",
  nact: "localNact",
  "effect-queue": "localQueue"
} as const
type Name = keyof typeof files
const peers = ["effect-entity", "nact", "effect-queue"] as const

const start = (name: Name, { execArgv }: GroupContext) => {
  const options: StartOptions = name === "ebb" ? { execArgv } : {}
  return startContender(name, files[name], [], options)
}

const heatOfAll = Effect.fnUntraced(function* (context: GroupContext, effort: Effort, task: Task) {
  const names: ReadonlyArray<Name> = ["ebb", ...peers]
  const contenders = yield* Effect.forEach(names, (name) => start(name, context))
  return yield* heat(contenders, effort, task)
})

const perSecond = (unit: string): Figure => ({ name: "perCpuSecond", unit, better: "more" })

export const ask = (inFlight: number): Group => {
  const name = inFlight === 1 ? "ask-local" : `ask-local-${inFlight}`
  return {
    name,
    run: Effect.fnUntraced(function* (context) {
      const { effort } = context
      const of = yield* heatOfAll(context, effort, { name: "ask", inFlight, forMs: effort.turnMs })
      return peers.map((peer) => compared(`${name}/${peer}`, perSecond("asks/s"), of("ebb"), of(peer)))
    })
  }
}

export const tell: Group = {
  name: "tell-local",
  run: Effect.fnUntraced(function* (context) {
    const { effort } = context
    const of = yield* heatOfAll(context, effort, { name: "tell", forMs: effort.turnMs })
    return peers.map((peer) => compared(`tell-local/${peer}`, perSecond("tells/s"), of("ebb"), of(peer)))
  })
}

const born: Figure = { name: "bornPerSecond", unit: "actors/s", better: "more" }
const stopped: Figure = { name: "stoppedPerSecond", unit: "actors/s", better: "more" }

export const spawn: Group = {
  name: "spawn",
  run: Effect.fnUntraced(function* (context) {
    const of = yield* heatOfAll(context, context.effort, { name: "spawn", count: 2000 })
    return [
      ...peers.map((peer) => compared(`spawn/${peer}`, born, of("ebb"), of(peer))),
      // An entity cannot be stopped by itself.
      ...(["nact", "effect-queue"] as const).map((peer) =>
        compared(`stop/${peer}`, stopped, of("ebb"), of(peer))
      )
    ]
  })
}

const bytesEach: Figure = { name: "bytesEach", unit: "bytes", better: "less" }

/** A heap is measured once: each sample has a new process. */
export const bytes: Group = {
  name: "bytes-per-actor",
  run: Effect.fnUntraced(function* (context) {
    const rounds = Math.max(2, Math.round(context.effort.rounds / 3))
    const sample = (name: Name): Effect.Effect<Figures> =>
      Effect.scoped(
        Effect.flatMap(start(name, context), (contender) => contender.does({ name: "bytes", count: 10_000 }))
      )
    const seen = new Map<Name, Rounds>()
    for (const name of ["ebb", ...peers] as const) {
      seen.set(name, yield* Effect.replicateEffect(sample(name), rounds))
    }
    const of = (name: Name) => seen.get(name) ?? []
    return peers.map((peer) => compared(`bytes-per-actor/${peer}`, bytesEach, of("ebb"), of(peer)))
  })
}
