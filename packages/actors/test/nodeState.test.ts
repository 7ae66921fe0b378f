import { expect, it } from "@effect/vitest"
import type { Admission, Control, Life, NodeState } from "../src/index.ts"
import { isOver, transition } from "../src/index.ts"
import { initialState, isReversible } from "../src/NodeState.ts"

// The whole table, written down a second time: what is not here is refused.
const lives: Record<Life, string> = {
  Starting: "Serving Draining Stopped Failed",
  Serving: "Draining Evacuating Stopped Failed",
  Draining: "Serving Evacuating Sealing Stopped Failed",
  Evacuating: "Serving Sealing Stopped Failed",
  Sealing: "Drained Stopped Failed",
  Drained: "Stopped Failed",
  Stopped: "",
  Failed: ""
}
const admissions: Record<Admission, string> = {
  open: "cordoned closed",
  cordoned: "open closed",
  closed: "open cordoned"
}
const controls: Record<Control, string> = { connected: "isolated", isolated: "connected" }

const walk = <A extends keyof NodeState>(axis: A, table: Record<NodeState[A], string>) => {
  const all = Object.keys(table) as Array<NodeState[A]>
  for (const from of all) {
    for (const to of all) {
      const state: NodeState = { ...initialState, [axis]: from }
      const legal = table[from].split(" ").includes(to)
      expect(transition(state, axis, to), `${axis}: ${from} to ${to}`).toEqual(
        legal ? { ...state, [axis]: to } : undefined
      )
    }
  }
}

it("each axis moves as its table says and no other way, and leaves the other axes alone", () => {
  walk("life", lives)
  walk("admission", admissions)
  walk("control", controls)
})

it("a drain can be taken back exactly where Serving is a legal move", () => {
  for (const life of Object.keys(lives) as Array<Life>) {
    const canServe = lives[life].split(" ").includes("Serving") && life !== "Starting"
    const over = !canServe && life !== "Starting" && life !== "Serving"
    expect([life, isReversible(life), isOver(life)]).toEqual([life, canServe, over])
  }
})
