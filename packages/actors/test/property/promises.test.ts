/** The runtime's promises under a thousand random runs; see `model.ts` for the promises and `operations.ts` for what happens. */
import { expect, it } from "vitest"
import { check } from "./check.ts"

const seeds = 1_000
/** In parts, so that what fails is told soon, and a runner that is asked to stop can. */
const part = 100

for (let from = 0; from < seeds; from += part) {
  it(`keeps every promise in the runs of seeds ${from} to ${from + part - 1}`, { timeout: 120_000 }, () => {
    for (let seed = from; seed < from + part; seed++) expect(check(seed).failure?.report).toBeUndefined()
  })
}
