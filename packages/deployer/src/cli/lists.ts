/** `ebb nodes`, `ebb rooms`, `ebb recordings`: what is there now. */
import { spawn } from "node:child_process"
import process from "node:process"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { natsEndpoint } from "../cluster/embeddedNats.ts"
import { mediaProgram, nodeEnvironment } from "../cluster/nodeLaunch.ts"
import { paragraph } from "./help.ts"
import { duration, Output } from "./output.ts"
import { command, Ended, root } from "./root.ts"
import { controlClient, theCluster } from "./session.ts"

export const nodes = Command.make("nodes", {}, () =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const { call, patience } = yield* controlClient("control")
      const now = yield* Clock.currentTimeMillis
      const { nodes: all } = yield* call("node.list", undefined, patience)
      const rows = all.map((node) => ({
        json: { ...node },
        cells: [
          node.nodeId,
          node.version,
          node.life,
          node.admission,
          node.control,
          String(node.rooms),
          String(node.recordings),
          duration(now - node.startedAt),
          node.lastHeardMs === undefined ? "-" : `${duration(node.lastHeardMs)} ago`
        ]
      }))
      yield* output.table(
        "Node",
        ["NODE", "VERSION", "LIFE", "ADMISSION", "CONTROL", "ROOMS", "RECORDINGS", "AGE", "LAST HEARD"],
        rows,
        "no node is alive"
      )
      yield* output.result({ outcome: "ok", nodes: all.length }, undefined)
    })
  )
).pipe(
  Command.withShortDescription("List the cluster's nodes, as their leases tell of them"),
  Command.withDescription(
    paragraph(
      "List the cluster's nodes, as their leases tell of them. A node renews its lease",
      "every 4 s; one that was last heard longer ago may be dead. After 18 s it is not",
      "listed any more."
    )
  )
)

export const rooms = Command.make("rooms", {}, () =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const all = yield* (yield* controlClient("control")).rooms
      const rows = all.map((room) => ({
        json: { ...room },
        cells: [room.roomId, room.nodeId, room.lost ? "lost: its node is dead" : "live"]
      }))
      yield* output.table("Room", ["ROOM", "NODE", "STATE"], rows, "no rooms")
      yield* output.result({ outcome: "ok", rooms: all.length }, undefined)
    })
  )
).pipe(Command.withDescription("List the rooms, and where each lives"))

const listRecordings = command(
  Effect.gen(function* () {
    const output = yield* Output
    const all = yield* (yield* controlClient("control")).recordings
    const rows = all.map((recording) => ({
      json: { ...recording },
      cells: [
        recording.recordingId,
        recording.roomId,
        recording.nodeId,
        recording.state,
        recording.durationMs === undefined ? "-" : duration(recording.durationMs),
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

const list = Command.make("list", {}, () => listRecordings).pipe(
  Command.withDescription("List recordings: being captured, being computed, and computed")
)

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

export const recordings = Command.make("recordings", {}, () => listRecordings).pipe(
  Command.withDescription("List recordings, finish what dead processes left of them, or give one up"),
  Command.withSubcommands([list, recover, giveUp])
)
