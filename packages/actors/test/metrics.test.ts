import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import { AsksMeasured, type ActorSystem } from "../src/index.ts"
import { TestBus } from "../src/testing/index.ts"
import { scraped } from "./observed.ts"
import { Counter, counter, Probe, system } from "./runtime.fixture.ts"

const watched = Effect.fnUntraced(function* (options: { readonly asksMeasured: boolean }) {
  const bus = yield* TestBus.make()
  const registry: Metric.MetricRegistry = new Map()
  const here = yield* system(bus, "here").pipe(
    Effect.provideService(Metric.MetricRegistry, registry),
    Effect.provideService(AsksMeasured, options.asksMeasured)
  )
  const away = yield* system(bus, "away").pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  const parent = yield* here.spawn(counter, "node", new Probe())
  yield* parent.started
  return { away, here, parent, of: (name: string) => scraped(registry, name) }
})

const drain = (away: ActorSystem["Service"], here: ActorSystem["Service"]) =>
  away.system(here.incarnation).ask("Drain", {
    kind: "counter",
    id: "node",
    by: "test",
    reason: "deploy",
    reversible: true,
    evacuate: false,
    deadlines: {}
  })

it.effect("actors are counted by kind and state, and a drain's blockers and time, when somebody looks", () =>
  Effect.gen(function* () {
    const { away, here, of, parent } = yield* watched({ asksMeasured: false })
    yield* parent.ref.ask("Spawn", { id: "a" })
    yield* parent.ref.ask("Spawn", { id: "b" })
    expect(of("ebb_actors")).toMatchObject({
      'kind="counter",state="Serving"': 3,
      'kind="counter",state="Draining"': 0
    })
    expect(of("ebb_drain_blockers")).toEqual({ 'kind="counter"': 0 })
    yield* drain(away, here)
    yield* TestClock.adjust("90 seconds")
    expect(of("ebb_actors")).toMatchObject({
      'kind="counter",state="Serving"': 2,
      'kind="counter",state="Draining"': 1
    })
    expect(of("ebb_drain_blockers")).toEqual({ 'kind="counter"': 2 })
    expect(of("ebb_drain_phase_seconds")).toEqual({ 'kind="counter"': 90 })
    yield* Effect.flip(parent.ref.ask("Spawn", { id: "late" }))
    expect(of("ebb_refusals_total")).toMatchObject({ 'error="NodeDraining"': 1, 'error="StaleEpoch"': 0 })
  })
)

it.effect("what is dropped and refused is counted by reason and error, and nothing holds an id", () =>
  Effect.gen(function* () {
    const { away, here, of, parent } = yield* watched({ asksMeasured: true })
    yield* Effect.flip(away.ref(Counter, { ...parent.ref.address, id: "nobody" }).ask("Total", undefined))
    expect(of("ebb_dead_letters_total")).toMatchObject({ 'reason="noActor"': 1, 'reason="expired"': 0 })
    expect(of("ebb_refusals_total")).toMatchObject({ 'error="NoSuchActor"': 1 })
    expect(JSON.stringify(of("ebb_asks_total"))).not.toContain(here.incarnation)
  })
)

it.effect("asks are measured by tag and outcome where it is wanted, and nowhere else", () =>
  Effect.gen(function* () {
    const on = yield* watched({ asksMeasured: true })
    yield* on.parent.ref.ask("Add", { by: 2 })
    yield* on.parent.ref.ask("Add", { by: 2 })
    const far = on.here.ref(Counter, { ...on.parent.ref.address, incarnation: on.away.incarnation })
    yield* Effect.flip(far.ask("Total", undefined))
    expect(on.of("ebb_asks_total")).toEqual({
      'kind="counter",tag="Add",outcome="ok"': 2,
      'kind="counter",tag="Total",outcome="NoSuchActor"': 1
    })
    expect(on.of("ebb_ask_seconds_count")).toEqual({
      'kind="counter",tag="Add"': 2,
      'kind="counter",tag="Total"': 1
    })
    yield* on.parent.ref.tell("Add", { by: 2 })
    expect(yield* on.parent.ref.ask("Total", undefined)).toBe(6)
    yield* on.parent.ref.ask("End", { detail: "over" })
    expect(yield* on.parent.ref.terminated).toMatchObject({ detail: "over" })
    const off = yield* watched({ asksMeasured: false })
    yield* off.parent.ref.ask("Add", { by: 2 })
    expect(off.of("ebb_asks_total")).toEqual({})
  })
)

it.effect("a system that has ended is read by nobody any more", () =>
  Effect.gen(function* () {
    const registry: Metric.MetricRegistry = new Map()
    yield* Effect.scoped(
      Effect.gen(function* () {
        const here = yield* system(yield* TestBus.make(), "here")
        yield* (yield* here.spawn(counter, "node", new Probe())).started
        expect(registry.size).toBeGreaterThan(0)
      }).pipe(Effect.provideService(Metric.MetricRegistry, registry))
    )
    expect(registry.size).toBe(0)
  })
)
