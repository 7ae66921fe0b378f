// The static checks: format, types, lint with the layers, Effect diagnostics, unused files and dependencies. Each runs one
// tool over the whole workspace, is silent unless it fails, and runs even when an earlier one failed, so that one run
// shows all.
import { spawn } from "node:child_process"
import path from "node:path"
import process from "node:process"

export const root = path.resolve(import.meta.dirname, "..")

/** The environment in which a tool of the lock file is found first, and Node 24 with it. */
export const toolEnv = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${path.join(root, "node_modules/.bin")}${path.delimiter}${process.env["PATH"] ?? ""}`
})

interface Check {
  readonly name: string
  /** A line of shell. */
  readonly command: string
}

// Types come first of the three that read them: across packages, lint and diagnostics see the declarations it writes.
const checks: ReadonlyArray<Check> = [
  { name: "format", command: "oxfmt --check ." },
  { name: "types", command: "tsc -b" },
  { name: "lint", command: "oxlint --type-aware --deny-warnings --report-unused-disable-directives" },
  {
    name: "effect",
    command: "effect-tsgo diagnostics --project tsconfig.json --strict --severity error,warning --format text"
  },
  { name: "unused", command: "knip --no-config-hints" }
]

const run = ({ command }: Check): Promise<{ readonly ok: boolean; readonly output: string }> =>
  new Promise((resolve) => {
    const child = spawn(command, {
      cwd: root,
      env: toolEnv(),
      shell: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
    const chunks: Array<Buffer> = []
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.on("error", (error) => resolve({ ok: false, output: String(error) }))
    child.on("close", (code) => resolve({ ok: code === 0, output: Buffer.concat(chunks).toString() }))
  })

/** Runs every check and says how many passed and failed; what a failed one printed goes to standard output. */
export const runChecks = async (): Promise<{ readonly passed: number; readonly failed: number }> => {
  let failed = 0
  for (const check of checks) {
    const start = performance.now()
    const { ok, output } = await run(check)
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    console.log(`check ${check.name}: ${ok ? "ok" : "FAILED"} (${seconds} s)`)
    if (!ok) {
      failed += 1
      console.log(`  $ ${check.command}\n${output.trimEnd()}\n`)
    }
  }
  return { passed: checks.length - failed, failed }
}

if (import.meta.main) {
  const { failed } = await runChecks()
  process.exitCode = failed === 0 ? 0 : 1
}
