// `npm test`: the static checks, then every test. The last line is `N passed, N failed, N skipped`, in which a check
// counts as one test. Anything failed, skipped or left to do ends it with 1, and so does a run without a test.
//
//   npm test                               everything
//   npm test -- Mailbox                    the checks, and the test files that have Mailbox in their path
//   npx vitest run Mailbox -t bounded      no checks, and of these files only the tests named so
import { spawn } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import process from "node:process"
import { root, runChecks, toolEnv } from "./check.ts"
import { tally, type Tally } from "./tally.ts"

const runTests = async (args: ReadonlyArray<string>): Promise<Tally> => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "ebb-test-"))
  try {
    const report = path.join(folder, "report.json")
    const child = spawn(
      "vitest",
      ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args],
      { cwd: root, env: toolEnv(), stdio: "inherit" }
    )
    // A Ctrl-C reaches vitest too, being in the same group; ending before it would leave its children to nobody. A
    // signal to this process alone is handed on.
    process.on("SIGINT", () => {})
    process.on("SIGTERM", () => child.kill("SIGTERM"))
    const exit = await new Promise<number>((resolve) => {
      child.on("error", () => resolve(127))
      child.on("close", (code) => resolve(code ?? 1))
    })
    return tally(await readFile(report, "utf8").catch(() => undefined), exit)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const checks = await runChecks()
const tests = await runTests(process.argv.slice(2))
const total: Tally = {
  passed: checks.passed + tests.passed,
  failed: checks.failed + tests.failed,
  skipped: tests.skipped
}
if (checks.failed > 0) console.log(`${checks.failed} static checks failed; what they said is above the tests`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed === 0 && total.skipped === 0 ? 0 : 1
