/**
 * What a command prints: a live view on a terminal, plain lines elsewhere, lines of JSON when asked. Owns standard output.
 *
 * JSON has stable field names: `type` says what a line is, and the last line's type is `Result`.
 */
import type * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

export type Json = Readonly<Record<string, unknown>>

export class Output extends Context.Service<
  Output,
  {
    readonly json: boolean
    /** Undefined where nothing can change in place: no terminal, or JSON. Its size, in characters, may change. */
    readonly terminal: (() => { readonly columns: number; readonly rows: number }) | undefined
    /** A console whose errors, and so the log, do not run into what stands below. */
    readonly aside: (console: Console.Console) => Console.Console
    /** Something that happened. */
    readonly line: (json: Json, text: string) => Effect.Effect<void>
    /** Rows of one kind: each a line of JSON, or all a table. */
    readonly table: (
      type: string,
      columns: ReadonlyArray<string>,
      rows: ReadonlyArray<{ readonly json: Json; readonly cells: ReadonlyArray<string> }>,
      empty: string
    ) => Effect.Effect<void>
    /** What stands below all lines and changes in place. Shown on a terminal only. */
    readonly live: (lines: ReadonlyArray<string>) => Effect.Effect<void>
    /** The last line. */
    readonly result: (json: Json, text: string | undefined) => Effect.Effect<void>
    readonly failed: (error: {
      readonly tag: string
      readonly message: string
      readonly retry: string
    }) => Effect.Effect<void>
  }
>()("@ebb/deployer/cli/Output") {}

export const makeOutput = (json: boolean): Effect.Effect<Output["Service"]> =>
  Effect.sync(() => {
    const { stdout } = process
    const terminal = !json && stdout.isTTY && process.env["TERM"] !== "dumb"
    const size = () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 })
    let below: ReadonlyArray<string> = []

    // Erases what stands below, prints, and draws it again: one write, so that nothing flickers.
    const draw = (text: string, lines: ReadonlyArray<string>) => {
      // What stands below must not scroll: it could not be erased any more.
      const next = lines.slice(0, Math.max(1, size().rows - 1))
      if (!terminal) return stdout.write(text)
      // To the line's beginning first: a Ctrl-C was echoed there as ^C.
      const up = below.length === 0 ? "" : `\r\x1b[${below.length}A\x1b[J`
      below = next
      return stdout.write(`${up}${text}${next.map((line) => `${clip(line, stdout.columns)}\n`).join("")}`)
    }
    const print = (object: Json, text: string) =>
      Effect.sync(() => void draw(`${json ? JSON.stringify(object) : harmlessLines(text)}\n`, below))

    return {
      json,
      terminal: terminal ? size : undefined,
      aside: (console) => {
        const error = (...args: ReadonlyArray<unknown>) => {
          const shown = below
          draw("", [])
          console.error(...args)
          draw("", shown)
        }
        return terminal ? Object.assign({}, console, { error }) : console
      },
      line: print,
      table: (type, columns, rows, empty) =>
        Effect.sync(() => {
          const text = json
            ? rows.map((row) => JSON.stringify({ type, ...row.json }))
            : rows.length === 0
              ? [empty]
              : align([columns, ...rows.map(({ cells }) => cells)])
          for (const line of text) draw(`${line}\n`, below)
        }),
      live: (lines) =>
        Effect.sync(() => {
          const same = lines.length === below.length && lines.every((line, i) => line === below[i])
          if (terminal && !same) draw("", lines)
        }),
      result: (object, text) =>
        Effect.sync(() => {
          draw("", [])
          if (json) stdout.write(`${JSON.stringify({ type: "Result", ...object })}\n`)
          else if (text !== undefined) stdout.write(`${harmlessLines(text)}\n`)
        }),
      failed: ({ message, retry, tag }) =>
        Effect.sync(() => {
          draw("", [])
          process.stderr.write(`ebb: ${harmlessLines(message)}\n`)
          if (json) {
            const error = { tag, message, retry }
            stdout.write(`${JSON.stringify({ type: "Result", outcome: "failed", error })}\n`)
          }
        })
    }
  })

/**
 * What others wrote (a reason, a name of a later version) must neither drive the terminal nor look like a line of ours: C0 and C1 controls are
 * shown as `\ufffd`. Lines of our own are kept apart by the caller.
 */
const harmless = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd")

const harmlessLines = (text: string): string => text.split("\n").map(harmless).join("\n")

/** Columns under each other; the last is as long as it is. */
export const align = (given: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const rows = given.map((row) => row.map(harmless))
  const widths: Array<number> = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd()
  )
}

const clip = (line: string, columns = 80) =>
  line.length <= columns - 1 ? line : `${line.slice(0, columns - 2)}…`

/** `1 room`, `2 rooms`. */
export const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`

/** The first five names, in brackets after what they are. */
export const some = (names: ReadonlyArray<string>) =>
  names.length === 0 ? "" : ` (${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""})`

export const duration = (ms: number): string => {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 100) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 100 ? `${minutes}m${seconds % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`
}
