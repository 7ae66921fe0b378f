/** The nodes of this machine's cluster as a person sees them: each instance with what its lease says, and what changed since. */
import { Leases } from "@ebb/actors"
import * as Effect from "effect/Effect"
import type { InstanceState, Signalled } from "../Orchestrator.ts"
import { Orchestrator } from "../Orchestrator.ts"
import { align } from "./output.ts"

export interface Member {
  readonly instance: string
  readonly version: string
  readonly state: InstanceState
  readonly signalled: Signalled
  readonly log: string
  /** From its lease; undefined while it has none. */
  readonly life: string | undefined
  readonly admission: string | undefined
  readonly control: string | undefined
  readonly rooms: number
  readonly recordings: number
}

export const members = Effect.gen(function* () {
  const orchestrator = yield* Orchestrator
  const leases = yield* Leases
  const nodes = new Map((yield* leases.current).map((lease) => [lease.node, lease]))
  return (yield* orchestrator.list).map((instance): Member => {
    const lease = nodes.get(instance.instance)
    return {
      ...instance,
      life: lease?.life,
      admission: lease?.admission,
      control: lease?.control,
      rooms: lease?.rooms ?? 0,
      recordings: lease?.recordings ?? 0
    }
  })
})

export const isAlive = ({ state }: Member): boolean => state._tag !== "Exited" && state._tag !== "Vanished"

/** It is over before it ever served, and nobody asked it to end. */
export const neverServed = (member: Member, served: ReadonlySet<string>): boolean =>
  !isAlive(member) && member.signalled === "no" && !served.has(member.instance)

/** It is over, and was neither drained nor evacuated. */
export const endedBadly = ({ state }: Member): boolean =>
  state._tag === "Vanished" || (state._tag === "Exited" && state.code !== 0 && state.code !== 3)

/** In a word. */
export const stateOf = ({ control, life, signalled, state }: Member): string => {
  switch (state._tag) {
    case "Starting":
      return "Starting"
    case "Running":
      // Without a lease it has not yet got one, or has given it up on its way out.
      return life === undefined
        ? signalled === "no"
          ? "Starting"
          : "Ending"
        : control === "isolated"
          ? `${life}, isolated`
          : life
    case "Exiting":
      return "Exiting"
    case "Exited":
      return `ended with ${state.code}${state.signal === undefined ? "" : ` (${state.signal})`}`
    case "Vanished":
      return `vanished (${state.cause})`
  }
}

export const byName = (all: ReadonlyArray<Member>): ReadonlyMap<string, Member> =>
  new Map(all.map((member) => [member.instance, member]))

/** One line for each member that is another than before. */
export const news = (
  before: ReadonlyMap<string, Member>,
  now: ReadonlyArray<Member>
): ReadonlyArray<{ readonly member: Member; readonly text: string }> =>
  now.flatMap((member) => {
    const known = before.get(member.instance)
    const admission = (of: Member) => (of.admission === "cordoned" && isAlive(of) ? ", cordoned" : "")
    const text = `${stateOf(member)}${admission(member)}`
    if (known !== undefined && text === `${stateOf(known)}${admission(known)}`) return []
    return [{ member, text: `${member.instance} (${member.version}) ${text}` }]
  })

export const memberTable = (all: ReadonlyArray<Member>): ReadonlyArray<string> =>
  align([
    ["NODE", "VERSION", "STATE", "ADMISSION", "ROOMS", "RECORDINGS"],
    ...all.map((member) => [
      member.instance,
      member.version,
      stateOf(member),
      member.admission ?? "-",
      String(member.rooms),
      String(member.recordings)
    ])
  ])

/** With stable names. */
export const jsonOf = (member: Member) => ({
  instance: member.instance,
  version: member.version,
  state: member.state._tag,
  life: member.life ?? null,
  admission: member.admission ?? null,
  code: member.state._tag === "Exited" ? member.state.code : null
})
