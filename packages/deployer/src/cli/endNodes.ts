/**
 * How the nodes of `ebb up` are ended: each time it is asked, one degree harder. Every part of it may be repeated, and no node is ever
 * signalled twice.
 */
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { askOnce } from "../internal/sight.ts"
import { Orchestrator } from "../Orchestrator.ts"
import { endedBadly, jsonOf, type Member, stateOf } from "./membership.ts"
import { Output } from "./output.ts"
import { exitCodes } from "./root.ts"

export type Ending = "none" | "draining" | "evacuating" | "killing"
export const harder: Readonly<Record<Ending, Ending>> = {
  none: "draining",
  draining: "evacuating",
  evacuating: "killing",
  killing: "killing"
}

export const endingWords: Readonly<Record<Ending, string>> = {
  none: "",
  draining: "draining: waiting until every room has closed. Ctrl-C again ends the rooms now",
  evacuating: "evacuating: rooms are ended, recordings finished. Ctrl-C again kills",
  killing: "killing: recordings are finished by the next `ebb up`, or by `ebb recordings recover`"
}

/** Moves each towards its end, as far as was asked. Who holds them up. */
export const endNodes = Effect.fnUntraced(function* (
  living: ReadonlyArray<Member>,
  ending: Ending,
  control: ControlClient
) {
  const orchestrator = yield* Orchestrator
  const by = { by: "ebb up", reason: "Ctrl-C" }
  return (yield* Effect.forEach(
    living.filter(({ state }) => state._tag === "Running"),
    Effect.fnUntraced(function* ({ instance, life, signalled }) {
      if (ending === "killing") yield* Effect.ignore(orchestrator.kill(instance))
      else if (signalled === "no") yield* Effect.ignore(orchestrator.signalOnce(instance, "SIGTERM"))
      // A mark without a known signal: the same drain by message.
      else if (signalled === "intent" && life === "Serving") {
        yield* Effect.ignore(control.call("node.drain", { nodeId: instance, ...by }, askOnce))
      }
      if (ending === "evacuating" && life === "Draining") {
        yield* Effect.ignore(control.call("node.drain", { nodeId: instance, evacuate: true, ...by }, askOnce))
      }
      const report = yield* Effect.option(control.call("node.status", { nodeId: instance }, askOnce))
      if (Option.isNone(report)) return []
      const [rooms, recordings] = [report.value.rooms, report.value.recordings].map((blockers) =>
        blockers.map(({ id }) => id)
      )
      return [{ instance, rooms: rooms ?? [], recordings: recordings ?? [] }]
    }),
    { concurrency: 8 }
  ))
    .flat()
    .filter(({ recordings, rooms }) => rooms.length + recordings.length > 0)
})

/** Says what ended otherwise than drained. */
export const concludeOf = Effect.fnUntraced(function* (all: ReadonlyArray<Member>, ending: Ending) {
  const output = yield* Output
  const badly = all.filter(endedBadly)
  for (const member of badly) {
    yield* output.line(
      { type: "EndedBadly", ...jsonOf(member), log: member.log },
      `${member.instance} ${stateOf(member)}; its output is in ${member.log}`
    )
  }
  return {
    text: "all has ended",
    code: ending === "killing" ? exitCodes.detached : badly.length > 0 ? exitCodes.failed : exitCodes.ok
  }
})
