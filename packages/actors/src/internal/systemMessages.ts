/**
 * What each system message does to the actor that it names, at once, whatever waits in its mailbox. The same for those that come from this
 * process and from elsewhere.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { NoSuchActor, UndrainRefused } from "../ActorError.ts"
import type { Id } from "../Address.ts"
import type { SystemProtocol } from "../SystemProtocol.ts"
import type { Cell } from "./cell.ts"
import { type CellHost, nameOf } from "./cellHost.ts"
import type { Failure, Payload, Protocol, Success, Tag } from "./rpcSeam.ts"

/** A watcher that asks for longer is answered earlier, and asks again; what it left behind does not stay for ever. */
const watchHoldMaxMs = 60_000

export type SystemMessage = typeof SystemProtocol extends Protocol<infer R> ? R : never

const systemHandlers: {
  readonly [T in Tag<SystemMessage>]: (
    cell: Cell,
    input: Payload<SystemMessage, T>,
    nodeId: Id
  ) => Effect.Effect<Success<SystemMessage, T>, Failure<SystemMessage, T>>
} = {
  Drain: (cell, input) => Effect.sync(() => cell.drain.begin(input, () => {})),
  Undrain: (cell, input, nodeId) =>
    Effect.suspend(() => {
      const reason = cell.drain.undrain(input)
      return reason === undefined ? Effect.void : Effect.fail(new UndrainRefused({ nodeId, reason }))
    }),
  Admit: (cell, input) => Effect.sync(() => ({ changed: cell.admit(input.admission, input) })),
  Progress: (cell) => Effect.sync(() => cell.drain.progress()),
  Stop: (cell, input) => Effect.sync(() => cell.end(input.kill ? "kill" : "parent", input.detail)),
  Watch: (cell, { holdMs }) => {
    const { life } = cell
    cell.isWatched = true
    return Deferred.await(cell.ended).pipe(
      Effect.map(({ by, detail }) => ({ terminated: { by, detail }, life })),
      Effect.timeoutOrElse({
        duration: Math.min(holdMs, watchHoldMaxMs),
        orElse: () => Effect.succeed({ life })
      })
    )
  }
}

type Watch = Payload<SystemMessage, "Watch">

/** One name may have had several lives: is it this cell's that is watched? */
const isMeant = (cell: Cell, { epoch, life }: Partial<Watch>): boolean =>
  (life === undefined || life === cell.life) && (epoch === undefined || !cell.isLaterThan(epoch))

/** Runs one system message, decoded, on the cell it names. */
export const handleSystem = (
  host: CellHost,
  nodeId: Id,
  tag: Tag<SystemMessage>,
  payload: Payload<SystemMessage, Tag<SystemMessage>>
): Effect.Effect<unknown, unknown> =>
  Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const { id, kind } = payload
    const there = host.cells.get(nameOf(kind, id))
    const cell = there !== undefined && isMeant(there, payload) ? there : undefined
    if (cell === undefined && "life" in payload && payload.life !== undefined) {
      const { life } = payload
      const ended = host.endings.of(life)
      if (ended !== undefined && ended.address.kind === kind && ended.address.id === id)
        return Effect.succeed({ terminated: { by: ended.by, detail: ended.detail }, life })
    }
    // The table pairs each tag with its own payload; the compiler cannot follow that through one call.
    if (cell === undefined) {
      host.deadLetters.drop("noActor", { kind, id, tag })
      return Effect.fail(new NoSuchActor({ kind, id }))
    }
    return systemHandlers[tag](cell, payload as never, nodeId)
  })
