import { assert, describe, it } from "@effect/vitest"
import { fuzz } from "./fuzz.ts"
import { targets } from "./targets.ts"

/** Ten thousand altogether; `pnpm fuzz` tries a million. */
const inputs = Math.ceil(10_000 / targets.length)

describe.each(targets)("$name", (target) => {
  it("comes to a typed outcome with whatever it is given, and holds nothing of it", () => {
    const { grownBytes, outcomes } = fuzz(target, { seed: 1, inputs })
    // Every outcome that is named does occur, or the inputs prove nothing.
    assert.sameMembers(Object.keys(outcomes), [...target.outcomes])
    assert.isBelow(grownBytes, 32e6)
  }, 120_000)
})
