/**
 * Loaded into a node before its own program (`--import`): how late the event loop is. On SIGUSR2 it says a line of JSON on standard error,
 * `{"loopDelayMs":{"p50":…,"p99":…,"max":…}}`, of the time since it said the last one.
 */
import { monitorEventLoopDelay } from "node:perf_hooks"

const everyMs = 5

const delays = monitorEventLoopDelay({ resolution: everyMs })
delays.enable()
process.on("SIGUSR2", () => {
  // What is recorded is the time from one look to the next.
  const late = (ns: number) => Math.max(0, ns / 1e6 - everyMs)
  const loopDelayMs = {
    p50: late(delays.percentile(50)),
    p99: late(delays.percentile(99)),
    max: late(delays.max)
  }
  process.stderr.write(`${JSON.stringify({ loopDelayMs })}\n`)
  delays.reset()
})
