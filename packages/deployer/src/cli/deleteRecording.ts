/** `ebb recordings delete` and `audit`: deletes one for good, and says what was ever deleted, by whom and why. */
import os from "node:os"
import process from "node:process"
import type { RecordingInfo } from "@ebb/media/protocol"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { DeletionUnconfirmed } from "../DeployError.ts"
import { paragraph } from "./help.ts"
import { count, Output } from "./output.ts"
import { recordingId, recordingNamed } from "./playRecording.ts"
import { command, Ended } from "./root.ts"
import { controlClient } from "./session.ts"

/** Milliseconds: nodes may have a store that is far. */
const patience = { timeoutMs: 40_000, retryForMs: 60_000 }

/** Some nodes have not done their part. */
const leftCode = 4

const whoIAm = (): string => {
  const { SUDO_USER, USER } = process.env
  return `${SUDO_USER ?? USER ?? `uid ${process.getuid?.() ?? "unknown"}`}@${os.hostname()}`
}

export const remove = Command.make(
  "delete",
  {
    recordingId,
    reason: Flag.String("reason").pipe(
      Flag.withMetavar("TEXT"),
      Flag.withDescription("Why, for those who ask later"),
      Flag.filter(
        (text) => text.trim() !== "" && text.length <= 1024,
        () => "1 to 1024 letters"
      )
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Without it nothing is deleted"),
      Flag.withDefault(false)
    )
  },
  ({ reason, recordingId, yes }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const client = yield* controlClient("deployer")
        const known = yield* recordingNamed(client, recordingId, patience)
        if (!yes) return yield* new DeletionUnconfirmed({ recordingId, ...sizeOf(known) })
        const input = { recordingId, by: whoIAm(), reason }
        const { journals, left, recording } = yield* client.call("recording.delete", input, patience)
        const { deleted } = recording
        if (deleted !== undefined && (deleted.by !== input.by || deleted.reason !== input.reason)) {
          const { at, by, reason } = deleted
          const when = DateTime.formatIso(DateTime.makeUnsafe(at))
          yield* output.line(
            { type: "DeletedBefore", recordingId, at, by, reason },
            `${recordingId} was deleted by ${by} at ${when}: ${reason}. That word stays`
          )
        }
        for (const { nodeId, problem } of left) {
          yield* output.line({ type: "Left", nodeId, problem }, `${nodeId} has not done its part: ${problem}`)
        }
        yield* output.result(
          { outcome: left.length === 0 ? "ok" : "left", recordingId, journals, left: left.length },
          left.length === 0
            ? `${recordingId} is deleted, with ${count(journals, "journal")}`
            : `${recordingId} is deleted where it could be: the same again does the rest`
        )
        if (left.length > 0) return yield* new Ended({ code: leftCode })
      })
    )
).pipe(
  Command.withShortDescription("Delete a recording: its result and its journals"),
  Command.withDescription(
    paragraph(
      "Delete a recording: its result, its receipt, and its journals on every live",
      "node. Who did it, when and why stays, in the cluster and beside the results,",
      "and nothing of it comes back. Refused while it is captured or computed.",
      "",
      "Exit codes: 0 deleted, 4 some nodes have not done their part (they are named;",
      "the same again does the rest), 1 failed or refused, 64 bad usage."
    )
  )
)

const sizeOf = ({ bytes = 0, file }: RecordingInfo) => ({ bytes, ...(file === undefined ? {} : { file }) })

export const audit = Command.make("audit", {}, () =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const { call } = yield* controlClient("control")
      const all: Array<RecordingInfo> = []
      let after: string | undefined
      do {
        const from = after === undefined ? {} : { after }
        const page = yield* call("recording.list", { deleted: true, ...from }, patience)
        all.push(...page.recordings)
        after = page.next
      } while (after !== undefined)
      const rows = all.flatMap(({ deleted, ...recording }) =>
        deleted === undefined ? [] : [{ ...recording, deleted }]
      )
      yield* output.table(
        "Deletion",
        ["WHEN", "RECORDING", "ROOM", "BY", "WHY", "SHA-256"],
        rows
          .toSorted((a, b) => a.deleted.at - b.deleted.at)
          .map((each) => ({
            json: { ...each },
            cells: [
              DateTime.formatIso(DateTime.makeUnsafe(each.deleted.at)),
              each.recordingId,
              each.roomId,
              each.deleted.by,
              each.deleted.reason,
              each.sha256?.slice(0, 12) ?? "-"
            ]
          })),
        "nothing was deleted"
      )
      yield* output.result({ outcome: "ok", deletions: rows.length }, undefined)
    })
  )
).pipe(Command.withDescription("List what was deleted: when, by whom and why"))
