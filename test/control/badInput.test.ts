/**
 * Whatever bytes a node gets, on any subject it listens to: one typed answer within the deadline, and it goes on. Its log names no bug,
 * and its memory is what it was.
 */
import type { Tag } from "@ebb/actors"
import { ControlError, type ControlMessage } from "@ebb/media/protocol"
import { encode } from "@msgpack/msgpack"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { assert, describe, expect, it } from "@effect/vitest"
import { testCluster } from "../support/testCluster.ts"
import { type BadBytes, malformed, notIds, withField, wrongFields } from "./badInput.ts"
import { goodRequests } from "./goodRequests.ts"
import { rawClient } from "./rawClient.ts"

const commands = Object.entries(goodRequests) as ReadonlyArray<
  [Tag<ControlMessage>, Readonly<Record<string, unknown>>]
>
const decodeError = Schema.decodeUnknownSync(ControlError)

/** For ever, nearly; and no mistake. */
const isLongTime = (name: string): boolean => /Ms: 1e300/.test(name)

const residentBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024

/** With so little of a heap a leak of megabytes would soon end it. */
const smallHeap = { env: { NODE_OPTIONS: "--max-old-space-size=96" } }

const oneNode = Effect.gen(function* () {
  const cluster = yield* testCluster
  const node = yield* cluster.node("a", smallHeap)
  const raw = yield* rawClient(cluster.nats.address)
  const answersWell = Effect.gen(function* () {
    const { ok } = yield* raw.ask("ebb.v1.test.ctl.node.status", encode({ nodeId: "a" }))
    expect(ok).toMatchObject({ nodeId: "a", life: "Serving", admission: "open" })
  })
  const isUnhurt = Effect.sync(() => {
    expect(node.isRunning()).toBe(true)
    expect(node.lines.filter((line) => /BUG|ERROR/.test(line))).toEqual([])
  })
  return { cluster, node, raw, answersWell, isUnhurt }
})

/** A control command's answer to what it cannot take: never without `error`, which is one of those on the page. */
const refusal = (answer: Readonly<Record<string, unknown>>, what: string) => {
  assert.deepStrictEqual(Object.keys(answer), ["error"], what)
  const { message, retry, ...rest } = answer["error"] as Readonly<Record<string, unknown>>
  const error = decodeError(rest)
  assert.deepStrictEqual({ message, retry }, { message: error.message, retry: error.retry }, what)
  assert.isBelow(error.message.length, 1000, what)
  return error._tag
}

describe("control commands", () => {
  it.live(
    "answer bytes that are no message with MalformedMessage, each of them, and the next good command",
    () =>
      Effect.gen(function* () {
        const { answersWell, isUnhurt, node, raw } = yield* oneNode
        const round = Effect.gen(function* () {
          for (const [command, good] of commands) {
            for (const { bytes, name } of malformed(encode(good))) {
              const what = `${command}: ${name}`
              const tag = refusal(yield* raw.ask(`ebb.v1.test.ctl.${command}`, bytes), what)
              assert.strictEqual(tag, "MalformedMessage", what)
              yield* answersWell
            }
          }
          return residentBytes(node.pid)
        })
        const first = yield* round
        const third = yield* Effect.andThen(round, round)
        expect(third - first).toBeLessThan(64 * 1024 * 1024)
        yield* isUnhurt
      }),
    120_000
  )

  it.live(
    "answer a field that is not what it should be with MalformedMessage, whichever it is, at any depth",
    () =>
      Effect.gen(function* () {
        const { answersWell, isUnhurt, raw } = yield* oneNode
        for (const [command, good] of commands) {
          for (const { bytes, name } of wrongFields(good)) {
            if (isLongTime(name)) continue
            const what = `${command}: ${name}`
            const tag = refusal(yield* raw.ask(`ebb.v1.test.ctl.${command}`, bytes), what)
            assert.strictEqual(tag, "MalformedMessage", what)
            yield* answersWell
          }
        }
        yield* isUnhurt
      }),
    60_000
  )

  it.live("answer an id that is none with MalformedMessage, and one that nobody has with NotFound", () =>
    Effect.gen(function* () {
      const { answersWell, isUnhurt, raw } = yield* oneNode
      for (const [command, good] of commands) {
        for (const field of Object.keys(good).filter((key) => /Id$|^after$/.test(key))) {
          for (const [name, id] of notIds) {
            const what = `${command}: ${field} ${name}`
            const answer = yield* raw.ask(`ebb.v1.test.ctl.${command}`, encode({ ...good, [field]: id }))
            assert.strictEqual(refusal(answer, what), "MalformedMessage", what)
            yield* answersWell
          }
        }
        if (/list$|create$/.test(command)) continue
        const tag = refusal(yield* raw.ask(`ebb.v1.test.ctl.${command}`, encode(good)), command)
        assert.strictEqual(tag, "NotFound", command)
      }
      yield* isUnhurt
    })
  )

  it.live("answer a command that there is not with UnsupportedMessage", () =>
    Effect.gen(function* () {
      const { answersWell, isUnhurt, raw } = yield* oneNode
      const unknown = [
        "explode",
        "room",
        "room.create.now",
        "room.CREATE",
        "__proto__",
        "constructor",
        "a".repeat(1000)
      ]
      for (const command of unknown) {
        for (const bytes of [encode({ roomId: "r" }), new Uint8Array(), Uint8Array.of(0xc1)]) {
          expect(refusal(yield* raw.ask(`ebb.v1.test.ctl.${command}`, bytes), command)).toBe(
            "UnsupportedMessage"
          )
          yield* answersWell
        }
      }
      yield* isUnhurt
    })
  )

  it.live(
    "take fields they do not know, an empty request where no field is needed, and of two of one name the last",
    () =>
      Effect.gen(function* () {
        const { isUnhurt, raw } = yield* oneNode
        const ask = (command: string, bytes: Uint8Array) => raw.ask(`ebb.v1.test.ctl.${command}`, bytes)
        expect(yield* ask("room.create", encode({ roomId: "r", later: { more: [1] } }))).toEqual({
          ok: { roomId: "r", nodeId: "a", created: true }
        })
        for (const list of ["room.list", "recording.list", "node.list"]) {
          expect(Object.keys(yield* ask(list, new Uint8Array()))).toEqual(["ok"])
        }
        expect(refusal(yield* ask("room.get", new Uint8Array()), "empty")).toBe("MalformedMessage")
        const twice = Buffer.from("82a6726f6f6d4964a178a6726f6f6d4964a172", "hex")
        expect(yield* ask("room.get", twice)).toMatchObject({ ok: { roomId: "r" } })
        yield* isUnhurt
      })
  )
})

describe("a deadline that lies beyond any timer", () => {
  it.live("does not fire at once", () =>
    Effect.gen(function* () {
      const { answersWell, cluster, isUnhurt } = yield* oneNode
      const { call } = cluster
      yield* call("room.create", { roomId: "r" })
      yield* call("node.drain", { nodeId: "a", deadlines: { drainMs: 1e300, evacuationMs: 2 ** 31 } })
      yield* Effect.forEach(Array.from({ length: 20 }), () => call("room.get", { roomId: "r" }))
      expect(yield* call("node.status", { nodeId: "a" })).toMatchObject({ life: "Draining" })
      yield* call("node.undrain", { nodeId: "a" })
      yield* answersWell
      yield* isUnhurt
    })
  )
})

describe("messages between processes", () => {
  it.live(
    "answer bytes that are no message, and payloads that are not what they should be, and change nothing",
    () =>
      Effect.gen(function* () {
        const { answersWell, cluster, isUnhurt, node, raw } = yield* oneNode
        yield* cluster.call("room.create", { roomId: "r" })
        yield* cluster.call("recording.start", { roomId: "r", recordingId: "rec" })
        const ask = Effect.fnUntraced(function* (subject: string, { bytes, name }: BadBytes) {
          const what = `${subject}: ${name}`
          const answer = yield* raw.ask(subject, bytes)
          // The runtime refuses, and says so in one way.
          assert.deepStrictEqual(Object.keys(answer), ["a"], what)
          const { _tag, problem } = answer["a"] as Readonly<Record<string, unknown>>
          assert.strictEqual(_tag, "MalformedMessage", what)
          assert.isBelow(String(problem).length, 1000, what)
          yield* raw.tell(subject, bytes)
          yield* answersWell
        })

        for (const [subject, tag, payload] of messages(node.incarnation)) {
          const envelope = { m: tag, p: payload, d: 5000, f: "raw" }
          for (const bad of malformed(encode(envelope))) yield* ask(subject, bad)
          for (const bad of wrongFields({ p: payload })) {
            // A map whose fields may all be left out is read from bytes, too: as an empty one.
            if (/options: bytes|deadlines: bytes/.test(bad.name) || isLongTime(bad.name)) continue
            yield* ask(subject, { name: `${tag} ${bad.name}`, bytes: merged(envelope, bad.bytes) })
          }
          for (const d of [Number.NaN, Number.POSITIVE_INFINITY, "5", null, []]) {
            yield* ask(subject, { name: `${tag} d ${String(d)}`, bytes: encode({ ...envelope, d }) })
          }
          for (const more of [{ m: 7 }, { m: null }, { f: 7 }, { e: 7 }, { e: [] }, { e: ["r", "1"] }]) {
            yield* ask(subject, {
              name: `${tag} ${JSON.stringify(more)}`,
              bytes: encode({ ...envelope, ...more })
            })
          }
        }
        for (const subject of ["node.a$", "ro om.r", "room.r%"].map((name) => name.replace(" ", "\u00a0"))) {
          yield* ask(`ebb.v1.test.a.${subject}.${node.incarnation}`, {
            name: "a name",
            bytes: encode({ m: "Get" })
          })
        }

        // What it has is as it was.
        expect(yield* cluster.call("room.get", { roomId: "r" })).toMatchObject({
          producers: [],
          consumers: []
        })
        expect(yield* cluster.call("recording.get", { recordingId: "rec" })).toMatchObject({
          state: "Capturing"
        })
        yield* isUnhurt
      }),
    120_000
  )

  it.live("answer a message that there is not, and one to nobody, each with its own error", () =>
    Effect.gen(function* () {
      const { cluster, isUnhurt, node, raw } = yield* oneNode
      yield* cluster.call("room.create", { roomId: "r" })
      const tagOf = (subject: string, m: string, p: unknown = {}) =>
        Effect.map(raw.ask(`ebb.v1.test.${subject}.${node.incarnation}`, encode({ m, p })), (answer) => {
          const error = answer["a"] ?? answer["f"]
          return (error as { readonly _tag: string })._tag
        })
      for (const unknown of ["Explode", "__proto__", "constructor", "a".repeat(100_000)]) {
        for (const subject of ["a.node.a", "a.room.r", "sys"]) {
          expect(yield* tagOf(subject, unknown)).toBe("UnsupportedMessage")
        }
      }
      expect(yield* tagOf("a.room.nowhere", "Get")).toBe("NoSuchActor")
      expect(yield* tagOf("a.nothing.r", "Get")).toBe("NoSuchActor")
      expect(yield* tagOf("sys", "Undrain", { kind: "node", id: "nobody", by: "b", reason: "r" })).toBe(
        "NoSuchActor"
      )
      const stale = { m: "Get", e: ["other", 1] }
      expect(yield* raw.ask(`ebb.v1.test.a.room.r.${node.incarnation}`, encode(stale))).toMatchObject({
        a: { _tag: "StaleEpoch" }
      })
      // Its time was over before it came.
      expect(
        yield* raw.ask(`ebb.v1.test.a.room.r.${node.incarnation}`, encode({ m: "Get", d: -1 }))
      ).toMatchObject({
        a: { _tag: "AskTimeout" }
      })
      yield* isUnhurt
    })
  )
})

const target = { kind: "node", id: "nobody" }
const cause = { by: "test", reason: "to see" }

/** Every message that has a payload, to actors that live. */
const messages = (
  incarnation: string
): ReadonlyArray<readonly [subject: string, tag: string, payload: Readonly<Record<string, unknown>>]> => {
  const actor = (name: string) => `ebb.v1.test.a.${name}.${incarnation}`
  const sys = `ebb.v1.test.sys.${incarnation}`
  const { roomId: _, ...producer } = goodRequests["producer.add"]
  const { roomId: __, ...consumer } = goodRequests["consumer.add"]
  return [
    [actor("node.a"), "OpenRoom", { roomId: "new", options: { metadata: "m" }, admission: "strict" }],
    [actor("node.a"), "StartRecording", { recordingId: "new", roomId: "r" }],
    [actor("room.r"), "AddProducer", producer],
    [actor("room.r"), "CloseProducer", { producerId: "p" }],
    [actor("room.r"), "AddConsumer", consumer],
    [actor("room.r"), "CloseConsumer", { consumerId: "c" }],
    [actor("room.r"), "Close", { reason: "over" }],
    [actor("recording.rec"), "Stop", { reason: "over" }],
    [sys, "Drain", { ...target, ...cause, reversible: true, evacuate: false, deadlines: { drainMs: 1000 } }],
    [sys, "Undrain", { ...target, ...cause }],
    [sys, "Admit", { ...target, ...cause, admission: "cordoned" }],
    [sys, "Stop", { ...target, detail: "over", kill: false }],
    [sys, "Watch", { ...target, holdMs: 1000 }]
  ]
}

/** The envelope with the payload of another encoding. */
const merged = (envelope: Readonly<Record<string, unknown>>, bytes: Uint8Array): Uint8Array => {
  const { p: _, ...rest } = envelope
  return withField(encode(rest), encode("p"), bytes.subarray(3))
}
