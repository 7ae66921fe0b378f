import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { layerJsonLog } from "../../src/observability/jsonLog.ts"

it.effect("a line says who speaks, in which trace, and what went wrong", () =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const log = layerJsonLog(
      () => ({ node: "a", incarnation: "i" }),
      (line) => lines.push(line)
    )
    const span = yield* Effect.gen(function* () {
      yield* Effect.logInfo("it serves")
      return yield* Effect.logError("a\nfailure", new Error("boom")).pipe(
        Effect.andThen(Effect.currentSpan),
        Effect.withSpan("control room.create")
      )
    }).pipe(Effect.provide(log))
    const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines.every((line) => line.indexOf("\n") === line.length - 1)).toBe(true)
    expect(first).toMatchObject({ level: "INFO", message: "it serves", node: "a", incarnation: "i" })
    expect(first).not.toHaveProperty("traceId")
    expect(second).toMatchObject({
      level: "ERROR",
      message: "a\nfailure Error: boom",
      traceId: span.traceId,
      spanId: span.spanId
    })
  })
)
