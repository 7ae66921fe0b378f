import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import type { RolloutProgress } from "../src/Deployer.ts"
import { makeStage, passing } from "./rolloutStage.ts"

type Stage = Effect.Success<typeof makeStage>

const test = (sentence: string, body: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(sentence, () =>
    passing(Effect.scoped(Effect.flatMap(makeStage, (stage) => body(stage)))).pipe(
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )

const twoNodes = (stage: Stage) =>
  Effect.gen(function* () {
    return [yield* stage.startNode("u-1", "v1"), yield* stage.startNode("u-2", "v1")] as const
  })

describe("a deployer", () => {
  test("cordons all, then replaces one node after the other, each new one first", (stage) =>
    Effect.gen(function* () {
      yield* twoNodes(stage)
      const { end } = yield* stage.deploy("d1", "v2")
      assert.strictEqual((yield* end)._tag, "Completed")
      assert.deepStrictEqual(stage.done.slice(2), [
        "u-1 cordoned",
        "u-2 cordoned",
        "r1-1 started",
        "u-1 signalled",
        "u-1 ended",
        "r1-2 started",
        "u-2 signalled",
        "u-2 ended"
      ])
      assert.deepInclude(stage.node("r1-1").body, { version: "v2", life: "Serving", admission: "open" })
    }))

  test("waits for a live room and says who holds it up, and for the receipts before the next step", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      first.recordings = ["rec"]
      const told: Array<RolloutProgress> = []
      const { end } = yield* stage.deploy("d1", "v2", {
        onProgress: (progress) => Effect.sync(() => void told.push(progress))
      })
      yield* stage.until(() => told.some(({ _tag }) => _tag === "Waiting"))
      yield* Effect.sleep("1 hour")
      assert.strictEqual(first.state._tag, "Running")
      first.recordings.push("late")
      yield* stage.until(() => JSON.stringify(told).includes(`"recordings":["late"]`))
      yield* stage.closeRooms(first)
      yield* end
      const finished = told.flatMap((progress) =>
        progress._tag === "Logged" && progress.record.event._tag === "StepFinished"
          ? [progress.record.event]
          : []
      )
      assert.deepStrictEqual(finished[0]?.recordings, ["rec", "late"])
      assert.deepInclude(
        told.find(({ _tag }) => _tag === "Waiting"),
        { instance: "u-1", rooms: ["room"] }
      )
    }))

  test("killed right after it signalled, and started again, sends no second signal and goes on", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const signalled = yield* Deferred.make<void>()
      stage.onSignalled(Effect.andThen(Deferred.succeed(signalled, undefined), Effect.never))
      const one = yield* stage.deploy("d1", "v2")
      yield* Deferred.await(signalled)
      yield* one.kill
      stage.onSignalled(Effect.void)
      const two = yield* stage.deploy("d2", "v2")
      yield* Effect.sleep("1 minute")
      assert.strictEqual(first.signals, 1)
      assert.strictEqual(first.messages, 0)
      yield* stage.closeRooms(first)
      assert.strictEqual((yield* two.end)._tag, "Completed")
      assert.deepStrictEqual([first.signals, stage.node("u-2").signals], [1, 1])
      assert.strictEqual(stage.nodes.size, 4)
    }))

  test("killed between the mark and the signal, and started again, drains by message", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      stage.markOnly(true)
      const one = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signalled === "intent")
      yield* one.kill
      stage.markOnly(false)
      const two = yield* stage.deploy("d2", "v2")
      assert.strictEqual((yield* two.end)._tag, "Completed")
      assert.strictEqual(first.signals, 0)
      assert.strictEqual(first.messages, 1)
    }))

  test("overtaken by another stops before it acts", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const one = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      const two = yield* stage.deploy("d2", "v2")
      yield* stage.closeRooms(first)
      const lost = yield* Effect.flip(one.end)
      assert.strictEqual(lost._tag, "RolloutTakenOver")
      assert.strictEqual((yield* two.end)._tag, "Completed")
      assert.strictEqual(stage.nodes.size, 4)
    }))

  test("refuses another version while a rollout is open, and has nothing to do without nodes", (stage) =>
    Effect.gen(function* () {
      const none = yield* Effect.flip(stage.deploy("d0", "v2"))
      assert.deepInclude(none, { _tag: "NothingToReplace" })
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const one = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      const error = yield* Effect.flip(stage.deploy("d2", "v3"))
      assert.deepInclude(error, { _tag: "RolloutOpen", rollout: "r1", to: "v2", asked: "v3" })
      assert.include(String((error as Error).message), "ebb rollout --to v2")
      yield* one.kill
    }))

  test("asked for again after its end does nothing, restarts when told to, and replaces only what is of another version", (stage) =>
    Effect.gen(function* () {
      yield* twoNodes(stage)
      assert.strictEqual((yield* (yield* stage.deploy("d1", "v2")).end)._tag, "Completed")
      assert.deepInclude(yield* (yield* stage.deploy("d2", "v2")).end, { _tag: "Unchanged", nodes: 2 })
      assert.strictEqual(stage.nodes.size, 4)

      const restarted = yield* (yield* stage.deploy("d3", "v2", { restart: true })).end
      assert.strictEqual(restarted._tag, "Completed")
      assert.strictEqual(stage.node("r1-2").state._tag, "Exited")
      assert.strictEqual(stage.node("r3-2").state._tag, "Running")

      yield* stage.startNode("late", "v1")
      const end = yield* (yield* stage.deploy("d4", "v2")).end
      assert.deepStrictEqual(end._tag === "Completed" ? end.plan.old : [], [
        { instance: "late", version: "v1", cordoned: false }
      ])
      assert.strictEqual(stage.node("r3-2").state._tag, "Running")
    }))

  test("stops at a node that crashed, names what is left, uncordons; started again it recovers and goes on", (stage) =>
    Effect.gen(function* () {
      const [first, second] = yield* twoNodes(stage)
      first.rooms = ["room"]
      first.recordings = ["rec"]
      const one = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      yield* stage.crash(first)
      const end = yield* one.end
      assert.deepInclude(end, { _tag: "Stopped", left: ["u-1", "u-2"] })
      assert.deepInclude(end._tag === "Stopped" && end.failure, {
        reason: "Ended",
        instance: "u-1",
        recordings: ["rec"]
      })
      assert.strictEqual(second.body.admission, "open")
      assert.strictEqual(second.signals, 0)

      const two = yield* stage.deploy("d2", "v2")
      assert.strictEqual((yield* two.end)._tag, "Completed")
      assert.isTrue(stage.computed.has("rec"))
      assert.include(stage.done, "u-1 recovered")
      assert.strictEqual(second.signals, 1)
      assert.strictEqual(stage.nodes.size, 4)
    }))

  test("a stopped rollout is given up for another version: only what it had replaced is replaced back", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const one = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      yield* stage.crash(first)
      yield* one.end
      const back = yield* stage.deploy("d2", "v1")
      assert.deepInclude(yield* back.end, { _tag: "Completed" })
      const running = [...stage.nodes.values()].filter(({ state }) => state._tag === "Running")
      assert.deepStrictEqual(
        running.map(({ instance, version }) => [instance, version]),
        [
          ["u-2", "v1"],
          ["r2-1", "v1"]
        ]
      )
    }))

  test("stops at a new node that is two versions of the protocols away, and touches no old one", (stage) =>
    Effect.gen(function* () {
      const old = yield* twoNodes(stage)
      const end = yield* (yield* stage.deploy("d1", "far")).end
      assert(end._tag === "Stopped")
      assert.deepInclude(end.failure, {
        reason: "ProtocolGap",
        instance: "r1-1",
        detail: "it speaks versions 2 to 3 of the protocols and u-1 version 1: too far apart for one cluster"
      })
      assert.deepStrictEqual(
        old.map(({ body: { admission, life }, messages, signals }) => ({
          admission,
          life,
          messages,
          signals
        })),
        old.map(() => ({ admission: "open", life: "Serving", messages: 0, signals: 0 }))
      )
      assert.strictEqual(stage.node("r1-1").state._tag, "Exited")

      assert.strictEqual((yield* (yield* stage.deploy("d2", "next")).end)._tag, "Completed")
      assert.strictEqual((yield* (yield* stage.deploy("d3", "far")).end)._tag, "Completed")
    }))

  test("stops before any node is touched when the new version cannot be started", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      const end = yield* (yield* stage.deploy("d1", "none")).end
      assert.deepInclude(end._tag === "Stopped" && end.failure, { reason: "NotServing", instance: "r1-1" })
      assert.deepInclude(first, { signals: 0, messages: 0 })
      assert.strictEqual(first.body.admission, "open")
    }))

  test("stops when a node takes the signal and goes on serving", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.deaf = true
      const { end } = yield* stage.deploy("d1", "v2")
      const stopped = yield* end
      assert.deepInclude(stopped._tag === "Stopped" && stopped.failure, {
        reason: "NotAcknowledged",
        instance: "u-1"
      })
      assert.deepStrictEqual([first.signals, first.messages], [1, 0])
    }))

  test("by force evacuates after its signal, or kills and recovers what was recorded", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      first.recordings = ["rec"]
      yield* (yield* stage.deploy("d1", "v2", { force: "evacuate" })).end
      assert.deepInclude(first, { signals: 1, messages: 1 })
      assert.deepInclude(first.state, { code: 3 })
      assert.isTrue(stage.computed.has("rec"))
    }))

  test("by force kill recovers what was recorded before the next step", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      first.recordings = ["rec"]
      const { end } = yield* stage.deploy("d1", "v2", { force: "kill" })
      assert.strictEqual((yield* end)._tag, "Completed")
      assert.deepInclude(first, { signals: 0, messages: 0 })
      assert.isTrue(stage.computed.has("rec"))
      assert.isBelow(stage.done.indexOf("u-1 recovered"), stage.done.indexOf("r1-2 started"))
    }))

  test("goes on when the log's answer was lost", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const { end } = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      yield* stage.log.loseNextReply("d1")
      yield* stage.closeRooms(first)
      assert.strictEqual((yield* end)._tag, "Completed")
    }))

  test("says how far it is", (stage) =>
    Effect.gen(function* () {
      const [first] = yield* twoNodes(stage)
      first.rooms = ["room"]
      const { actor, kill } = yield* stage.deploy("d1", "v2")
      yield* stage.until(() => first.signals === 1)
      const status = yield* actor.ref.ask("Status", undefined)
      assert.deepStrictEqual(status, { state: "Draining", rollout: "r1", to: "v2", replaced: 0, of: 2 })
      yield* kill
    }))
})
