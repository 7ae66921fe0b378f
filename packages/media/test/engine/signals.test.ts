/** What a signal does to media, on real processes: signals are sent, to the process and to its whole group. */
import { spawn, type ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { audio, isAlive, sendPaced, until } from "./engineFixture.ts"
import { makeRtpReceiver, makeRtpSender } from "./rtpPeer.ts"

const HostState = Schema.Struct({
  listeners: Schema.Array(Schema.String),
  maxListeners: Schema.Int,
  environment: Schema.Array(Schema.String)
})
const Started = Schema.fromJsonString(
  Schema.Struct({
    port: Schema.Int,
    workers: Schema.Array(Schema.Int),
    before: HostState,
    after: HostState
  })
)
const Signalled = Schema.fromJsonString(Schema.Struct({ signal: Schema.String }))

/** A group of its own, so that the group can be signalled without the test. */
const startHost = Effect.fnUntraced(function* (receiverPort: number) {
  const lines = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        [fileURLToPath(new URL("./hostProcess.ts", import.meta.url)), String(receiverPort)],
        {
          detached: true,
          stdio: ["ignore", "pipe", "inherit"]
        }
      )
    ),
    (child) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        exited(child)
      )
  )
  createInterface({ input: child.stdout }).on("line", (line) => Queue.offerUnsafe(lines, line))
  const started = yield* Effect.flatMap(Queue.take(lines), Schema.decodeEffect(Started))
  const signalled = Effect.flatMap(Queue.take(lines), Schema.decodeEffect(Signalled))
  return { pid: child.pid ?? 0, child, signalled, ...started }
})

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
  })

const flowing = Effect.fnUntraced(function* () {
  const receiver = yield* makeRtpReceiver
  const host = yield* startHost(receiver.port)
  const sender = yield* makeRtpSender({ ...audio, port: host.port })
  const flow = sendPaced(sender, 100, () => receiver.packets.length).pipe(
    Effect.andThen(Effect.suspend(() => receiver.count(sender.sent())))
  )
  yield* flow
  return { host, flow, receiver, sender }
})

const signals = [
  { to: "the process", signal: "SIGTERM", group: false },
  { to: "the process", signal: "SIGINT", group: false },
  { to: "the whole process group", signal: "SIGTERM", group: true },
  { to: "the whole process group", signal: "SIGINT", group: true }
] as const

for (const { group, signal, to } of signals) {
  it.live(`every packet flows on after ${signal} to ${to}, however often`, () =>
    Effect.gen(function* () {
      const { flow, host, receiver, sender } = yield* flowing()
      for (let times = 0; times < 3; times++) {
        process.kill(group ? -host.pid : host.pid, signal)
        expect(yield* host.signalled).toEqual({ signal })
        yield* flow
      }
      // A worker that took the signal would be gone 2 to 12 ms later.
      yield* Effect.sleep(100)
      yield* flow
      expect(receiver.packets).toHaveLength(sender.sent())
      expect(host.workers.filter(isAlive)).toEqual(host.workers)
    })
  )
}

it.live("the engine leaves no listener on its host's process, and its environment as it was", () =>
  Effect.gen(function* () {
    const receiver = yield* makeRtpReceiver
    const { after, before } = yield* startHost(receiver.port)
    expect(before.listeners).toContain("SIGTERM 1")
    expect(after).toEqual(before)
  })
)

it.live("the workers of a host that is killed are gone", () =>
  Effect.gen(function* () {
    const { host } = yield* flowing()
    expect(host.workers).toHaveLength(2)
    process.kill(host.pid, "SIGKILL")
    yield* exited(host.child)
    yield* until(() => !host.workers.some(isAlive))
  })
)
