/** How the command line explains itself: help on standard output, what was mistyped in a line on standard error. */
import process from "node:process"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import type { FlagDoc } from "effect/cli/HelpDoc"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"

/** Lines of a description, under each other where help puts them. */
export const paragraph = (...lines: ReadonlyArray<string>): string => lines.join("\n  ")

/** The library's own flags name each choice twice, on lines of 160 columns. */
const shorter: Readonly<Record<string, Pick<FlagDoc, "type" | "description">>> = {
  completions: {
    type: "SHELL",
    description: Option.some("Print completions for bash, zsh, fish or powershell")
  },
  "log-level": {
    type: "LEVEL",
    description: Option.some("Log this and worse: all, trace, debug, info, warn, error, fatal or none")
  }
}

/** Breaks lines of more columns between two words; the rest stands under the text it belongs to. */
const wrap = (help: string, columns = 80): string =>
  help
    .split("\n")
    .flatMap((line) => {
      if (CliOutput.displayWidth(line) <= columns) return [line]
      const [name = "  "] = /^ {2}\S.*? {2,}/.exec(line) ?? []
      const indent = " ".repeat(CliOutput.displayWidth(name))
      const lines: Array<string> = []
      let last = name
      for (const word of line.slice(name.length).split(" ")) {
        if (last.trim() !== "" && CliOutput.displayWidth(`${last}${word}`) > columns) {
          lines.push(last.trimEnd())
          last = indent
        }
        last += `${word} `
      }
      return [...lines, last.trimEnd()]
    })
    .join("\n")

export const layerHelp = Layer.mergeAll(
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
  }),
  CliOutput.layerPresenter({
    present: Effect.fnUntraced(function* (event) {
      if (event._tag === "Help") {
        const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
        const formatter = CliOutput.defaultFormatter({ colors: canColor })
        const globalFlags = (event.helpDoc.globalFlags ?? []).map((flag) => ({
          ...flag,
          ...shorter[flag.name]
        }))
        return yield* Console.log(wrap(formatter.formatHelpDoc({ ...event.helpDoc, globalFlags })))
      }
      if (event._tag === "Version") return yield* CliOutput.defaultPresenter.present(event)
      const problems = event.errors.map(({ message }) => `ebb: ${message.trim()}\n`)
      process.stderr.write(`${problems.join("")}Try '${event.commandPath.join(" ")} --help'.\n`)
    })
  })
)
