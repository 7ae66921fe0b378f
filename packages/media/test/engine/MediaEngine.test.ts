import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import {
  audio,
  isAlive,
  makeEngine,
  makeRoom,
  makeSink,
  makeSource,
  sendPaced,
  until
} from "./engineFixture.ts"

it.live("rooms go to the worker with the fewest, also when opened together, and give their place back", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine({ workers: 2 })
    const rooms = Effect.map(engine.workers, (workers) => workers.map((worker) => worker.rooms))
    const scope = yield* Scope.make()
    yield* Effect.forEach(["a", "b", "c", "d"], (id) => engine.openRoom(id), {
      concurrency: "unbounded"
    }).pipe(Scope.provide(scope))
    expect(yield* rooms).toEqual([2, 2])
    yield* Scope.close(scope, Exit.void)
    expect(yield* rooms).toEqual([0, 0])
  })
)

it.live("closing the engine's scope leaves no worker process", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const engine = yield* makeEngine({ workers: 2 }).pipe(Scope.provide(scope))
    const pids = (yield* engine.workers).flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
    expect(pids.filter(isAlive)).toHaveLength(2)
    yield* Scope.close(scope, Exit.void)
    expect(pids.filter(isAlive)).toEqual([])
  })
)

it.live("a worker is not given what the node knows by its environment", () =>
  Effect.gen(function* () {
    yield* Effect.acquireRelease(
      Effect.sync(() => void (process.env["EBB_TOKEN_SECRET"] = "of-the-node")),
      () => Effect.sync(() => void delete process.env["EBB_TOKEN_SECRET"])
    )
    const [worker] = yield* (yield* makeEngine({ workers: 1 })).workers
    const environment = yield* Effect.promise(() => readFile(`/proc/${worker?.pid}/environ`, "utf8"))
    expect(environment).toContain("PATH=")
    expect(environment).not.toContain("of-the-node")
  })
)

it.live("a worker that is killed ends its own rooms only, and another takes new rooms", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine({ workers: 2, restart: { min: 10, max: 10 } })
    const doomed = yield* engine.openRoom("doomed")
    const other = yield* engine.openRoom("other")
    expect(other.workerPid).not.toBe(doomed.workerPid)
    const sink = makeSink()
    const sender = yield* makeSource(doomed, audio)
    yield* doomed.capture(audio.producerId, sink)
    yield* sendPaced(sender, 100, () => sink.packets.length)
    yield* until(() => sink.packets.length === 100)

    process.kill(doomed.workerPid, "SIGKILL")
    const death = yield* doomed.ended
    expect(death).toMatchObject({ _tag: "WorkerDied", workerPid: doomed.workerPid })
    expect(death.reason).toContain("SIGKILL")
    expect(sink.ends).toEqual(["worker"])
    expect(sink.packets).toHaveLength(100)
    expect(yield* Effect.flip(doomed.addRtpProducer(audio))).toEqual(death)
    expect(yield* Effect.flip(doomed.producers)).toEqual(death)

    yield* other.addRtpProducer(audio)
    const pids = engine.workers.pipe(Effect.map((workers) => workers.map(({ pid }) => pid)))
    while ((yield* pids).includes(undefined)) yield* Effect.sleep(5)
    const replaced = (yield* pids).find((pid) => pid !== other.workerPid)
    expect(replaced).not.toBe(doomed.workerPid)
    // The dead room's place is still held by its scope, the new worker's rooms are one to one with the other's.
    const next = [yield* engine.openRoom("next-1"), yield* engine.openRoom("next-2")]
    expect(next.map(({ workerPid }) => workerPid)).toContain(replaced)
    const onReplaced = next.find(({ workerPid }) => workerPid === replaced)
    if (onReplaced === undefined) return expect.fail("no room on the new worker")
    const again = makeSink()
    const source = yield* makeSource(onReplaced, audio)
    yield* onReplaced.capture(audio.producerId, again)
    yield* source.send()
    yield* until(() => again.packets.length === 1)
  })
)

it.live("with every worker down a room is refused, typed, until one is back", () =>
  Effect.gen(function* () {
    const engine = yield* makeEngine({ restart: { min: 100, max: 100 } })
    const room = yield* engine.openRoom("room-1")
    process.kill(room.workerPid, "SIGKILL")
    yield* room.ended
    expect(yield* Effect.flip(engine.openRoom("room-2"))).toMatchObject({ _tag: "WorkerUnavailable" })
    yield* Effect.eventually(engine.openRoom("room-2"))
  })
)

it.live("a worker that hangs is a typed time-out, nothing is undone, and closing the engine ends it", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const room = yield* makeRoom({ requestTimeout: 100 }).pipe(Scope.provide(scope))
    process.kill(room.workerPid, "SIGSTOP")
    const timeout = { _tag: "EngineTimeout", roomId: "room-1", operation: "addRtpProducer", afterMs: 100 }
    expect(yield* Effect.flip(room.addRtpProducer(audio))).toMatchObject(timeout)
    process.kill(room.workerPid, "SIGCONT")
    const { port } = yield* room.addRtpProducer(audio)
    expect(yield* room.producers).toHaveLength(1)
    expect(port).toBeGreaterThan(0)
    const sink = makeSink()
    yield* room.capture(audio.producerId, sink).pipe(Scope.provide(scope))

    process.kill(room.workerPid, "SIGSTOP")
    const capturing = room.capture(audio.producerId, makeSink()).pipe(Effect.scoped)
    expect(yield* Effect.flip(capturing)).toMatchObject({ _tag: "EngineTimeout", operation: "capture" })
    yield* Scope.close(scope, Exit.void)
    expect(sink.ends).toEqual(["capture"])
    expect(isAlive(room.workerPid)).toBe(false)
  })
)

it.live("a worker program that is missing, or is none, is typed", () =>
  Effect.gen(function* () {
    const missing = yield* Effect.flip(makeEngine({ workerBin: "/nowhere/mediasoup-worker" }))
    expect(missing).toMatchObject({ _tag: "WorkerUnavailable" })
    expect(missing.message).toContain("EBB_WORKER_BIN")
    expect(yield* Effect.flip(makeEngine({ workerBin: "/bin/false" }))).toMatchObject({
      _tag: "WorkerUnavailable"
    })
  })
)

it.live("a worker program that never comes up is typed, and its process does not stay", () =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "ebb-worker-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true }))
    )
    const workerBin = join(folder, "silent-worker")
    yield* Effect.promise(() => writeFile(workerBin, `#!/bin/sh\necho $$ >${folder}/pid\nexec cat <&3\n`))
    yield* Effect.promise(() => chmod(workerBin, 0o755))
    const error = yield* Effect.flip(Effect.scoped(makeEngine({ workerBin, startTimeout: 100 })))
    expect(error).toMatchObject({ _tag: "WorkerUnavailable" })
    expect(error.message).toContain("100 ms")
    const pid = Number(yield* Effect.promise(() => readFile(join(folder, "pid"), "utf8")))
    yield* until(() => !isAlive(pid))
  })
)

it.live("a listener that nobody expected on the process is a loud, typed failure, and is taken off too", () =>
  Effect.gen(function* () {
    const unexpected = () => undefined
    const meddle = (event: string | symbol) => {
      if (event === "SIGINT") process.once("SIGQUIT", unexpected)
    }
    process.on("newListener", meddle)
    const error = yield* Effect.flip(Effect.scoped(makeEngine())).pipe(
      Effect.ensuring(Effect.sync(() => process.off("newListener", meddle)))
    )
    expect(error).toMatchObject({
      _tag: "SignalListenersUnexpected",
      found: ["SIGINT", "SIGQUIT", "SIGTERM"],
      expected: ["SIGINT", "SIGTERM"]
    })
    expect(process.listeners("SIGQUIT")).not.toContain(unexpected)
  })
)

it.live("mediasoup's errors go to the logger of whoever made the engine", () =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    yield* Effect.gen(function* () {
      const room = yield* makeRoom({ log: true })
      process.kill(room.workerPid, "SIGKILL")
      yield* room.ended
      yield* until(() =>
        lines.some((line) => line.includes(`worker process died unexpectedly [pid:${room.workerPid}`))
      )
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
)
