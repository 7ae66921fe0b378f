// Counts what a vitest run came to. A run that ended badly is never counted as good: a file that did not load, an error
// outside any test, a crash without a report and a run without a test each come to at least one failure.

export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** The part of vitest's JSON report that is read. */
interface Report {
  readonly testResults: ReadonlyArray<{
    readonly status: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string }>
  }>
}

/** The files of a report; none if the run ended before it was written, or in the middle of that. */
const filesOf = (json: string | undefined): Report["testResults"] => {
  try {
    return json === undefined ? [] : (JSON.parse(json) as Report).testResults
  } catch {
    return []
  }
}

/**
 * @param json what the JSON reporter wrote, or nothing if it did not come to that
 * @param exit vitest's exit code
 */
export const tally = (json: string | undefined, exit: number): Tally => {
  let passed = 0
  let failed = 0
  let skipped = 0
  for (const file of filesOf(json)) {
    const before = failed
    for (const { status } of file.assertionResults) {
      if (status === "passed") passed += 1
      else if (status === "failed") failed += 1
      else skipped += 1 // skipped, pending, todo, disabled
    }
    // The file failed, and no test of it did: it could not be loaded, or a hook failed.
    if (file.status === "failed" && failed === before) failed += 1
  }
  if (failed === 0 && (exit !== 0 || passed === 0)) failed = 1
  return { passed, failed, skipped }
}
