// An instance for tests: says that it is up, counts its drain signals, and ends only when told, by SIGPWR, with 7: of all
// pending signals the kernel delivers the lowest number first, so a SIGTERM sent before is counted before the end.
// Each line goes to the file named first, so that it is seen whatever becomes of the process.
import { appendFileSync, writeFileSync } from "node:fs"
import process from "node:process"

const [, , journal = "", ...args] = process.argv
const write = (line: string) => appendFileSync(journal, `${line}\n`)

process.on("SIGTERM", () => {
  write("SIGTERM")
  const seen = process.env["EBB_TEST_SIGNAL_SEEN"]
  if (seen !== undefined) writeFileSync(seen, "")
})
process.on("SIGPWR", () => process.exit(7))
setInterval(() => {}, 60_000)
console.log("hello from the instance")
write(`up ${JSON.stringify({ args, secret: process.env["EBB_TEST_SECRET"] })}`)
