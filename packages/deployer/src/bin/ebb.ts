#!/usr/bin/env node
/**
 * The command line of Ebb. Each command is a file in `cli/`; this one puts them together, and owns the process's exit code.
 */
import process from "node:process"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Command from "effect/cli/Command"
import { layerHelp, paragraph } from "../cli/help.ts"
import { nodes, rooms } from "../cli/lists.ts"
import { cordon, drain, uncordon, undrain } from "../cli/nodeCommands.ts"
import { recordings } from "../cli/recordings.ts"
import { Ended, exitCodes, root } from "../cli/root.ts"
import { rollout } from "../cli/rollout.ts"
import { token } from "../cli/token.ts"
import { up } from "../cli/up.ts"
import { version } from "../cli/version.ts"

// Its reader has gone (`ebb nodes | head`): there is nobody to tell.
process.stdout.on("error", () => process.exit(exitCodes.ok))

const ebb = root.pipe(
  Command.withDescription(
    paragraph(
      "Runs a cluster of media nodes on this machine, and replaces them by a new",
      "version without ending a call.",
      "",
      "Exit codes: 0 ok, 1 failed, 2 a rollout stopped (what is left is named),",
      "4 recordings that cannot be finished (`recordings recover`), 64 bad usage,",
      "130 ended or detached by Ctrl-C."
    )
  ),
  Command.withSubcommands([up, rollout, nodes, rooms, recordings, cordon, uncordon, drain, undrain, token])
)

const exit = await Command.run(ebb, { version }).pipe(
  Effect.provide(Layer.merge(NodeServices.layer, layerHelp)),
  Effect.provideService(Logger.LogToStderr, true),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.runPromiseExit
)

const codeOf = (error: unknown): number => (error instanceof Ended ? error.code : exitCodes.usage)
process.exit(Exit.isSuccess(exit) ? exitCodes.ok : codeOf(Cause.squash(exit.cause)))
