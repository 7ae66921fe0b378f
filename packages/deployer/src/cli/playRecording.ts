/** `ebb recordings play`: opens a result with the desktop's player, or says where it is. Owns nothing; a player lives on by itself. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import path from "node:path"
import process from "node:process"
import type { CallOptions, ControlClient, RecordingInfo } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { NoResult, RecordingSilent, ResultElsewhere } from "../DeployError.ts"
import { isName, nameRule } from "../internal/names.ts"
import { paragraph } from "./help.ts"
import { Output } from "./output.ts"
import { command } from "./root.ts"
import { controlClient } from "./session.ts"

export const recordingId = Argument.String("recording").pipe(
  Argument.withMetavar("ID"),
  Argument.filter(isName, () => nameRule),
  Argument.withDescription("The recording's id")
)

/** What is known of it, for a person who waits. */
export const recordingNamed = (
  { call }: Pick<ControlClient, "call">,
  recordingId: string,
  patience: CallOptions
) =>
  call("recording.get", { recordingId }, patience).pipe(
    Effect.catchTag("NodeUnreachable", (error) =>
      // That there is no cluster says the error itself.
      Effect.fail(
        error.target.startsWith("recording/")
          ? new RecordingSilent({ recordingId, problem: error.message })
          : error
      )
    )
  )

/** Where it is, or why it is nowhere yet. */
const resultOf = ({ file, problem, recordingId, state }: RecordingInfo) =>
  state !== "Computed" || file === undefined
    ? Effect.fail(new NoResult({ recordingId, state, ...(problem === undefined ? {} : { problem }) }))
    : Effect.succeed(file)

/** The same path may be another file here, or none. */
const isHere = (file: string, { bytes }: RecordingInfo): boolean => {
  const there = fs.statSync(file, { throwIfNoEntry: false })
  return there?.isFile() === true && (bytes === undefined || there.size === bytes)
}

/** What opens a file with the player of the person's choice, when there is a desktop and somebody before it. */
const opener = (): string | undefined => {
  const { DISPLAY, PATH = "", WAYLAND_DISPLAY } = process.env
  const isDesktop = process.platform === "darwin" || Boolean(DISPLAY ?? WAYLAND_DISPLAY)
  if (!isDesktop || !process.stdout.isTTY) return undefined
  const name = process.platform === "darwin" ? "open" : "xdg-open"
  return PATH.split(path.delimiter)
    .map((folder) => path.join(folder, name))
    .find((each) => fs.statSync(each, { throwIfNoEntry: false })?.isFile())
}

/** True once it runs; what becomes of it is the desktop's. */
const opened = (program: string, file: string) =>
  Effect.callback<boolean>((resume) => {
    const child = spawn(program, [file], { stdio: "ignore", detached: true })
    child.once("error", () => resume(Effect.succeed(false)))
    child.once("spawn", () => {
      child.unref()
      resume(Effect.succeed(true))
    })
  })

export const play = Command.make(
  "play",
  {
    recordingId,
    print: Flag.Boolean("print").pipe(
      Flag.withDescription("Print where the file is, and open nothing"),
      Flag.withDefault(false)
    )
  },
  ({ print, recordingId }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const client = yield* controlClient("control")
        const { call, patience } = client
        const recording = yield* recordingNamed(client, recordingId, patience)
        const file = yield* resultOf(recording)
        const here = isHere(file, recording)
        const { files = [file] } = recording
        const told = { outcome: "ok", recordingId, file, files, here }
        if (print || output.json) return yield* output.result({ ...told, opened: false }, files.join("\n"))
        if (!here) {
          const { nodes } = yield* call("node.list", undefined, patience)
          const host = nodes.find(({ nodeId }) => nodeId === recording.nodeId)?.host
          const { nodeId } = recording
          return yield* new ResultElsewhere({
            recordingId,
            file,
            nodeId,
            ...(host === undefined ? {} : { host })
          })
        }
        const program = opener()
        const isOpen = program !== undefined && (yield* opened(program, file))
        const more = files.length === 1 ? "" : `, the first of ${files.length} (--print names them)`
        yield* output.result(
          { ...told, opened: isOpen },
          isOpen ? `opening ${file}${more}` : files.join("\n")
        )
      })
    )
).pipe(
  Command.withShortDescription("Open a recording's result, or print where it is"),
  Command.withDescription(
    paragraph(
      "Open a recording's result with the desktop's player. Where there is no desktop",
      "or no terminal, print its path. One that is on another machine or in S3 is not",
      "opened: the error says where it is, and --print prints that alone."
    )
  )
)
