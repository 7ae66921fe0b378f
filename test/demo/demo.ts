/**
 * The main job on real input: a cluster of three nodes is rolled from v1 to v2 while people talk and are recorded, and while a client asks
 * for new rooms all through. Then everything is counted.
 *
 *     npm run demo [-- --json] [--nodes 3] [--folder DIR] [--plant cut-room|truncate-journal]
 *
 * Exit 0 only if nothing failed, was cut or was lost. `--plant` breaks something on purpose, to show that the figures can tell.
 */
import { layerNats, makeActorSystem } from "@ebb/actors"
import { natsEndpoint, openCluster } from "@ebb/deployer"
import type { NodeSummary } from "@ebb/media/protocol"
import { makeControlClient } from "@ebb/media/protocol"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { askForRooms } from "./askingClient.ts"
import { checkRecording } from "./checkRecordings.ts"
import { makeClip } from "./clip.ts"
import { ebb } from "./commands.ts"
import type { MediaRoom } from "./MediaRoom.ts"
import { openMediaRoom } from "./MediaRoom.ts"
import { observe } from "./Observer.ts"
import { cutRoom, truncateJournal } from "./plant.ts"
import { judge, summary } from "./result.ts"

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    plant: { type: "string" },
    nodes: { type: "string", default: "3" },
    folder: { type: "string" }
  }
})
if (flags.plant !== undefined && flags.plant !== "cut-room" && flags.plant !== "truncate-journal") {
  process.stderr.write(`--plant is cut-room or truncate-journal, not '${flags.plant}'\n`)
  process.exit(64)
}

const began = performance.now()
/** For people; with --json on standard error, so that standard output ends with the one object. */
const say = (text: string) => {
  const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(5)
  ;(flags.json ? process.stderr : process.stdout).write(`${seconds}s  ${text}\n`)
}

const oldNodes = Number(flags.nodes)
/** A recorded room lives this much longer than its node's SIGTERM. */
const livesOnMs = 10_000

const everyTenth = Schedule.spaced("100 millis")

/** Until that many nodes say that they serve. */
const untilServing = <E, R>(
  list: Effect.Effect<{ readonly nodes: ReadonlyArray<NodeSummary> }, E, R>,
  count: number
) =>
  Effect.flatMap(list, ({ nodes }) =>
    nodes.filter(({ life }) => life === "Serving").length >= count ? Effect.void : Effect.fail("not yet")
  ).pipe(Effect.retry({ schedule: Schedule.upTo(everyTenth, { duration: "60 seconds" }) }))

const demo = Effect.gen(function* () {
  const folder = path.resolve(flags.folder ?? `ebb-demo-${process.pid}`)
  const [state, data] = [path.join(folder, "state"), path.join(folder, "data")]
  fs.mkdirSync(folder, { recursive: true })
  const releases = path.join(folder, "releases.json")
  // The same build under two names.
  const node = {
    command: [
      process.execPath,
      fileURLToPath(new URL("../../packages/media/src/bin/ebb-node.ts", import.meta.url))
    ]
  }
  fs.writeFileSync(releases, JSON.stringify({ versions: { v1: node, v2: node } }, undefined, 2))

  say("encoding a clip: VP8 and Opus")
  const clip = yield* makeClip(folder)

  say(`ebb up --nodes ${oldNodes} --version v1`)
  const where = ["--state", state, "--cluster", "demo"]
  const up = yield* ebb(
    [
      "up",
      ...where,
      "--nodes",
      String(oldNodes),
      "--version",
      "v1",
      "--releases",
      releases,
      "--data-dir",
      data
    ],
    (line) => say(`  up       ${line}`)
  )
  const cluster = yield* openCluster(state).pipe(Effect.retry({ times: 100, schedule: everyTenth }))
  const endpoint = yield* natsEndpoint(cluster, "deployer").pipe(
    Effect.retry({ times: 100, schedule: everyTenth })
  )
  const connection = layerNats({ ...endpoint, name: "demo", cluster: "demo", firstConnect: "wait" })

  return yield* Effect.gen(function* () {
    const control = yield* makeControlClient("demo")
    const system = yield* makeActorSystem({ cluster: "demo", nodeId: "demo" })
    yield* untilServing(control.call("node.list", undefined), oldNodes)

    const rooms: Array<MediaRoom> = []
    const liveAtDrain = new Map<string, number>()
    const closeAll = (of: ReadonlyArray<MediaRoom>) =>
      Effect.forEach(
        of.filter((room) => room.closedAtMs === undefined),
        (room) => room.close,
        {
          concurrency: "unbounded",
          discard: true
        }
      )
    const onDraining = Effect.fnUntraced(function* (nodeId: string) {
      const live = rooms.filter((room) => room.nodeId === nodeId && room.closedAtMs === undefined)
      const recorded = live.filter(({ recordingId }) => recordingId !== undefined)
      liveAtDrain.set(nodeId, recorded.length === 0 ? 0 : live.length)
      say(
        `${nodeId} drains with ${live.length} rooms live, ${recorded.length} of them recorded; they go on for ${livesOnMs / 1000} s`
      )
      if (flags.plant !== undefined && liveAtDrain.size === 1 && recorded[0] !== undefined) {
        yield* flags.plant === "cut-room" ? cutRoom(control, recorded[0]) : truncateJournal(data, recorded[0])
      }
      yield* Effect.sleep(livesOnMs)
      yield* closeAll(live)
      say(`the rooms on ${nodeId} have ended, each at its own time`)
    })
    const observer = yield* observe(control, system, onDraining)
    yield* observer.look
    const old = observer.seen.nodes
    say(`serving: ${old.map(({ nodeId, version }) => `${nodeId} (${version})`).join(", ")}`)

    // Every node gets a recorded room, and whatever else placement gives it.
    const covered = () =>
      old.every(({ nodeId }) =>
        rooms.some((room) => room.nodeId === nodeId && room.recordingId !== undefined)
      )
    for (let n = 1; n <= 20 && (n <= 6 || !covered()); n++) {
      rooms.push(yield* openMediaRoom(control, { roomId: `talk-${n}`, record: n % 3 !== 0, clip }))
    }
    say(
      `${rooms.length} rooms with real VP8 and Opus, ${rooms.filter((room) => room.recordingId !== undefined).length} of them recorded`
    )

    const client = yield* askForRooms(control, { everyMs: 200, lifeMs: 2500 })
    for (const each of old) yield* observer.probe(each)
    // Some rooms end before anybody drains.
    yield* Effect.forkChild(
      Effect.andThen(Effect.sleep(4000), closeAll(rooms.filter((room) => room.recordingId === undefined)))
    )

    say("ebb rollout --to v2")
    const rollout = yield* ebb(["rollout", ...where, "--to", "v2"], (line) => say(`  rollout  ${line}`))
    const rolloutCode = yield* rollout.ended
    say("the rollout is over; the client stops asking")
    yield* client.finish
    yield* closeAll(rooms)
    yield* observer.look

    say("checking every recording: decoding to the end, counting frames")
    const recorded = rooms.flatMap((room) =>
      room.recordingId === undefined ? [] : [{ room, recordingId: room.recordingId }]
    )
    const checked = yield* Effect.forEach(recorded, ({ recordingId, room }) =>
      checkRecording(path.join(data, "results"), room, recordingId)
    )
    yield* Effect.sync(() => up.signal("SIGINT"))
    return judge({
      asked: client.asked,
      checked,
      folder,
      instances: cluster.instances,
      liveAtDrain,
      oldNodes: old.map(({ nodeId }) => nodeId),
      rolloutCode,
      rolloutComplaint: rollout.complaints(),
      rooms,
      seconds: (performance.now() - began) / 1000,
      seen: observer.seen,
      toVersion: "v2"
    })
  }).pipe(Effect.provide(connection))
}).pipe(Effect.scoped)

const exit = await Effect.runPromiseExit(demo)
if (Exit.isFailure(exit)) {
  process.stderr.write(`the demo could not run: ${Cause.pretty(exit.cause)}\n`)
  process.exit(1)
}
process.stdout.write(flags.json ? `${JSON.stringify(exit.value)}\n` : summary(exit.value))
process.exit(exit.value.ok ? 0 : 1)
