/** What a system under test lets be seen: its metrics as a scrape gives them, and the lines of its log. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"

/** Lines of one name as a scrape gives them, by their labels. */
export const scraped = (registry: Metric.MetricRegistry, name: string) => {
  const text = PrometheusMetrics.formatUnsafe(Context.make(Metric.MetricRegistry, registry))
  const found: Record<string, number> = {}
  for (const line of text.split("\n")) {
    const [, of, labels, value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (of === name) found[labels ?? ""] = Number(value)
  }
  return found
}

export const observed = () => {
  const registry: Metric.MetricRegistry = new Map()
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => {
    lines.push(String(Array.isArray(message) ? message[0] : message))
  })
  return {
    /** The first part of each log line. */
    lines,
    of: (name: string) => scraped(registry, name),
    /** What starts in here is observed. */
    by: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      effect.pipe(
        Effect.provideService(Metric.MetricRegistry, registry),
        Effect.provideService(Logger.CurrentLoggers, new Set([logger]))
      )
  }
}
