/**
 * Runs a target on inputs made of numbers, each with a seed of its own, so that one that fails can be run again by it alone. A target's run
 * ends in one of the outcomes that it names; anything else (an exception, another outcome, a broken promise) is a fault.
 */
import { seededRandom } from "@ebb/actors/testing"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import type { Random } from "./mutate.ts"

export interface FuzzTarget {
  readonly name: string
  /** Makes an input of `random`, tries it, and says what came of it. Throws when something was not as promised. */
  readonly run: (random: Random) => string
  /** The outcomes there may be. */
  readonly outcomes: ReadonlySet<string>
}

export interface FuzzOptions {
  readonly seed: number
  readonly inputs: number
}

export interface FuzzResult {
  readonly target: string
  readonly inputs: number
  readonly outcomes: Readonly<Record<string, number>>
  /** By how many bytes all that this process holds was larger after an input than before the first, at most. */
  readonly grownBytes: number
  readonly slowestMs: number
}

/** Seeds of two inputs next to each other have nothing to do with each other. */
const seedOf = (seed: number, input: number): number => Math.imul(seed + input, 0x9e3779b1) >>> 0

export const runOnce = (target: FuzzTarget, seed: number, input: number): string => {
  const outcome = target.run(seededRandom(seedOf(seed, input)))
  if (!target.outcomes.has(outcome)) throw new Error(`an outcome without a name: ${outcome}`)
  return outcome
}

/** Throws at the first fault, with what it takes to see it again. */
export const fuzz = (target: FuzzTarget, { inputs, seed }: FuzzOptions): FuzzResult => {
  const outcomes: Record<string, number> = {}
  const before = held()
  let grownBytes = 0
  let slowestMs = 0
  for (let input = 0; input < inputs; input++) {
    const begun = performance.now()
    try {
      const outcome = runOnce(target, seed, input)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    } catch (cause) {
      throw new Error(`${target.name} fails: --target ${target.name} --seed ${seed + input} --inputs 1`, {
        cause
      })
    }
    slowestMs = Math.max(slowestMs, performance.now() - begun)
    if (input % 2000 === 1999 || input === inputs - 1) grownBytes = Math.max(grownBytes, held() - before)
  }
  return { target: target.name, inputs, outcomes, grownBytes, slowestMs }
}

v8.setFlagsFromString("--expose-gc")
const collect: unknown = vm.runInNewContext("gc")

/** Bytes, without what nobody holds any more. */
const held = (): number => {
  if (typeof collect === "function") collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
