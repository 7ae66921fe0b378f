/** How the command line explains itself: help on standard output, what was mistyped in a line on standard error. */
import process from "node:process"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as GlobalFlag from "effect/cli/GlobalFlag"

/** Lines of a description, under each other where help puts them. */
export const paragraph = (...lines: ReadonlyArray<string>): string => lines.join("\n  ")

export const layerHelp = Layer.mergeAll(
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
  }),
  CliOutput.layerPresenter({
    present: (event) =>
      event._tag === "InvalidInvocation"
        ? Effect.sync(() => {
            const problems = event.errors.map(({ message }) => `ebb: ${message.trim()}\n`)
            process.stderr.write(`${problems.join("")}Try '${event.commandPath.join(" ")} --help'.\n`)
          })
        : CliOutput.defaultPresenter.present(event)
  })
)
