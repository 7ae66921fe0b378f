/** A node in somebody else's process: what it does to its host, which is nothing that was not asked for. */
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { childrenOf } from "../support/ebbNode.ts"
import { liveRoom } from "../support/liveRoom.ts"
import { startProgram } from "../support/program.ts"
import { recordedAgainstSent } from "../support/recordedAgainstSent.ts"
import { clusterNamed, testCluster } from "../support/testCluster.ts"
import { until } from "../support/until.ts"

const root = join(import.meta.dirname, "../..")

const startHost = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const program = yield* startProgram(
    process.execPath,
    [join(import.meta.dirname, "programs/host.ts"), ...args],
    {
      input: true
    }
  )
  return {
    ...program,
    told: (what: string) =>
      Effect.map(program.says(new RegExp(`^{"what":"${what}"`)), (line): Said => JSON.parse(line)),
    tell: (word: string) => program.types(`${word}\n`)
  }
})

interface Said {
  readonly listeners: Readonly<Record<string, number>>
  readonly maxListeners: number
  readonly environment: ReadonlyArray<string>
  readonly error?: { readonly _tag: string }
  readonly end?: { readonly code: number; readonly unfinished: ReadonlyArray<unknown> }
}

const stateOf = ({ environment, listeners, maxListeners }: Said) => ({ environment, listeners, maxListeners })

it.live("two nodes in one process leave it as it was, also when a start fails, and after their end", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const host = yield* startHost([cluster.nats.address, cluster.dataDir])
    const before = stateOf(yield* host.told("before"))
    expect(before.listeners).toMatchObject({ SIGTERM: 1 })

    const failed = yield* host.told("failed")
    expect(failed.error?._tag).toBe("NatsUnavailable")
    expect(stateOf(failed)).toEqual(before)
    expect(stateOf(yield* host.told("serve"))).toEqual(before)
    const { nodes } = yield* call("node.list", undefined)
    expect(nodes.map(({ nodeId, pid }) => [nodeId, pid])).toEqual([
      ["a", host.pid],
      ["b", host.pid]
    ])

    // Unasked, a signal is the host's alone.
    yield* host.signal("SIGTERM")
    yield* host.told("heard SIGTERM")
    for (const nodeId of ["a", "b"]) {
      yield* host.tell(`report ${nodeId}`)
      expect(yield* host.told(`report of ${nodeId}`)).toMatchObject({ life: "Serving" })
    }

    const room = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    const { nodeId } = room
    const other = nodeId === "a" ? "b" : "a"
    yield* host.tell(`drainOnSignals ${nodeId}`)
    expect((yield* host.told("listens")).listeners).toEqual({
      ...before.listeners,
      SIGTERM: 2,
      SIGINT: 1,
      SIGHUP: 1
    })
    yield* host.signal("SIGTERM")
    yield* until(call("node.status", { nodeId }), ({ life }) => life === "Draining")
    expect(host.lines.filter((line) => line.includes("heard SIGTERM"))).toHaveLength(2)
    yield* room.receiver.more(25)
    yield* room.sender.stop
    yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ packets }) => packets >= room.sender.packets()
    )
    yield* call("room.close", { roomId: "talk" })
    const ended = yield* host.told(`${nodeId} ended`)
    expect(ended.end).toMatchObject({ code: 0, unfinished: [], outcome: { _tag: "Drained" } })
    expect(stateOf(ended)).toEqual(before)

    // The other one has not been disturbed.
    const info = yield* call("recording.get", { recordingId: "talk-1" })
    const check = yield* recordedAgainstSent(info, room.sender)
    expect(check).toMatchObject({ recorded: check.sent, packets: room.sender.packets() })
    expect(yield* call("node.status", { nodeId: other })).toMatchObject({ life: "Serving" })

    // Nothing of either holds the process up, and nobody but the host has written a line.
    yield* host.tell(`drain ${other}`)
    const last = yield* host.told(`${other} ended`)
    expect(stateOf(last)).toEqual(before)
    expect(yield* childrenOf(host.pid)).toEqual([])
    expect(host.lines.filter((line) => !line.startsWith(`{"what":`))).toEqual([])
    yield* host.ends
    expect(yield* host.exited).toMatchObject({ code: 0, signal: null })
  })
)

it.live("closing a node ends it at once; what it was recording is left to a later start, and named", () =>
  Effect.gen(function* () {
    const cluster = yield* testCluster
    const { call } = cluster
    const host = yield* startHost([cluster.nats.address, cluster.dataDir])
    yield* host.told("serve")
    const room = yield* liveRoom(cluster, "talk", { recordingId: "talk-1" })
    yield* room.receiver.more(25)
    yield* host.tell(`close ${room.nodeId}`)
    expect((yield* host.told(`${room.nodeId} ended`)).end).toMatchObject({
      code: 4,
      unfinished: [{ recordingId: "talk-1" }],
      outcome: { _tag: "Ended" }
    })
    expect(yield* Effect.flip(call("room.get", { roomId: "talk" }))).toMatchObject({ _tag: "NotFound" })

    yield* cluster.node("c")
    const info = yield* until(
      call("recording.get", { recordingId: "talk-1" }),
      ({ state }) => state === "Computed"
    )
    const check = yield* recordedAgainstSent(info, room.sender)
    expect(check).toMatchObject({ recorded: check.sent, lostPackets: 0, receipt: { computedBy: "c" } })
  })
)

const examples = ["01-embed-with-effect.ts", "02-embed-without-effect.ts"]

it.live.each(examples)("the example %s serves, drains on SIGTERM and ends by itself", (example) =>
  Effect.gen(function* () {
    const cluster = yield* clusterNamed("example")
    const program = yield* startProgram(process.execPath, [join(root, "packages/media/examples", example)], {
      env: { EBB_NATS: cluster.nats.address, EBB_DATA_DIR: cluster.dataDir }
    })
    yield* program.says(/serves/)
    yield* cluster.call("room.create", { roomId: "talk" })
    yield* program.signal("SIGTERM")
    yield* program.says(/SIGTERM: draining/)
    expect(program.isRunning()).toBe(true)
    yield* cluster.call("room.close", { roomId: "talk" })
    expect(yield* program.exited).toMatchObject({ code: 0, signal: null })
  })
)
