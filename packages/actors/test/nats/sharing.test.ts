/** Shared frames between real processes' transports on a real nats-server, watched by a client that hears all that passes. */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import { makeOutgoing } from "../../src/nats/outgoing.ts"
import { decodeMessages } from "../../src/nats/sharedFrames.ts"
import { type Frame, Transport, TransportError } from "../../src/Transport.ts"
import { quietly } from "../quietly.ts"
import { of, to, shared, bytes, text, soon, inOneTurn, stage, askAll, acquaint } from "./sharing.fixture.ts"

const echo = (transport: Transport["Service"], incarnation = "inc") =>
  transport.subscribe(of.actorsOf(incarnation), (frame) =>
    frame.respond?.(bytes(`${frame.subject.split(".")[5]}:${text(frame.data)}`))
  )

it.live(
  "asks of one turn to one process share a frame once it has said that it takes them; one alone goes alone",
  () =>
    Effect.gen(function* () {
      const { client, here, hereClient, seen, subjectsSeen, there } = yield* stage
      yield* echo(there)
      const inboxes: Array<string> = []
      client.subscribe("_INBOX_here.>", { callback: (_, { subject }) => void inboxes.push(subject) })
      yield* Effect.promise(() => client.flush())

      expect(yield* askAll(here, ["a", "b", "c"])).toEqual(["a:a", "b:b", "c:c"])
      expect(yield* subjectsSeen).toEqual([shared(), to("a"), to("b"), to("c")])
      yield* Effect.promise(() => hereClient.flush())
      inboxes.length = 0

      expect(yield* askAll(here, ["a", "b", "a"])).toEqual(["a:a", "b:b", "a:a"])
      const together = yield* seen
      expect(together.map(({ subject }) => subject)).toEqual([shared()])
      expect(decodeMessages(together[0]?.data ?? bytes(""))).toEqual(
        ["a", "b", "a"].map((id) => ({ target: `k.${id}`, wantsAnswer: true, data: Buffer.from(id) }))
      )
      // So did the answers.
      expect(inboxes).toEqual([together[0]?.reply])

      expect(yield* askAll(here, ["a"])).toEqual(["a:a"])
      const [alone, ...more] = yield* seen
      expect(more).toEqual([])
      expect(alone?.subject).toBe(to("a"))
      expect(text(alone?.data ?? bytes(""))).toBe("a")
    }).pipe(quietly)
)

it.live("order holds among asks, tells, what is too large to share, and what is no actor's", () =>
  Effect.gen(function* () {
    const { here, hereClient, subjectsSeen, there } = yield* stage
    const heard = yield* Queue.unbounded<string>()
    const hear = (frame: Frame) => {
      Queue.offerUnsafe(heard, text(frame.data.subarray(0, 3)))
      frame.respond?.(frame.data)
    }
    yield* there.subscribe(of.actorsOf("inc"), hear)
    yield* there.subscribe(of.system("inc"), hear)
    yield* acquaint(here, hereClient)
    yield* Effect.replicateEffect(Queue.take(heard), 2)
    yield* subjectsSeen

    const large = new Uint8Array(100_000)
    const sends = Array.from({ length: 60 }, (_, n) => {
      const name = bytes(String(100 + n))
      if (n % 20 === 7) return here.request(to("a"), Buffer.concat([name, large]), soon)
      if (n % 20 === 13) return here.publish(to("b"), Buffer.concat([name, large]))
      if (n % 20 === 17) return here.request(of.system("inc"), name, soon)
      return n % 2 === 0 ? here.publish(to("a"), name) : here.request(to("b"), name, soon)
    })
    yield* Effect.all(sends, inOneTurn)
    expect(yield* Effect.replicateEffect(Queue.take(heard), 60)).toEqual(sends.map((_, n) => String(100 + n)))
    const passed = yield* subjectsSeen
    expect(passed.filter((subject) => subject === shared()).length).toBeGreaterThan(5)
    expect(passed.length).toBeLessThan(25)
  }).pipe(quietly)
)

it.live(
  "a process of a version before gets each frame alone and in order, and is asked once in ten seconds",
  () =>
    Effect.gen(function* () {
      const { client, hereClient, seen, unwatch, watch } = yield* stage
      let nowMs = 0
      const outgoing = yield* makeOutgoing(hereClient, {
        inboxPrefix: "_INBOX_here",
        isConnected: () => true,
        errorOf: (_, subject) => new TransportError({ reason: "Timeout", subject }),
        warn: () => {},
        nowMs: () => nowMs
      })
      client.subscribe(of.actorsOf("old"), {
        callback: (_, asked) => void (asked.reply === "" || asked.respond(asked.data))
      })
      yield* Effect.promise(() => client.flush())
      const round = Effect.forEach(
        ["a", "b", "c", "d"],
        (id) =>
          id === "b"
            ? outgoing.publish(to(id, "old"), bytes(id))
            : outgoing.request(to(id, "old"), bytes(id), soon),
        inOneTurn
      )
      const alone = ["a", "b", "c", "d"].map((id) => to(id, "old"))
      // Who watches is a listener, too: without one the question finds nobody.
      yield* unwatch
      yield* round
      yield* round
      yield* watch
      nowMs = 20_000
      for (const [afterMs, expected] of [
        [0, [shared("old"), ...alone]],
        [1, alone],
        [9_998, alone],
        [1, [shared("old"), ...alone]],
        [1, alone]
      ] as const) {
        nowMs += afterMs
        yield* round
        expect((yield* seen).map(({ subject }) => subject)).toEqual(expected)
      }
    }).pipe(quietly)
)

it.live("who takes shared frames is known of a bounded number of processes", () =>
  Effect.gen(function* () {
    const { here, subjectsSeen, there } = yield* stage
    yield* there.subscribe("nobody", () => {})
    const tellTwice = (incarnation: string) =>
      Effect.forEach(["a", "b"], (id) => here.publish(to(id, incarnation), bytes("")), inOneTurn)
    const questions = Effect.map(subjectsSeen, (all) =>
      all.filter((subject) => subject.startsWith("ebb.v1.c.b."))
    )
    for (let n = 0; n <= 1024; n++) yield* tellTwice(`p${n}`)
    expect((yield* questions).length).toBe(1025)
    yield* Effect.forEach(["p1024", "p0"], tellTwice)
    expect(yield* questions).toEqual([shared("p0")])
  }).pipe(quietly)
)

it.live(
  "of a shared frame that finds nobody each ask fails at once with NoListener; afterwards all go alone",
  () =>
    Effect.gen(function* () {
      const { here, hereClient, subjectsSeen, there, unwatch, watch } = yield* stage
      yield* Effect.scoped(Effect.andThen(echo(there), acquaint(here, hereClient)))
      // Who watches is a listener, too.
      yield* unwatch
      const errors = yield* Effect.forEach(
        ["a", "b"],
        (id) => Effect.flip(here.request(to(id), bytes(""), { timeoutMs: 60_000 })),
        inOneTurn
      )
      expect(errors).toMatchObject([
        { reason: "NoListener", subject: to("a") },
        { reason: "NoListener", subject: to("b") }
      ])
      yield* subjectsSeen
      yield* watch
      yield* echo(there)
      expect(yield* askAll(here, ["a", "b"])).toEqual(["a:a", "b:b"])
      expect(yield* subjectsSeen).toEqual([shared(), to("a"), to("b")])
    }).pipe(quietly)
)

it.live(
  "what waits for the end of the turn when the connection is lost fails with Disconnected; a tell is logged",
  () =>
    Effect.gen(function* () {
      const { hereClient, subjectsSeen } = yield* stage
      let connected = true
      const warnings: Array<string> = []
      const outgoing = yield* makeOutgoing(hereClient, {
        inboxPrefix: "_INBOX_here",
        isConnected: () => connected,
        errorOf: (_, subject) => new TransportError({ reason: "Timeout", subject }),
        warn: (text) => void warnings.push(text),
        nowMs: () => performance.now()
      })
      const exits = yield* Effect.all(
        [
          Effect.exit(outgoing.request(to("a"), bytes(""), { timeoutMs: 60_000 })),
          Effect.exit(outgoing.publish(to("b"), bytes(""))),
          Effect.sync(() => {
            connected = false
            return Exit.void
          })
        ],
        inOneTurn
      )
      expect(exits[0]).toEqual(Exit.fail(new TransportError({ reason: "Disconnected", subject: to("a") })))
      expect(exits[1]).toEqual(Exit.void)
      expect(yield* subjectsSeen).toEqual([])
      expect(warnings).toEqual([`a frame to ${to("b")} was not sent: Disconnected`])
    }).pipe(quietly)
)
