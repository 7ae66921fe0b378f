/** Answers to messages that shared a frame, and what becomes of those that are interrupted, large, forged or not understood. */
import { expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { decodeReply, encodeRequest, pack, unpack } from "../../src/Envelope.ts"
import { ActorSystem, define, layerNats, message, protocol } from "../../src/index.ts"
import { encodeMessages } from "../../src/nats/sharedFrames.ts"
import { type Frame } from "../../src/Transport.ts"
import { quietly } from "../quietly.ts"
import { of, to, shared, bytes, text, soon, inOneTurn, stage, askAll, acquaint } from "./sharing.fixture.ts"

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
