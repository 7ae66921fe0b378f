/** What every `EventLog` does. Runs on the log in memory and on a real nats-server's JetStream. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { EventLog } from "../src/EventLog.ts"
import { quietly } from "./quietly.ts"

export interface Logs {
  readonly connect: (name: string) => Effect.Effect<EventLog["Service"], never, Scope.Scope>
  readonly cut: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
}

const bytes = (text: string) => new TextEncoder().encode(text)

const texts = (log: EventLog["Service"], subject: string) =>
  Effect.map(log.read(subject), (events) => events.map(({ data }) => new TextDecoder().decode(data)))

export const eventLogContract = (name: string, makeLogs: Effect.Effect<Logs, never, Scope.Scope>) => {
  const test = (sentence: string, body: (logs: Logs) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(sentence, () => Effect.scoped(Effect.flatMap(makeLogs, body)).pipe(quietly))

  describe(`${name} is an EventLog`, () => {
    test("what is appended is read by another process, in order, each subject for itself", (logs) =>
      Effect.gen(function* () {
        const [here, there] = [yield* logs.connect("here"), yield* logs.connect("there")]
        expect(yield* there.read("a")).toEqual([])
        const first = yield* here.append("a", bytes("1"), 0)
        yield* here.append("b", bytes("other"), 0)
        const second = yield* there.append("a", bytes("2"), first)
        yield* here.append("a", bytes("3"), second)
        expect(yield* texts(there, "a")).toEqual(["1", "2", "3"])
        expect(yield* texts(here, "b")).toEqual(["other"])
        expect((yield* here.read("a")).slice(0, 2).map(({ sequence }) => sequence)).toEqual([first, second])
      }))

    test("an append that does not know the end conflicts and leaves nothing", (logs) =>
      Effect.gen(function* () {
        const log = yield* logs.connect("here")
        const first = yield* log.append("a", bytes("1"), 0)
        for (const stale of [0, first + 1]) {
          const error = yield* Effect.flip(log.append("a", bytes("late"), stale))
          expect(error._tag).toBe("KeyConflict")
        }
        expect(yield* texts(log, "a")).toEqual(["1"])
      }))

    test("of ten that append after the same event one does", (logs) =>
      Effect.gen(function* () {
        const both = [yield* logs.connect("here"), yield* logs.connect("there")]
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 10 }, (_, n) => n),
          (n) =>
            Effect.exit(
              Effect.forEach(both.slice(n % 2, (n % 2) + 1), (log) => log.append("a", bytes(`${n}`), 0))
            ),
          { concurrency: "unbounded" }
        )
        expect(outcomes.filter(Exit.isSuccess).length).toBe(1)
        expect((yield* texts(both[0] ?? (yield* logs.connect("here")), "a")).length).toBe(1)
      }))

    test("a thousand events are read whole", (logs) =>
      Effect.gen(function* () {
        const log = yield* logs.connect("here")
        let last = 0
        for (let n = 0; n < 1000; n++) last = yield* log.append("a", bytes(`${n}`), last)
        expect(yield* texts(log, "a")).toEqual(Array.from({ length: 1000 }, (_, n) => `${n}`))
      }))

    test("while it is away both calls fail with RegistryUnavailable; after that all is there", (logs) =>
      Effect.gen(function* () {
        const log = yield* logs.connect("here")
        const first = yield* log.append("a", bytes("1"), 0)
        yield* logs.cut
        const away = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
          Effect.repeat(
            Effect.map(Effect.result(effect), (result) =>
              result._tag === "Failure" ? result.failure._tag : undefined
            ),
            { until: (tag) => tag === "RegistryUnavailable" }
          )
        yield* away(log.read("a"))
        yield* away(log.append("other", bytes("2"), 0))
        yield* logs.mend
        yield* log.append("a", bytes("2"), first).pipe(Effect.eventually)
        expect(yield* texts(log, "a")).toEqual(["1", "2"])
      }))
  })
}
