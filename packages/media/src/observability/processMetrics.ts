/** The few figures of the process itself that every dashboard begins with, under the names that Prometheus' own clients give them. */
import { observableCounter, observableGauge } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { performance } from "node:perf_hooks"

/** Until the scope closes. */
export const processMetrics = Effect.gen(function* () {
  yield* observableGauge(
    { name: "process_resident_memory_bytes", help: "Resident memory size in bytes" },
    {},
    () => process.memoryUsage.rss()
  )
  yield* observableCounter(
    { name: "process_cpu_seconds_total", help: "User and system CPU time spent in seconds" },
    {},
    () => {
      const { system, user } = process.cpuUsage()
      return (system + user) / 1_000_000
    }
  )
  yield* observableGauge(
    { name: "process_start_time_seconds", help: "Start time of the process since the Unix epoch in seconds" },
    {},
    () => performance.timeOrigin / 1_000
  )
  yield* observableGauge(
    { name: "ebb_event_loop_utilization", help: "Share of its life that the event loop was busy, 0 to 1" },
    {},
    () => performance.eventLoopUtilization().utilization
  )
})
