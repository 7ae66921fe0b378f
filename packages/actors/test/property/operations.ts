/**
 * What can happen in a run, as plain data, and how often. Any part of a run is a run: an operation that finds nothing to work on does
 * nothing. So a run that fails can be made shorter by leaving things out.
 */
import * as fc from "fast-check"

/** Of a cluster of fewer, those are meant that come round to. */
export const nodeIds = ["a", "b", "c", "d"] as const
const roomIds = ["r1", "r2", "r3"]

/** Picks one of what there is, whatever that is. */
const pick = fc.nat({ max: 999 })
const node = fc.nat({ max: 11 })
/** Milliseconds of a fault: shorter and longer than a try, a renewal, a lease, a death. */
const lasting = fc.oneof(
  fc.integer({ min: 0, max: 900 }),
  fc.integer({ min: 900, max: 6_000 }),
  fc.integer({ min: 6_000, max: 45_000 })
)
const passing = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 300 }) },
  { weight: 3, arbitrary: fc.integer({ min: 300, max: 5_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 5_000, max: 25_000 }) }
)
const kind = fc.constantFrom("room", "room", "recording")

const operation = <T extends string, A extends object>(
  weight: number,
  type: T,
  fields: { [K in keyof A]: fc.Arbitrary<A[K]> }
) => ({
  weight,
  arbitrary: fc.record({ type: fc.constant(type), ...fields }) as unknown as fc.Arbitrary<
    { readonly type: T } & Readonly<A>
  >
})

/** Each is followed by `passing` milliseconds. */
const operations = fc.oneof(
  operation(20, "open", {
    by: node,
    on: node,
    kind,
    id: fc.constantFrom(...roomIds),
    holds: fc.constantFrom<"serving" | "sealing">("serving", "serving", "sealing"),
    prefer: fc.boolean(),
    restart: fc.boolean()
  }),
  operation(30, "send", {
    by: node,
    to: pick,
    tag: fc.constantFrom<"Put" | "PutBeside" | "Crash" | "End">(
      "Put",
      "Put",
      "Put",
      "Put",
      "PutBeside",
      "PutBeside",
      "Crash",
      "End"
    ),
    ask: fc.boolean(),
    timeoutMs: fc.constantFrom(50, 1_000, 5_000, 20_000),
    /** How long its handler takes. */
    ms: fc.constantFrom(0, 0, 0, 100, 3_000, 30_000),
    /** How many are sent at once. */
    burst: fc.constantFrom(1, 1, 1, 3, 7),
    epoch: fc.constantFrom<"none" | "own" | "any">("none", "own", "any"),
    pick
  }),
  operation(2, "giveUp", { by: node, pick }),
  operation(6, "watch", { by: node, to: pick }),
  operation(2, "stopActor", { by: node, to: pick, kill: fc.boolean() }),
  operation(4, "drain", {
    by: node,
    on: node,
    evacuate: fc.constantFrom(false, false, true),
    reversible: fc.constantFrom(true, true, false),
    deadlines: fc.record(
      {
        drainMs: fc.integer({ min: 0, max: 30_000 }),
        evacuationMs: fc.integer({ min: 0, max: 10_000 }),
        sealingMs: fc.integer({ min: 0, max: 10_000 })
      },
      { requiredKeys: [] }
    )
  }),
  operation(3, "undrain", { by: node, on: node }),
  operation(2, "admit", {
    by: node,
    on: node,
    admission: fc.constantFrom<"open" | "cordoned">("open", "cordoned")
  }),
  operation(4, "start", { node }),
  operation(1, "stop", { node }),
  operation(2, "kill", { node }),
  operation(3, "pause", {
    node,
    ms: lasting,
    first: fc.constantFrom<"timers" | "frames">("timers", "frames")
  }),
  operation(2, "disconnect", { node, ms: lasting }),
  operation(2, "outage", {
    ms: lasting,
    spreadMs: fc.integer({ min: 0, max: 5_000 }),
    loseStore: fc.constantFrom(false, false, true)
  }),
  operation(1, "loseStore", {}),
  operation(1, "hangRegistry", { ms: lasting }),
  operation(1, "refuseWrites", { ms: lasting }),
  operation(1, "lagWatches", { ms: lasting }),
  operation(2, "loseReply", { node }),
  operation(1, "delayWrite", { node, ms: lasting }),
  operation(2, "partition", { node, from: node, ms: lasting }),
  operation(4, "disturb", {
    node,
    from: node,
    drop: fc.constantFrom(0, 0, 0.3, 1),
    duplicate: fc.constantFrom(0, 0, 0.5, 1),
    mostMs: fc.constantFrom(0, 50, 3_000),
    noListener: fc.constantFrom(false, false, false, true),
    kind: fc.constantFrom<"request" | "answer" | "publish" | undefined>(
      "request",
      "answer",
      "publish",
      undefined
    ),
    ms: lasting
  })
)

export type Operation = typeof operations extends fc.Arbitrary<infer O> ? O : never
export type OperationOf<T extends Operation["type"]> = Extract<Operation, { readonly type: T }>

export interface Step {
  readonly operation: Operation
  readonly thenMs: number
}

export interface Run {
  /** Of the network's own dice. */
  readonly seed: number
  readonly processes: number
  /** The most that a call of the registry takes, there and back each. */
  readonly registryMs: number
  /** From the start until the first step. */
  readonly beforeMs: number
  readonly steps: ReadonlyArray<Step>
}

const step: fc.Arbitrary<Step> = fc.record({ operation: operations, thenMs: passing })

/**
 * What rarely comes by chance: an owner is away for long enough to be called dead, and somebody else takes its name, before or after it is
 * back.
 */
const takeOver: fc.Arbitrary<ReadonlyArray<Step>> = fc
  .record({
    owner: node,
    taker: node,
    how: fc.constantFrom<"kill" | "pause" | "disconnect" | "outage">("kill", "pause", "disconnect", "outage"),
    ms: fc.integer({ min: 14_000, max: 40_000 }),
    waitMs: fc.integer({ min: 14_000, max: 30_000 }),
    first: fc.constantFrom<"timers" | "frames">("timers", "frames"),
    id: fc.constantFrom(...roomIds)
  })
  .map(({ first, how, id, ms, owner, taker, waitMs }) => {
    const open = (on: number): Operation => ({
      type: "open",
      by: taker,
      on,
      kind: "room",
      id,
      holds: "serving",
      prefer: false,
      restart: false
    })
    const fault: Operation =
      how === "kill"
        ? { type: "kill", node: owner }
        : how === "outage"
          ? { type: "outage", ms, spreadMs: 3_000, loseStore: false }
          : how === "pause"
            ? { type: "pause", node: owner, ms, first }
            : { type: "disconnect", node: owner, ms }
    return [
      { operation: open(owner), thenMs: 100 },
      { operation: fault, thenMs: waitMs },
      { operation: open(taker), thenMs: 100 }
    ]
  })

const runs: fc.Arbitrary<Run> = fc.record({
  seed: fc.integer(),
  processes: fc.integer({ min: 2, max: 4 }),
  registryMs: fc.constantFrom(0, 0, 20, 600),
  beforeMs: fc.constantFrom(0, 5_000, 20_000),
  steps: fc
    .array(fc.oneof({ weight: 40, arbitrary: fc.tuple(step) }, { weight: 1, arbitrary: takeOver }), {
      minLength: 10,
      maxLength: 60,
      size: "max"
    })
    .map((parts) => parts.flat())
})

/** The run of a seed, the same each time. */
export const runOf = (seed: number): Run => {
  const [run] = fc.sample(runs, { seed, numRuns: 1, unbiased: true })
  if (run === undefined) throw new Error("fast-check gave nothing")
  return run
}
