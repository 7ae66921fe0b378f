/** `ebb recordings`: what there is and how far it is, how to play it, and what to do about what cannot be finished. */
import { spawn } from "node:child_process"
import process from "node:process"
import type { RecordingInfo } from "@ebb/media/protocol"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { natsEndpoint } from "../cluster/embeddedNats.ts"
import { mediaProgram, nodeEnvironment } from "../cluster/nodeLaunch.ts"
import { audit, remove } from "./deleteRecording.ts"
import { paragraph } from "./help.ts"
import { interrupts } from "./interrupts.ts"
import { align, Output } from "./output.ts"
import { play, recordingId, recordingNamed } from "./playRecording.ts"
import { fieldsOf, lengthOf, newsOf, stateOf, watchTable } from "./recordingView.ts"
import { command, Ended, exitCodes, root } from "./root.ts"
import { controlClient, theCluster } from "./session.ts"

/** How often it is looked, in milliseconds, and how much of the time at most. */
const lookAgainMs = 1000
const restFactor = 4

const listRecordings = command(
  Effect.gen(function* () {
    const output = yield* Output
    const all = yield* (yield* controlClient("control")).recordings
    const now = yield* Clock.currentTimeMillis
    const rows = all.map((recording) => ({
      json: { ...recording },
      cells: [
        recording.recordingId,
        recording.roomId,
        recording.nodeId,
        stateOf(recording),
        lengthOf(recording, now),
        recording.problem ?? recording.file ?? "-"
      ]
    }))
    yield* output.table(
      "Recording",
      ["RECORDING", "ROOM", "NODE", "STATE", "LENGTH", "FILE"],
      rows,
      "no recordings"
    )
    yield* output.result({ outcome: "ok", recordings: all.length }, undefined)
  })
)

/** Looks until Ctrl-C. A cluster that does not answer is said, and asked again. */
const watchRecordings = command(
  Effect.gen(function* () {
    const output = yield* Output
    const interrupted = yield* interrupts
    const client = yield* controlClient("control")
    let known: ReadonlyMap<string, RecordingInfo> = new Map()
    let silent: string | undefined

    const tell = Effect.fnUntraced(function* (all: ReadonlyArray<RecordingInfo>) {
      silent = undefined
      const { news, now } = newsOf(known, all)
      known = now
      const { terminal } = output
      if (terminal !== undefined) {
        return yield* output.live(watchTable(all, yield* Clock.currentTimeMillis, terminal()))
      }
      for (const { json, text } of news) yield* output.line(json, text)
    })
    const complain = (message: string) => {
      const isNew = silent !== message
      silent = message
      return isNew ? output.line({ type: "Unheard", problem: message }, `not heard: ${message}`) : Effect.void
    }
    const look = client.recordings.pipe(
      Effect.flatMap(tell),
      Effect.catch((error) => complain(error.message)),
      Effect.timed,
      Effect.flatMap(([took]) => Effect.sleep(Math.max(lookAgainMs, Duration.toMillis(took) * restFactor)))
    )
    yield* Effect.raceFirst(Effect.forever(look), Queue.take(interrupted))
    yield* output.result({ outcome: "ended", recordings: known.size }, undefined)
    return yield* new Ended({ code: exitCodes.detached })
  })
)

const watching = {
  watch: Flag.Boolean("watch").pipe(
    Flag.withDescription("Stay, and show what changes until Ctrl-C"),
    Flag.withDefault(false)
  )
}
const listOrWatch = ({ watch }: { readonly watch: boolean }) => (watch ? watchRecordings : listRecordings)

const list = Command.make("list", watching, listOrWatch).pipe(
  Command.withShortDescription("List recordings: captured, queued, computed, failed"),
  Command.withDescription(
    paragraph(
      "List recordings. Captured ones come to be Sealing: queued at first, since a",
      "node computes one at a time for each two cores, then computed, step by step.",
      "Computed ones have a file, or are empty: not a frame came. Failed ones keep",
      "their journal and say why, and Interrupted ones wait for a start on their dead",
      "node's data folder.",
      "",
      "With --watch a table that changes in place, or, where there is no terminal or",
      "with --json, a line for each change. Ctrl-C ends it, with 130."
    )
  )
)

const show = Command.make("show", { recordingId }, ({ recordingId }) =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const client = yield* controlClient("control")
      const recording = yield* recordingNamed(client, recordingId, client.patience)
      const now = yield* Clock.currentTimeMillis
      yield* output.line({ type: "Recording", ...recording }, align(fieldsOf(recording, now)).join("\n"))
      yield* output.result({ outcome: "ok" }, undefined)
    })
  )
).pipe(Command.withDescription("Show all that is known of one recording"))

/** The environment of a cluster, when there is one: then receipts are entered into its index too. */
const clusterEnvironment = theCluster.pipe(
  Effect.flatMap((cluster) =>
    Effect.map(natsEndpoint(cluster, "node"), (endpoint) =>
      nodeEnvironment(cluster, endpoint, `ebb-${process.pid}`)
    )
  ),
  Effect.option,
  Effect.map(Option.getOrElse(() => ({})))
)

/** Runs `ebb-recordings` in place of this command, with what it says and its exit code. */
const ebbRecordings = (calledAs: string, ...args: ReadonlyArray<string>) =>
  command(
    Effect.gen(function* () {
      const { json } = yield* root
      const environment = yield* clusterEnvironment
      const code = yield* Effect.callback<number>((resume) => {
        const program = [mediaProgram("ebb-recordings"), ...args, ...(json ? ["--json"] : [])]
        const child = spawn(process.execPath, program, {
          stdio: "inherit",
          env: { ...process.env, ...environment, EBB_CALLED_AS: `ebb recordings ${calledAs}` }
        })
        child.once("close", (code) => resume(Effect.succeed(code ?? 1)))
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      if (code !== 0) return yield* new Ended({ code })
    })
  )

const directory = Argument.String("directory").pipe(
  Argument.withDescription("A node's data folder, as its --data-dir said"),
  Argument.withMetavar("DIR")
)

const recover = Command.make(
  "recover",
  {
    directory,
    givenUp: Flag.Boolean("given-up").pipe(
      Flag.withDescription("Try again what was given up, too"),
      Flag.withDefault(false)
    )
  },
  ({ directory, givenUp }) => ebbRecordings("recover", directory, ...(givenUp ? ["--given-up"] : []))
).pipe(
  Command.withShortDescription("Finish what dead processes left of recordings in a data folder"),
  Command.withDescription(
    paragraph(
      "Finish what dead processes left of recordings in a data folder, without a node.",
      "Touches nothing of processes that live.",
      "",
      "Exit codes: 0 nothing is left to do, 4 some cannot be finished (they are named,",
      "and kept), 1 failed, 64 bad usage."
    )
  )
)

const giveUp = Command.make(
  "give-up",
  {
    directory,
    recording: Argument.String("recording").pipe(
      Argument.withDescription("The recording's id"),
      Argument.withMetavar("ID")
    ),
    reason: Flag.String("reason").pipe(
      Flag.withMetavar("TEXT"),
      Flag.withDescription("Why, for those who ask later")
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Without it nothing is given up"),
      Flag.withDefault(false)
    )
  },
  ({ directory, reason, recording, yes }) =>
    // In one word each: a reason may begin with a dash.
    ebbRecordings(
      "give-up",
      directory,
      `--give-up=${recording}`,
      `--reason=${reason}`,
      ...(yes ? ["--yes"] : [])
    )
).pipe(
  Command.withShortDescription("Give up a recording that cannot be finished"),
  Command.withDescription(
    paragraph(
      "Give up a recording that cannot be finished, on its node's disk: no node tries",
      "it again or ends with 4 for it, no rollout waits for it. Its journal is kept,",
      "its id stays taken, lists show it as Failed, with the reason. Its node may",
      "live. `ebb recordings recover DIR --given-up` tries it again.",
      "",
      "Exit codes: 0 given up, 4 it is captured or computed at this moment, 1 failed,",
      "64 bad usage."
    )
  )
)

export const recordings = Command.make("recordings", watching, listOrWatch).pipe(
  Command.withDescription(
    "List, play and delete recordings, finish what dead processes left, or give one up"
  ),
  Command.withSubcommands([list, show, play, recover, giveUp, remove, audit])
)
