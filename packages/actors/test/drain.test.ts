import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { DrainRequest } from "../src/index.ts"
import { NodeDraining, NoSuchActor, UndrainRefused } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { Counter, counter, Probe, system } from "./runtime.fixture.ts"

const request: DrainRequest = {
  by: "test",
  reason: "deploy",
  reversible: true,
  evacuate: false,
  deadlines: {}
}

/** A node with a parent actor `node`, and the means to drain it as an outside process would. */
const node = Effect.gen(function* () {
  const bus = yield* TestBus.make()
  const here = yield* system(bus, "here")
  const away = yield* system(bus, "away")
  const probe = new Probe()
  const { ref, started } = yield* here.spawn(counter, "node", probe)
  yield* started
  const target = { kind: "counter", id: "node" }
  const far = away.ref(Counter, ref.address)
  return {
    far,
    here,
    probe,
    ref,
    child: (id: string) => away.ref(Counter, { ...ref.address, id }),
    drain: (more: Partial<DrainRequest> = {}) =>
      away.system(here.incarnation).ask("Drain", { ...target, ...request, ...more }),
    undrain: away
      .system(here.incarnation)
      .ask("Undrain", { ...target, by: "test", reason: "second thoughts" }),
    ended: yield* Effect.forkChild(far.terminated)
  }
})

it.effect("a drain refuses new children, serves those it has, and ends when the last has ended", () =>
  Effect.gen(function* () {
    const { child, drain, ended, far, probe } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    expect(yield* Effect.flip(far.ask("Spawn", { id: "late" }))).toEqual(new NodeDraining({ nodeId: "here" }))
    expect(yield* child("room").ask("Add", { by: 1 })).toBe(1)
    expect(ended.pollUnsafe()).toBeUndefined()
    yield* child("room").ask("End", { detail: "closed" })
    expect(yield* Fiber.join(ended)).toMatchObject({ by: "itself", detail: "drained" })
    expect(probe.log).toEqual(["start node", "start room", "release room", "release node"])
  })
)

it.effect(
  "a drain overtakes what waits in the mailbox: a spawn accepted before is awaited, a queued one is refused",
  () =>
    Effect.gen(function* () {
      const { drain, far, probe } = yield* node
      yield* far.ask("Spawn", { id: "before" })
      yield* Effect.forkChild(far.ask("Wait", { gate: "g" }))
      yield* probe.reached("g")
      const queued = yield* Effect.forkChild(Effect.flip(far.ask("Spawn", { id: "queued" })))
      yield* Effect.yieldNow
      yield* drain()
      yield* probe.open("g")
      expect(yield* Fiber.join(queued)).toEqual(new NodeDraining({ nodeId: "here" }))
      expect(probe.log).toEqual(["start node", "start before"])
    })
)

it.effect("draining twice is no error", () =>
  Effect.gen(function* () {
    const { child, drain, ended, far } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    yield* drain({ by: "somebody else" })
    yield* child("room").ask("End", { detail: "closed" })
    expect(yield* Fiber.join(ended)).toMatchObject({ detail: "drained" })
    expect(yield* Effect.flip(drain())).toEqual(new NoSuchActor({ kind: "counter", id: "node" }))
  })
)

it.effect("a drain can be taken back while something is served, and a child can be spawned right after", () =>
  Effect.gen(function* () {
    const { drain, ended, far, undrain } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    yield* undrain
    yield* far.ask("Spawn", { id: "again" })
    expect(ended.pollUnsafe()).toBeUndefined()
  })
)

it.effect("a drain that was asked for by a signal cannot be taken back", () =>
  Effect.gen(function* () {
    const { drain, far, undrain } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain({ reversible: false })
    yield* drain()
    expect(yield* Effect.flip(undrain)).toBeInstanceOf(UndrainRefused)
    expect(yield* Effect.flip(far.ask("Spawn", { id: "late" }))).toEqual(new NodeDraining({ nodeId: "here" }))
  })
)

it.effect(
  "what must be finished may begin during a drain, is awaited after the last served child, and bars undrain then",
  () =>
    Effect.gen(function* () {
      const { child, drain, ended, far, undrain } = yield* node
      yield* far.ask("Spawn", { id: "room" })
      yield* drain()
      yield* far.ask("Spawn", { id: "recording", holds: "sealing" })
      yield* child("room").ask("End", { detail: "closed" })
      expect(yield* Effect.flip(undrain)).toEqual(
        new UndrainRefused({ nodeId: "here", reason: "it is Sealing" })
      )
      expect(yield* Effect.flip(far.ask("Spawn", { id: "more", holds: "sealing" }))).toBeInstanceOf(
        NodeDraining
      )
      expect(ended.pollUnsafe()).toBeUndefined()
      yield* child("recording").ask("End", { detail: "computed" })
      expect(yield* Fiber.join(ended)).toMatchObject({ detail: "drained" })
    })
)

it.effect("an evacuation ends what is served and still awaits what must be finished", () =>
  Effect.gen(function* () {
    const { child, drain, ended, far, probe } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* far.ask("Spawn", { id: "recording", holds: "sealing" })
    yield* drain()
    const room = yield* Effect.forkChild(child("room").terminated, { startImmediately: true })
    yield* drain({ evacuate: true })
    expect(yield* Fiber.join(room)).toMatchObject({ by: "parent", detail: "evacuated" })
    expect(probe.log).not.toContain("release recording")
    yield* child("recording").ask("End", { detail: "computed" })
    expect(yield* Fiber.join(ended)).toMatchObject({ detail: "drained" })
  })
)

it.effect(
  "each clock does its own thing: drain deadline evacuates, sealing deadline ends and names what is left",
  () =>
    Effect.gen(function* () {
      const bus = yield* TestBus.make()
      const here = yield* system(bus, "here")
      const probe = new Probe()
      const { ref } = yield* here.spawn(counter, "node", probe)
      yield* ref.ask("Spawn", { id: "room" })
      yield* ref.ask("Spawn", { id: "recording", holds: "sealing" })
      const outcome = yield* Effect.forkChild(
        here.drain("counter", "node", { ...request, deadlines: { drainMs: 60_000, sealingMs: 30_000 } })
      )
      yield* TestClock.adjust(59_999)
      expect(probe.log).not.toContain("release room")
      yield* TestClock.adjust(1)
      expect(probe.log).toContain("release room")
      yield* TestClock.adjust(29_999)
      expect(outcome.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(outcome)).toEqual({ _tag: "Unsealed", left: ["counter/recording"] })
    })
)

it.effect("cordoned is placed last, not refused; a drain closes, an undrain opens", () =>
  Effect.gen(function* () {
    const { drain, far, here, undrain } = yield* node
    const states: Array<string> = []
    here.onStateChange("counter", "node", (state) => states.push(`${state.life} ${state.admission}`))
    const admit = (admission: "open" | "cordoned") =>
      here
        .system(here.incarnation)
        .ask("Admit", { kind: "counter", id: "node", by: "t", reason: "r", admission })
    expect(yield* admit("cordoned")).toEqual({ changed: true })
    expect(yield* admit("cordoned")).toEqual({ changed: false })
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    expect(yield* admit("open")).toEqual({ changed: false })
    yield* undrain
    expect(states).toEqual([
      "Serving cordoned",
      "Serving closed",
      "Draining closed",
      "Serving closed",
      "Serving open"
    ])
  })
)

it.effect("an actor's own deadlines hold for drains that bring none", () =>
  Effect.gen(function* () {
    const bus = yield* TestBus.make()
    const here = yield* system(bus, "here")
    const probe = new Probe()
    const { outcome, ref } = yield* here.spawn(counter, "node", probe, { deadlines: { drainMs: 5000 } })
    yield* ref.ask("Spawn", { id: "room" })
    yield* here.system(here.incarnation).ask("Drain", { kind: "counter", id: "node", ...request })
    const over = yield* Effect.forkChild(outcome)
    yield* TestClock.adjust(4999)
    expect(probe.log).not.toContain("release room")
    yield* TestClock.adjust(1)
    expect(yield* Fiber.join(over)).toEqual({ _tag: "Evacuated" })
  })
)

it.effect("a drain that is joined with deadlines gets them, counted from the beginning of the phase", () =>
  Effect.gen(function* () {
    const { drain, far, probe } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    yield* TestClock.adjust(3000)
    yield* drain({ deadlines: { drainMs: 5000 } })
    yield* TestClock.adjust(1999)
    expect(probe.log).not.toContain("release room")
    yield* TestClock.adjust(1)
    expect(probe.log).toContain("release room")
  })
)

it.effect("what prefers a draining node is taken while it drains, and no more once it evacuates", () =>
  Effect.gen(function* () {
    const { child, drain, far, probe } = yield* node
    yield* far.ask("Spawn", { id: "room" })
    yield* drain()
    yield* far.ask("Spawn", { id: "preferred", prefer: true })
    yield* Effect.forkChild(child("room").ask("Wait", { gate: "holds" }), { startImmediately: true })
    yield* drain({ evacuate: true })
    expect(yield* Effect.flip(far.ask("Spawn", { id: "late", prefer: true }))).toBeInstanceOf(NodeDraining)
    yield* probe.open("holds")
  })
)

it.effect("an undrain of what does not drain changes nothing: a cordon stays", () =>
  Effect.gen(function* () {
    const { here, undrain } = yield* node
    const admit = (admission: "open" | "cordoned") =>
      here
        .system(here.incarnation)
        .ask("Admit", { kind: "counter", id: "node", by: "t", reason: "r", admission })
    yield* admit("cordoned")
    yield* undrain
    expect(yield* admit("cordoned")).toEqual({ changed: false })
  })
)

it.effect("a drain says how far it is: who blocks, the oldest first, and when its clock fires", () =>
  Effect.gen(function* () {
    const { child, drain, far, here } = yield* node
    const progress = here.system(here.incarnation).ask("Progress", { kind: "counter", id: "node" })
    yield* far.ask("Spawn", { id: "old" })
    yield* TestClock.adjust(1000)
    yield* far.ask("Spawn", { id: "young" })
    yield* far.ask("Spawn", { id: "recording", holds: "sealing" })
    expect(yield* progress).toMatchObject({ serving: 2, sealing: 1, blockers: [], deadlines: {} })
    yield* TestClock.adjust(500)
    yield* drain({ deadlines: { drainMs: 5000, sealingMs: 9000 } })
    yield* TestClock.adjust(2000)
    const blocker = (id: string, ageMs: number, holds = "serving") => ({ kind: "counter", id, holds, ageMs })
    expect(yield* progress).toEqual({
      state: { life: "Draining", admission: "closed", control: "connected" },
      serving: 2,
      sealing: 1,
      blockers: [blocker("old", 3500), blocker("young", 2500)],
      deadlines: { drainMs: 5000, sealingMs: 9000 },
      phaseMs: 2000,
      leftMs: 3000
    })
    for (const id of ["old", "young"]) yield* child(id).ask("End", { detail: "closed" })
    yield* TestClock.adjust(100)
    expect(yield* progress).toMatchObject({
      state: { life: "Sealing" },
      serving: 0,
      sealing: 1,
      blockers: [blocker("recording", 2600, "sealing")],
      phaseMs: 100,
      leftMs: 8900
    })
  })
)
