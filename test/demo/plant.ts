/** Faults on purpose: what a cut room and a damaged journal look like in the demo's figures. */
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { MediaRoom } from "./MediaRoom.ts"

/** Ends a room behind everybody's back. */
export const cutRoom = (control: ControlClient, room: MediaRoom) =>
  Effect.ignore(control.call("room.close", { roomId: room.roomId, reason: "cut on purpose" }))

/** Cuts the journal of a recording to half its length while it is written. */
export const truncateJournal = (dataDir: string, room: MediaRoom) =>
  Effect.sync(() => {
    const incarnations = path.join(dataDir, "incarnations")
    for (const incarnation of fs.readdirSync(incarnations)) {
      const file = path.join(incarnations, incarnation, room.recordingId ?? "", "journal.ebbj")
      if (fs.existsSync(file)) fs.truncateSync(file, Math.floor(fs.statSync(file).size / 2))
    }
  })
