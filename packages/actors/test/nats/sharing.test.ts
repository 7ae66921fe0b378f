/** Shared frames between real processes' transports on a real nats-server, watched by a client that hears all that passes. */
import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type { Msg, NatsConnection as Client } from "nats"
import { subjects } from "../../src/Address.ts"
import { decodeReply, encodeRequest, pack, unpack } from "../../src/Envelope.ts"
import { ActorSystem, define, layerNats, message, protocol } from "../../src/index.ts"
import { NatsConnection } from "../../src/nats/NatsConnection.ts"
import * as NatsTransport from "../../src/nats/NatsTransport.ts"
import { makeOutgoing } from "../../src/nats/outgoing.ts"
import { decodeMessages, encodeMessages } from "../../src/nats/sharedFrames.ts"
import { type Frame, Transport, TransportError } from "../../src/Transport.ts"
import { quietly } from "../quietly.ts"
import { type NatsServer, natsServer } from "./natsServer.ts"

const of = subjects("c")
const to = (id: string, incarnation = "inc") => of.actor({ kind: "k", id, incarnation })
const shared = (incarnation = "inc") => `ebb.v1.c.b.${incarnation}`
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const soon = { timeoutMs: 2_000 }
/** What comes between the question, which nobody waits for, and its answer. */
const inOneTurn = { concurrency: "unbounded" } as const

const processOn = Effect.fnUntraced(function* (server: NatsServer, name: string) {
  const services = yield* Layer.build(
    NatsTransport.layer.pipe(Layer.provideMerge(NatsConnection.layer({ servers: server.url, name })))
  ).pipe(Effect.orDie)
  return { transport: Context.get(services, Transport), client: Context.get(services, NatsConnection).client }
})

/** Two processes, and the subjects of all frames that were sent between them. */
const stage = Effect.gen(function* () {
  const server = yield* natsServer({ jetstream: false })
  const here = yield* processOn(server, "here")
  const there = yield* processOn(server, "there")
  const guard = yield* processOn(server, "guard")
  const passed: Array<Msg> = []
  const watch = Effect.promise(async () => {
    const watching = guard.client.subscribe("ebb.>", {
      callback: (error, passing) => void (error ?? passed.push(passing))
    })
    await guard.client.flush()
    return watching
  })
  const watching = yield* watch
  const seen = Effect.promise(async () => {
    // What this process sends waits for the end of the turn, as what the client sends does.
    await Promise.resolve()
    await here.client.flush()
    await guard.client.flush()
    return passed.splice(0)
  })
  return {
    server,
    here: here.transport,
    there: there.transport,
    client: guard.client,
    hereClient: here.client,
    unwatch: Effect.promise(() => watching.drain()),
    watch,
    /** Since it was asked before. */
    seen,
    subjectsSeen: Effect.map(seen, (all) => all.map(({ subject }) => subject))
  }
})

const askAll = (transport: Transport["Service"], ids: ReadonlyArray<string>, incarnation?: string) =>
  Effect.forEach(
    ids,
    (id) => Effect.map(transport.request(to(id, incarnation), bytes(id), soon), text),
    inOneTurn
  )

/** Two asks in a turn, until the other side has said that it takes shared frames. */
const acquaint = (transport: Transport["Service"], client: Client) =>
  Effect.gen(function* () {
    yield* askAll(transport, ["x", "y"])
    yield* Effect.promise(() => client.flush())
  })

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

it.live("an ask that is interrupted or late takes nothing from those that share its frame", () =>
  Effect.gen(function* () {
    const { here, hereClient, subjectsSeen, there } = yield* stage
    const frames = yield* Queue.unbounded<Frame>()
    yield* there.subscribe(of.actorsOf("inc"), (frame) => {
      if (frame.subject === to("slow")) Queue.offerUnsafe(frames, frame)
      else frame.respond?.(frame.data)
    })
    yield* acquaint(here, hereClient)
    yield* subjectsSeen
    const ask = (id: string, timeoutMs = 2_000) =>
      Effect.map(here.request(to(id), bytes(id), { timeoutMs }), text)
    const [late, first, raced, last] = yield* Effect.all(
      [Effect.flip(ask("slow", 30)), ask("a"), Effect.race(ask("b"), ask("slow")), ask("c")],
      inOneTurn
    )
    expect([late.reason, first, raced, last]).toEqual(["Timeout", "a", "b", "c"])
    expect(yield* subjectsSeen).toEqual([shared()])
    for (const frame of yield* Effect.replicateEffect(Queue.take(frames), 2))
      frame.respond?.(bytes("too late"))
    expect(yield* ask("d")).toBe("d")
  }).pipe(quietly)
)

it.live("an answer of one MiB to an ask that shared its frame arrives, and the first one counts", () =>
  Effect.gen(function* () {
    const { here, hereClient, subjectsSeen, there } = yield* stage
    yield* there.subscribe(of.actorsOf("inc"), (frame) => {
      frame.respond?.(new Uint8Array(frame.subject === to("big") ? 1024 * 1024 : 1))
      frame.respond?.(bytes("second"))
    })
    yield* acquaint(here, hereClient)
    yield* subjectsSeen
    const answers = yield* Effect.forEach(
      ["a", "big", "b"],
      (id) => here.request(to(id), bytes(id), soon),
      inOneTurn
    )
    expect(answers.map(({ length }) => length)).toEqual([1, 1024 * 1024, 1])
    expect(yield* subjectsSeen).toEqual([shared()])
  }).pipe(quietly)
)

it.live(
  "a listener that throws for one message of a frame gets the others; each is asked whether it is stale",
  () =>
    Effect.gen(function* () {
      const { client, here, there } = yield* stage
      const heard = yield* Queue.unbounded<string>()
      yield* there.subscribe(of.actorsOf("inc"), ({ data, stale }) => {
        Queue.offerUnsafe(heard, `${stale ? "stale" : "fresh"} ${text(data)}`)
        if (text(data) === "throws") throw new Error("a listener's defect")
        if (text(data) === "blocks") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
      })
      const message = (name: string) => ({ target: "k.a", wantsAnswer: false, data: bytes(name) })
      const send = (...names: ReadonlyArray<string>) =>
        client.publish(shared(), encodeMessages(names.map(message)))
      send("a", "throws", "b", "blocks", "c", "d")
      expect(yield* Effect.replicateEffect(Queue.take(heard), 6)).toEqual([
        "fresh a",
        "fresh throws",
        "fresh b",
        "fresh blocks",
        "stale c",
        "stale d"
      ])
      const again = Effect.suspend(() => {
        send("again", "and again")
        return Effect.replicateEffect(Queue.take(heard), 2)
      })
      yield* Effect.repeat(again, { until: (both) => both.every((it) => it.startsWith("fresh")) })
      expect(yield* here.connectedSince).toBeDefined()
    }).pipe(quietly)
)

it.live("answers to a shared frame go to an inbox and nowhere else, whatever the frame says", () =>
  Effect.gen(function* () {
    const { client, there } = yield* stage
    const frames = yield* Queue.unbounded<Frame>()
    yield* there.subscribe(of.actorsOf("inc"), (frame) => void Queue.offerUnsafe(frames, frame))
    const one = encodeMessages([
      { target: "k.a", wantsAnswer: true, data: bytes("") },
      { target: "k.b", wantsAnswer: false, data: bytes("") }
    ])
    const next = Effect.replicateEffect(Queue.take(frames), 2)
    for (const reply of ["$KV.ebb_local_leases.a", of.system("inc"), "_INBOXES.c", undefined]) {
      client.publish(shared(), one, reply === undefined ? {} : { reply })
      expect((yield* next).map(({ respond }) => respond)).toEqual([undefined, undefined])
    }
    const written: Array<string> = []
    client.subscribe(">", { callback: (_, { subject }) => void written.push(subject) })
    client.publish(shared(), encodeMessages([]), { reply: "$KV.ebb_local_leases.a" })
    client.publish(shared(), one, { reply: "_INBOX_x.7" })
    const [asked, told] = yield* next
    expect(told?.respond).toBeUndefined()
    asked?.respond?.(bytes("alone"))
    yield* Effect.repeat(
      Effect.promise(() => client.flush()),
      { until: () => written.includes("_INBOX_x.7.0") }
    )
    expect(written).toEqual([shared(), shared(), "_INBOX_x.7.0"])
  }).pipe(quietly)
)

it.live("an asker stands whatever it is answered; what is no shared frame is the answer to each", () =>
  Effect.gen(function* () {
    const { client, here, hereClient } = yield* stage
    const question = client.subscribe(shared(), { callback: (_, asked) => void asked.respond(asked.data) })
    const alone = client.subscribe(of.actorsOf("inc"), {
      callback: (_, asked) => void asked.respond(asked.data)
    })
    yield* Effect.promise(() => client.flush())
    yield* acquaint(here, hereClient)
    for (const each of [question, alone]) each.unsubscribe()
    const hostile = [
      [-1, bytes("x")],
      [0.5, bytes("x")],
      [Number.NaN, bytes("x")],
      [2, bytes("x")],
      [1e9, bytes("x")]
    ]
    const server = client.subscribe(shared(), {
      callback: (_, asked) => {
        for (const answer of hostile) asked.respond(pack(answer))
        for (const place of ["9", "-1", "x", "length", "__proto__"]) {
          client.publish(`${asked.reply}.${place}`, bytes(""))
        }
        asked.respond(pack([1, bytes("right"), 1, bytes("again"), 0, bytes("left")]))
      }
    })
    yield* Effect.promise(() => client.flush())
    expect(yield* askAll(here, ["a", "b"])).toEqual(["left", "right"])
    server.unsubscribe()
    client.subscribe(shared(), { callback: (_, asked) => void asked.respond(bytes("refused")) })
    yield* Effect.promise(() => client.flush())
    expect(yield* askAll(here, ["a", "b"])).toEqual(["refused", "refused"])
  }).pipe(quietly)
)

const Desk = protocol(message("Ping", {}))
const desk = define("k", Desk, () => Effect.succeed({ Ping: () => Effect.void }))

it.live(
  "a process counts what cannot be read of a hostile client's shared frames, answers it, and goes on",
  () =>
    Effect.gen(function* () {
      const { client, server } = yield* stage
      const services = yield* Layer.build(
        ActorSystem.layer({ cluster: "c", nodeId: "n" }).pipe(
          Layer.provide(layerNats({ servers: server.url, name: "n", cluster: "c" }))
        )
      ).pipe(Effect.orDie)
      const system = Context.get(services, ActorSystem)
      const { ref, started } = yield* system.spawn(desk, "a", undefined)
      yield* started
      const { incarnation } = ref.address
      const ping = encodeRequest({ tag: "Ping", payload: null, remainingMs: 1000, from: "x" })
      const request = (data: Uint8Array) =>
        Effect.promise(() => client.request(shared(incarnation), data, { timeout: 2_000 }))
      const bad = [
        bytes(""),
        bytes("garbage"),
        new Uint8Array(1024 * 1024).fill(0x91),
        pack(["k.a", true, ping]).subarray(0, 20),
        pack({ m: "Ping" }),
        pack(["k.a.b", true, ping]),
        pack([`k.a.${incarnation}\r\nPUB $KV.x 0\r\n`, true, ping]),
        pack(["k.*", true, ping]),
        pack([["k.a", true, ping]]),
        pack(Array.from({ length: 100_000 }, () => null))
      ]
      for (const data of bad) {
        const { data: answer } = yield* request(data)
        expect(decodeReply(answer)).toMatchObject({ value: { error: { _tag: "MalformedMessage" } } })
      }
      expect(system.deadLetters.counts.malformed).toBe(bad.length)

      // One in another, one of nobody, one of another kind of bytes: each is answered for itself.
      const inOther = encodeMessages([{ target: "k.a", wantsAnswer: true, data: ping }])
      const { data: mixed } = yield* request(
        encodeMessages(
          [
            ["k.a", inOther],
            ["k.nobody", ping],
            ["k.a", ping]
          ].map(([target, data]) => ({
            target: target as string,
            wantsAnswer: true,
            data: data as Uint8Array
          }))
        )
      )
      const answers = unpack(mixed)
      const said = Exit.isSuccess(answers)
        ? (answers.value as ReadonlyArray<unknown>).map((value) =>
            value instanceof Uint8Array ? decodeReply(value) : value
          )
        : []
      expect(said).toMatchObject([
        0,
        { value: { error: { _tag: "MalformedMessage" } } },
        1,
        { value: { error: { _tag: "NoSuchActor" } } },
        2,
        { value: { _tag: "Success" } }
      ])
    }).pipe(quietly)
)
