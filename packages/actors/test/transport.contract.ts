/** What every `Transport` does. Runs on the bus in memory and on a real nats-server. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { subjects } from "../src/Address.ts"
import type { Frame, Transport } from "../src/Transport.ts"
import { quietly } from "./quietly.ts"

/** One network of the kind under test, with processes on it. */
export interface Network {
  readonly connect: (name: string) => Effect.Effect<Transport["Service"], never, Scope.Scope>
  /** Takes the network from every process, and gives it back. */
  readonly cut: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
  /** Stops a process for over a second, other processes perhaps with it, while what is sent to it arrives. */
  readonly pausedWhile: <E>(name: string, send: Effect.Effect<void, E>) => Effect.Effect<void, E>
}

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const soon = { timeoutMs: 2_000 }

const cluster = subjects("c")
const actor = (id: string) => cluster.actor({ kind: "k", id, incarnation: "there" })
const atOnce = { concurrency: "unbounded" } as const

export const transportContract = (name: string, makeNetwork: Effect.Effect<Network, never, Scope.Scope>) => {
  const test = (sentence: string, body: (network: Network) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(sentence, () => Effect.scoped(Effect.flatMap(makeNetwork, body)).pipe(quietly))

  describe(`${name} is a Transport`, () => {
    test("a request is answered by a listener in another process", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        yield* there.subscribe("greet", (frame) => frame.respond?.(bytes(`hello ${text(frame.data)}`)))
        expect(text(yield* here.request("greet", bytes("Ada"), soon))).toBe("hello Ada")
      }))

    test("a process can listen to itself", (network) =>
      Effect.gen(function* () {
        const here = yield* network.connect("here")
        yield* here.subscribe("echo", (frame) => frame.respond?.(frame.data))
        expect(text(yield* here.request("echo", bytes("x"), soon))).toBe("x")
      }))

    test("a request that nobody listens to fails at once with NoListener", (network) =>
      Effect.gen(function* () {
        const here = yield* network.connect("here")
        const error = yield* Effect.flip(here.request("nobody", bytes(""), { timeoutMs: 60_000 }))
        expect(error).toMatchObject({ _tag: "TransportError", reason: "NoListener", subject: "nobody" })
      }))

    test("a request that is not answered in time fails with Timeout", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const arrived = yield* Deferred.make<void>()
        yield* there.subscribe("silent", () => Deferred.doneUnsafe(arrived, Effect.void))
        const error = yield* Effect.flip(here.request("silent", bytes(""), { timeoutMs: 50 }))
        expect(error.reason).toBe("Timeout")
        yield* Deferred.await(arrived)
      }))

    test("only the first answer counts, and an empty one is an answer", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        yield* there.subscribe("twice", (frame) => {
          frame.respond?.(new Uint8Array())
          frame.respond?.(bytes("second"))
        })
        expect((yield* here.request("twice", bytes(""), soon)).length).toBe(0)
        expect((yield* here.request("twice", bytes(""), soon)).length).toBe(0)
      }))

    test("frames of one sender arrive in order, a publish has nothing to respond with", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const frames = yield* Queue.unbounded<Frame>()
        yield* there.subscribe("count", (frame) => Queue.offerUnsafe(frames, frame))
        for (let n = 0; n < 200; n++) yield* here.publish("count", bytes(String(n)))
        const seen = yield* Effect.replicateEffect(Queue.take(frames), 200)
        expect(seen.map((frame) => text(frame.data))).toEqual(
          Array.from({ length: 200 }, (_, n) => String(n))
        )
        expect(seen.every((frame) => frame.respond === undefined)).toBe(true)
        expect(seen.some((frame) => frame.stale)).toBe(false)
      }))

    test("what comes while its process is paused is stale, in order; what is sent after is not", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const heard = yield* Queue.unbounded<string>()
        yield* there.subscribe("s", (frame) => {
          Queue.offerUnsafe(heard, `${frame.stale ? "stale" : "fresh"} ${text(frame.data)}`)
          frame.respond?.(frame.data)
        })
        const send = (word: string) => here.publish("s", bytes(word))
        yield* send("before")
        expect(yield* Queue.take(heard)).toBe("fresh before")
        for (const round of [1, 2]) {
          yield* network.pausedWhile("there", Effect.forEach(["a", "b", "c"], send, { discard: true }))
          expect(yield* Effect.replicateEffect(Queue.take(heard), 3)).toEqual([
            "stale a",
            "stale b",
            "stale c"
          ])
          // Soon, and from then on, all is fresh.
          const again = Effect.andThen(send(`again ${round}`), Queue.take(heard))
          yield* Effect.repeat(again, { until: (word) => word === `fresh again ${round}` })
          expect(text(yield* here.request("s", bytes("after"), soon))).toBe("after")
          expect(yield* Queue.take(heard)).toBe("fresh after")
        }
      }))

    test("requests and publishes of one turn to actors of a process arrive in order, large ones among them", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const frames = yield* Queue.unbounded<Frame>()
        yield* there.subscribe(cluster.actorsOf("there"), (frame) => {
          Queue.offerUnsafe(frames, frame)
          frame.respond?.(frame.data.subarray(0, 3))
        })
        const sent = Array.from({ length: 60 }, (_, n) => ({ id: `a${n % 7}`, name: String(100 + n), n }))
        for (let turn = 0; turn < 5; turn++) {
          const answers = yield* Effect.forEach(
            sent,
            ({ id, n, name }) => {
              const data =
                n % 10 === 4 ? new Uint8Array([...bytes(name), ...new Uint8Array(50_000)]) : bytes(name)
              return n % 3 === 0
                ? Effect.as(here.publish(actor(id), data), name)
                : Effect.map(here.request(actor(id), data, soon), text)
            },
            atOnce
          )
          expect(answers).toEqual(sent.map(({ name }) => name))
          const seen = yield* Effect.replicateEffect(Queue.take(frames), sent.length)
          expect(seen.map(({ data, subject }) => [subject, text(data.subarray(0, 3))])).toEqual(
            sent.map(({ id, name }) => [actor(id), name])
          )
          expect(seen.map(({ respond }) => respond === undefined)).toEqual(sent.map(({ n }) => n % 3 === 0))
        }
      }))

    test("requests of one turn are answered each by itself: late, with nothing, never, or not at all", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const late = yield* Deferred.make<Frame>()
        const scope = yield* Scope.make()
        yield* there
          .subscribe(cluster.actorsOf("there"), (frame) => {
            if (frame.subject === actor("throws")) throw new Error("a listener's defect")
            if (frame.subject === actor("late")) Deferred.doneUnsafe(late, Effect.succeed(frame))
            else if (frame.subject !== actor("never")) frame.respond?.(frame.data)
          })
          .pipe(Scope.provide(scope))
        const ask = (id: string, data: string, timeoutMs = 2_000) =>
          here.request(actor(id), bytes(data), { timeoutMs }).pipe(
            Effect.map(text),
            Effect.catch(({ reason }) => Effect.succeed(reason))
          )
        for (let turn = 0; turn < 3; turn++) {
          const answers = yield* Effect.all(
            [ask("never", "", 50), ask("a", "1"), ask("throws", "", 50), ask("a", ""), ask("b", "2")],
            atOnce
          )
          expect(answers).toEqual(["Timeout", "1", "Timeout", "", "2"])
        }
        const answerLate = Effect.map(Deferred.await(late), (frame) => frame.respond?.(bytes("at last")))
        const [first, second] = yield* Effect.all(
          [ask("late", ""), Effect.andThen(ask("a", "3"), Effect.as(answerLate, "3"))],
          atOnce
        )
        expect([first, second]).toEqual(["at last", "3"])
        yield* Scope.close(scope, Exit.void)
        const gone = Effect.all([ask("a", "", 60_000), ask("b", "", 60_000)], atOnce)
        expect(yield* Effect.repeat(gone, { until: ([one]) => one !== "" })).toEqual([
          "NoListener",
          "NoListener"
        ])
      }))

    test("a subject with * matches one token, one with > all that follow", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const seen = yield* Queue.unbounded<string>()
        yield* there.subscribe("a.*.c", (frame) => Queue.offerUnsafe(seen, `star ${frame.subject}`))
        yield* there.subscribe("b.>", (frame) => Queue.offerUnsafe(seen, `rest ${frame.subject}`))
        yield* there.subscribe("end", (frame) => Queue.offerUnsafe(seen, frame.subject))
        for (const subject of ["a.x.c", "a.c", "a.x.y.c", "a.x", "b", "b.x", "b.x.y", "end"]) {
          yield* here.publish(subject, bytes(""))
        }
        const arrived: Array<string> = []
        while (arrived.at(-1) !== "end") arrived.push(yield* Queue.take(seen))
        expect(arrived).toEqual(["star a.x.c", "rest b.x", "rest b.x.y", "end"])
      }))

    test("each frame goes to one member of a queue group, and to every plain listener", (network) =>
      Effect.gen(function* () {
        const here = yield* network.connect("here")
        const seen = yield* Queue.unbounded<string>()
        for (const member of ["one", "two", "three"]) {
          const process = yield* network.connect(member)
          yield* process.subscribe("work", () => Queue.offerUnsafe(seen, "member"), { queue: "workers" })
        }
        yield* (yield* network.connect("plain")).subscribe("work", () => Queue.offerUnsafe(seen, "plain"))
        for (let n = 0; n < 30; n++) yield* here.publish("work", bytes(""))
        const arrived = yield* Effect.replicateEffect(Queue.take(seen), 60)
        expect(arrived.filter((who) => who === "member").length).toBe(30)
        // A frame too many would come before this answer.
        yield* here.subscribe("after", (frame) => frame.respond?.(bytes("")))
        yield* here.request("after", bytes(""), soon)
        expect(yield* Queue.size(seen)).toBe(0)
      }))

    test("a subscription ends with its scope", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        const scope = yield* Scope.make()
        yield* there.subscribe("brief", (frame) => frame.respond?.(frame.data)).pipe(Scope.provide(scope))
        yield* here.request("brief", bytes(""), soon)
        yield* Scope.close(scope, Exit.void)
        // The server learns of it a moment later.
        const error = yield* Effect.forever(here.request("brief", bytes(""), { timeoutMs: 100 })).pipe(
          Effect.flip,
          Effect.repeat({ until: (error) => error.reason === "NoListener" })
        )
        expect(error.reason).toBe("NoListener")
      }))

    test("a listener that throws is called again for the next frame", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        yield* there.subscribe("fragile", (frame) => {
          if (text(frame.data) === "bad") throw new Error("a listener's defect")
          frame.respond?.(frame.data)
        })
        yield* here.publish("fragile", bytes("bad"))
        expect(text(yield* here.request("fragile", bytes("good"), soon))).toBe("good")
      }))

    test("one MiB is taken, and one byte more fails with TooLarge", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        yield* there.subscribe("big", (frame) => frame.respond?.(bytes(String(frame.data.length))))
        const size = 1024 * 1024
        expect(text(yield* here.request("big", new Uint8Array(size), soon))).toBe(String(size))
        expect((yield* Effect.flip(here.request("big", new Uint8Array(size + 1), soon))).reason).toBe(
          "TooLarge"
        )
        expect((yield* Effect.flip(here.publish("big", new Uint8Array(size + 1)))).reason).toBe("TooLarge")
        expect((yield* Effect.flip(here.publish(actor("a"), new Uint8Array(size + 1)))).reason).toBe(
          "TooLarge"
        )
        // An answer too large is dropped, and breaks nothing.
        yield* there.subscribe("bigger", (frame) => frame.respond?.(new Uint8Array(size + 1)))
        expect((yield* Effect.flip(here.request("bigger", bytes(""), { timeoutMs: 50 }))).reason).toBe(
          "Timeout"
        )
        yield* here.request("big", bytes(""), soon)
      }))

    test("without a network every send fails at once with Disconnected, and all is back with it", (network) =>
      Effect.gen(function* () {
        const [here, there] = [yield* network.connect("here"), yield* network.connect("there")]
        yield* there.subscribe("still", (frame) => frame.respond?.(frame.data))
        const before = yield* here.connectedSince
        const states = yield* Queue.unbounded<boolean>()
        yield* here.connected.pipe(
          Stream.runForEach((state) => Queue.offer(states, state)),
          Effect.forkScoped
        )
        expect(yield* Queue.take(states)).toBe(true)

        yield* network.cut
        expect(yield* Queue.take(states)).toBe(false)
        expect(yield* here.connectedSince).toBeUndefined()
        expect((yield* Effect.flip(here.publish("still", bytes("")))).reason).toBe("Disconnected")
        const error = yield* Effect.flip(here.request("still", bytes(""), { timeoutMs: 60_000 }))
        expect(error.reason).toBe("Disconnected")
        for (const send of [here.publish(actor("a"), bytes("")), here.request(actor("a"), bytes(""), soon)]) {
          expect((yield* Effect.flip<unknown, { readonly reason: string }, never>(send)).reason).toBe(
            "Disconnected"
          )
        }
        // Made while there is no network, it works as soon as there is one.
        yield* here.subscribe("new", (frame) => frame.respond?.(bytes("new")))

        yield* network.mend
        expect(yield* Queue.take(states)).toBe(true)
        expect(yield* here.connectedSince).toBeGreaterThan(before ?? Number.POSITIVE_INFINITY)
        const retry = { until: (answer: string) => answer !== "" }
        const ask = (transport: Transport["Service"], subject: string) =>
          transport.request(subject, bytes("back"), soon).pipe(
            Effect.map(text),
            Effect.catch(() => Effect.as(Effect.sleep(10), "")),
            Effect.repeat(retry)
          )
        expect(yield* ask(here, "still")).toBe("back")
        expect(yield* ask(there, "new")).toBe("new")
      }))
  })
}
