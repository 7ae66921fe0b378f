/** `ebb cordon`, `uncordon`, `drain`, `undrain`: one message to one node each. None of them is a signal. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { isName, nameRule } from "../internal/names.ts"
import { paragraph } from "./help.ts"
import { Output } from "./output.ts"
import { command } from "./root.ts"
import { controlClient } from "./session.ts"

const node = Argument.String("node").pipe(
  Argument.withMetavar("NODE"),
  Argument.filter(isName, () => nameRule),
  Argument.withDescription("The node's name, as `ebb nodes` lists it")
)
const by = { by: "ebb", reason: "command line" }

const admission = (name: "cordon" | "uncordon", description: string, done: string) =>
  Command.make(name, { node }, ({ node: nodeId }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const { call, patience } = yield* controlClient("deployer")
        const { changed } = yield* call(`node.${name}`, { nodeId, ...by }, patience)
        yield* output.result(
          { outcome: "ok", nodeId, changed },
          changed ? `${nodeId} ${done}` : `${nodeId}: nothing changed`
        )
      })
    )
  ).pipe(Command.withDescription(description))

export const cordon = admission(
  "cordon",
  "Place new rooms on this node last: only when no other takes them",
  "is cordoned: it takes new rooms only when no other node can"
)
export const uncordon = admission("uncordon", "Take a cordon back", "takes new rooms again")

export const drain = Command.make(
  "drain",
  {
    node,
    evacuate: Flag.Boolean("evacuate").pipe(
      Flag.withDescription("End its rooms now; their recordings are sealed and computed"),
      Flag.withDefault(false)
    ),
    deadline: Flag.Finite("deadline").pipe(
      Flag.withMetavar("SECONDS"),
      Flag.withDescription("Evacuate after this time (default: never)"),
      Flag.filter(
        (seconds) => seconds >= 0,
        () => "seconds, from 0 on"
      ),
      Flag.optional
    )
  },
  ({ deadline, evacuate, node: nodeId }) =>
    command(
      Effect.gen(function* () {
        const output = yield* Output
        const { call, patience } = yield* controlClient("deployer")
        const deadlines = Option.match(deadline, {
          onNone: () => ({}),
          onSome: (seconds) => ({ deadlines: { drainMs: seconds * 1000 } })
        })
        yield* call("node.drain", { nodeId, evacuate, ...deadlines, ...by }, patience)
        yield* output.result(
          { outcome: "ok", nodeId, evacuate },
          evacuate
            ? `${nodeId} evacuates: its rooms end, its recordings are finished, then it ends`
            : `${nodeId} drains: it takes no new room, and ends when its last has closed`
        )
      })
    )
).pipe(
  Command.withShortDescription("Let a node end once its rooms have closed"),
  Command.withDescription(
    paragraph(
      "Let a node take nothing new, and end when its last room has closed and its",
      "last recording is stored. Returns at once; `ebb undrain` takes it back."
    )
  )
)

export const undrain = Command.make("undrain", { node }, ({ node: nodeId }) =>
  command(
    Effect.gen(function* () {
      const output = yield* Output
      const { call, patience } = yield* controlClient("deployer")
      const { life } = yield* call("node.status", { nodeId }, patience)
      yield* call("node.undrain", { nodeId, ...by }, patience)
      const changed = life !== "Serving" && life !== "Starting"
      yield* output.result(
        { outcome: "ok", nodeId, changed },
        changed ? `${nodeId} serves again` : `${nodeId} was not draining: nothing changed`
      )
    })
  )
).pipe(
  Command.withShortDescription("Take a drain back"),
  Command.withDescription("Take a drain back; refused after a SIGTERM, or once its last room has closed")
)
