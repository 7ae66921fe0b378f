/** Debian's Prometheus as a real server of one test: it scrapes one target four times a second, and is asked over its own HTTP API. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { startProgram } from "../support/program.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { until } from "../support/until.ts"

const Answer = Schema.Struct({
  status: Schema.Literal("success"),
  data: Schema.Struct({
    result: Schema.Array(Schema.Struct({ value: Schema.Tuple([Schema.Finite, Schema.String]) }))
  })
})

export const prometheusOf = Effect.fnUntraced(function* (target: string) {
  const folder = yield* temporaryFolder
  const config = {
    global: { scrape_interval: "250ms", scrape_timeout: "250ms" },
    scrape_configs: [{ job_name: "ebb", static_configs: [{ targets: [target] }] }]
  }
  // JSON is YAML.
  const file = join(folder, "prometheus.yml")
  yield* Effect.promise(() => writeFile(file, JSON.stringify(config)))
  const program = yield* startProgram("prometheus", [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder, "tsdb")}`,
    "--web.listen-address=127.0.0.1:0"
  ])
  const line = yield* program.says(/msg="Listening on"/)
  const address = /address=(\S+)/.exec(line)?.[1] ?? ""
  yield* program.says(/Server is ready/)

  /** The value of an expression that gives one; undefined when it gives none. */
  const value = Effect.fnUntraced(function* (expression: string) {
    const url = `http://${address}/api/v1/query?query=${encodeURIComponent(expression)}`
    const json = yield* Effect.promise(async () => (await fetch(url)).json())
    const { data } = yield* Effect.orDie(Schema.decodeUnknownEffect(Answer)(json))
    const [first] = data.result
    return first === undefined ? undefined : Number(first.value[1])
  })
  return {
    value,
    /** Waits until the expression has this value. */
    shows: (expression: string, expected: number) => until(value(expression), (shown) => shown === expected)
  }
})
