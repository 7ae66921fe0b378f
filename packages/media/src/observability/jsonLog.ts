/** One JSON object a line, for whoever collects logs: what is said, who says it, and in which trace. */
import * as Formatter from "effect/Formatter"
import * as Logger from "effect/Logger"

/** `who` is in each line: the node, and the incarnation once it has one. */
export const layerJsonLog = (
  who: () => Readonly<Record<string, string | number>>,
  write: (line: string) => void = (line) => void process.stdout.write(line)
) =>
  Logger.layer([
    Logger.make((options) => {
      const { annotations, cause, fiberId, level, timestamp } = Logger.formatStructured.log(options)
      const span = options.fiber.cache.span
      const line = {
        timestamp,
        level,
        message: [options.message].flat().map(said).join(" "),
        ...who(),
        ...annotations,
        ...(span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId }),
        ...(cause === undefined ? {} : { cause }),
        fiberId
      }
      write(`${JSON.stringify(line)}\n`)
    })
  ])

/** An error is an object without fields to JSON. */
const said = (part: unknown): string =>
  typeof part === "string"
    ? part
    : part instanceof Error
      ? `${part.name}: ${part.message}`
      : Formatter.format(part)
