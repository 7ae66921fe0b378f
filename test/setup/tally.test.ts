import { expect, test } from "vitest"
import { tally } from "../../tools/tally.ts"

const file = (status: string, ...tests: ReadonlyArray<string>) => ({
  status,
  assertionResults: tests.map((status) => ({ status }))
})
const report = (...testResults: ReadonlyArray<ReturnType<typeof file>>) => JSON.stringify({ testResults })

test("tests are counted over all files", () => {
  const json = report(file("passed", "passed", "passed"), file("failed", "passed", "failed"))
  expect(tally(json, 1)).toEqual({ passed: 3, failed: 1, skipped: 0 })
})

test("whatever did not run counts as skipped", () => {
  const json = report(file("passed", "passed", "skipped", "pending", "todo", "disabled"))
  expect(tally(json, 0)).toEqual({ passed: 1, failed: 0, skipped: 4 })
})

test("a file that could not be loaded counts as a failure", () => {
  expect(tally(report(file("passed", "passed"), file("failed")), 1)).toEqual({
    passed: 1,
    failed: 1,
    skipped: 0
  })
})

test("an error outside of any test counts as a failure", () => {
  expect(tally(report(file("passed", "passed")), 1)).toEqual({ passed: 1, failed: 1, skipped: 0 })
})

test.for([undefined, "", '{"testResults":[{"sta'])(
  "a crash that left the report %j counts as a failure",
  (json) => {
    expect(tally(json, 139)).toEqual({ passed: 0, failed: 1, skipped: 0 })
  }
)

test("a run without a test counts as a failure", () => {
  expect(tally(report(), 0)).toEqual({ passed: 0, failed: 1, skipped: 0 })
})
