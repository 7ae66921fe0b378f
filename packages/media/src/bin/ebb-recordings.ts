#!/usr/bin/env node
/**
 * Finishes the recordings that dead processes left in a data folder, without a node:
 *
 *     ebb-recordings DATA_DIR [--given-up] [--store-dir DIR] [--json]
 *
 * and gives up one that cannot be finished:
 *
 *     ebb-recordings DATA_DIR --give-up RECORDING --reason TEXT --yes
 *
 * Takes only from folders whose process is dead, so it may run beside living nodes, and may be killed and run again. With EBB_NATS and
 * its companions (as for ebb-node) set, what it finds is entered into the cluster's index too, and what was deleted there is removed.
 */
import { layerNats } from "@ebb/actors"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { existsSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { natsFromEnvironment } from "../natsFromEnvironment.ts"
import { isStoreLocation } from "../recording/s3/S3Location.ts"
import { RecordingIndex } from "../RecordingIndex.ts"
import type { PartOutcome } from "../recording/index.ts"
import { checkFfmpeg, giveUp, readManifest, recover, RecordingStore } from "../recording/index.ts"

const help = `ebb-recordings: finishes what dead processes left of recordings

Usage: ebb-recordings DATA_DIR [options]
       ebb-recordings DATA_DIR --give-up RECORDING --reason TEXT --yes [options]

  --given-up        tries again what was given up, too
  --give-up ID      gives this recording up: its journal is kept, and no node
                    tries it again, waits for it, or ends with 4 for it
  --reason TEXT     why, for those who ask later
  --by NAME         who (default: the user and host it is run by)
  --yes             without it nothing is given up
  --store-dir DIR   where results go (default: DATA_DIR/results)   EBB_STORE_DIR
  --store S3        or s3://bucket/prefix, as for ebb-node         EBB_STORE
  --json            a line of JSON for each part; the last is the sum
  --help

With EBB_NATS, EBB_CLUSTER and the other EBB_NATS_... variables set as for ebb-node, what
is found is entered into the cluster's index too, and the journal of what was deleted there
is removed. It takes nothing from living processes.

Exit codes: 0 nothing is left to do, 4 something could not be finished, or is at work at this moment and was
not given up (it is named, and kept), 1 failed, 64 bad usage.
`

/** Another program may run it as a command of its own. */
const name = process.env["EBB_CALLED_AS"] ?? "ebb-recordings"

const usage = (problem: string): never => {
  process.stderr.write(`${name}: ${problem}\nTry '${name} --help'.\n`)
  process.exit(64)
}
const parse = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        "store-dir": { type: "string" },
        store: { type: "string" },
        "given-up": { type: "boolean", default: false },
        "give-up": { type: "string" },
        reason: { type: "string" },
        by: { type: "string" },
        yes: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    })
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
}
const { positionals, values } = parse()
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const [dataDir = usage("name one data folder"), ...more] = positionals
if (more.length > 0) usage("name one data folder")
if (!existsSync(dataDir)) usage(`there is no folder '${dataDir}'`)
if (!existsSync(path.join(dataDir, "incarnations"))) {
  usage(`'${dataDir}' is no data folder of a node: there is no folder 'incarnations' in it`)
}
const unwanted = values["give-up"]
if (unwanted !== undefined) {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(unwanted)) usage(`'${unwanted}' is not a recording's id`)
  if (!values.reason?.trim() || values.reason.length > 1024)
    usage("--reason is 1 to 1024 letters: why it is given up")
  if (!values.yes) {
    usage(
      `without --yes nothing is given up: no node would try recording '${unwanted}' again; its journal is kept`
    )
  }
}
const env = (name: string) => process.env[name] || undefined
const storeDir =
  values.store ??
  env("EBB_STORE") ??
  values["store-dir"] ??
  env("EBB_STORE_DIR") ??
  path.join(dataDir, "results")
if (!isStoreLocation(storeDir)) usage(`--store is s3://bucket/prefix, or a folder, not '${storeDir}'`)

/** Its line. What has no receipt is named by its part's folder and manifest. */
const lineOf = Effect.fnUntraced(function* (outcome: PartOutcome) {
  const { _tag: type, folder } = outcome
  if (outcome._tag === "Recovered" || outcome._tag === "AlreadyDone") {
    const { durationMs, file, parts, recordingId, roomId } = outcome.receipt
    const nodeId = parts[0]?.nodeId
    return {
      type,
      recordingId,
      roomId,
      ...(nodeId === undefined ? {} : { nodeId }),
      folder,
      durationMs,
      ...(file === undefined ? {} : { file: (yield* RecordingStore).locate(recordingId, file) })
    }
  }
  if (outcome._tag === "Foreign") return { type, folder }
  const manifest = yield* Effect.orElseSucceed(readManifest(folder), () => undefined)
  return {
    type,
    recordingId: path.basename(folder),
    ...(manifest === undefined ? {} : { roomId: manifest.roomId, nodeId: manifest.nodeId }),
    folder,
    ...(outcome._tag === "Held" ? { holder: outcome.holder } : {}),
    ...(outcome._tag === "GivenUp"
      ? { by: outcome.givenUp.by, at: outcome.givenUp.at, reason: outcome.givenUp.reason }
      : {}),
    ...(outcome._tag === "Deleted" ? outcome.word : {}),
    ...(outcome._tag === "Failed" ? { problem: outcome.error.message } : {})
  }
})

const words = (outcome: PartOutcome): string => {
  const recordingId = path.basename(outcome.folder)
  switch (outcome._tag) {
    case "Recovered":
      return `${recordingId}: computed${outcome.receipt.file === undefined ? "; there is no frame in it" : ""}`
    case "AlreadyDone":
      return `${recordingId}: was computed before`
    case "Held":
      return `${recordingId}: left alone, its process lives`
    case "Foreign":
      return `${outcome.folder}: no recording, left alone (it has no journal and no manifest)`
    case "GivenUp": {
      const { at, by, reason } = outcome.givenUp
      return `${recordingId}: given up by ${by} at ${new Date(at).toISOString()}, its journal is kept in ${outcome.folder}: ${reason}`
    }
    case "Deleted":
      return `${recordingId}: was deleted by ${outcome.word.by}, and so is its journal now: ${outcome.word.reason}`
    case "Left":
      return `${recordingId}: left to the next run`
    case "NothingCaptured":
      return `${recordingId}: had not caught a packet`
    case "Failed":
      return `${recordingId}: cannot be finished now, its journal is kept in ${outcome.folder}: ${outcome.error.message}`
  }
}

const say = (json: object, text: string) =>
  process.stdout.write(`${values.json ? JSON.stringify(json) : text}\n`)

/** What the cluster knows, and is told. */
interface Known {
  readonly publish: (outcome: PartOutcome) => Effect.Effect<void>
  readonly deletedBy: RecordingIndex["Service"]["deletedBy"]
}
const nothingKnown: Known = { publish: () => Effect.void, deletedBy: () => Effect.undefined }

/** The cluster's index; without a cluster it knows nothing, and what it is told is forgotten. */
const clusterIndex = Effect.gen(function* () {
  if (env("EBB_NATS") === undefined) return nothingKnown
  const nats = layerNats({
    ...natsFromEnvironment(env),
    name: "ebb-recordings",
    cluster: env("EBB_CLUSTER") ?? "local"
  })
  const index = yield* Layer.build(Layer.provide(RecordingIndex.layer, nats)).pipe(
    Effect.flatMap((services) => Effect.provide(RecordingIndex, services))
  )
  const publish = (outcome: PartOutcome) =>
    outcome._tag === "Recovered" || outcome._tag === "AlreadyDone"
      ? index.publish(outcome.receipt)
      : outcome._tag === "GivenUp"
        ? index.giveUp(outcome)
        : Effect.void
  return { publish, deletedBy: index.deletedBy } satisfies Known
}).pipe(
  Effect.catch((error) =>
    Effect.as(
      Effect.logWarning(
        `the cluster's index cannot be reached (${error.message}), nor what was deleted in it; a later start of a node enters what is found`
      ),
      nothingKnown
    )
  )
)

const tell = Effect.fnUntraced(function* (outcome: PartOutcome, publish: Known["publish"]) {
  yield* publish(outcome)
  say(yield* lineOf(outcome), words(outcome))
})

const finish = Effect.gen(function* () {
  yield* checkFfmpeg
  const { deletedBy, publish } = yield* clusterIndex
  const store = yield* RecordingStore
  const outcomes = yield* recover(dataDir, {
    computedBy: "ebb-recordings",
    givenUpToo: values["given-up"],
    deletedBy,
    onOutcome: (outcome) => Effect.provideService(tell(outcome, publish), RecordingStore, store)
  })
  const count = (tag: PartOutcome["_tag"]) => outcomes.filter(({ _tag }) => _tag === tag).length
  const sum = {
    type: "Result",
    recovered: count("Recovered"),
    alreadyDone: count("AlreadyDone"),
    held: count("Held"),
    nothingCaptured: count("NothingCaptured"),
    givenUp: count("GivenUp"),
    deleted: count("Deleted"),
    foreign: count("Foreign"),
    failed: count("Failed")
  }
  const givenUp = sum.givenUp === 0 ? "" : `, ${sum.givenUp} given up`
  const deleted = sum.deleted === 0 ? "" : `, ${sum.deleted} had been deleted`
  say(
    sum,
    `${sum.recovered} computed, ${sum.alreadyDone} were, ${sum.held} belong to living processes${givenUp}${deleted}, ${sum.failed} failed`
  )
  return sum.failed > 0 ? 4 : 0
})

const giveUpOne = Effect.fnUntraced(function* (recordingId: string, reason: string) {
  const user = env("SUDO_USER") ?? env("USER") ?? `uid ${process.getuid?.() ?? "unknown"}`
  const by = values.by ?? `${user}@${os.hostname()}`
  const { publish } = yield* clusterIndex
  const outcomes = yield* giveUp(dataDir, recordingId, { by, reason })
  for (const outcome of outcomes) yield* tell(outcome, publish)
  const given = outcomes.filter(({ _tag }) => _tag === "GivenUp").length
  say(
    { type: "Result", givenUp: given, parts: outcomes.length },
    `${given} of ${outcomes.length} parts given up`
  )
  if (outcomes.length > 0)
    return outcomes.every(({ _tag }) => _tag === "GivenUp" || _tag === "AlreadyDone") ? 0 : 4
  process.stderr.write(`ebb-recordings: there is no part of recording '${recordingId}' in ${dataDir}\n`)
  return 1
})

const program = (unwanted === undefined ? finish : giveUpOne(unwanted, values.reason ?? "")).pipe(
  Effect.scoped,
  Effect.provide(RecordingStore.at(storeDir, { staging: path.join(dataDir, "staged") })),
  Effect.provideService(Logger.LogToStderr, true),
  Effect.provideService(References.MinimumLogLevel, "Warn")
)

const exit = await Effect.runPromiseExit(program)
if (Exit.isFailure(exit)) {
  const error = Cause.squash(exit.cause)
  process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`)
}
process.exit(Exit.isSuccess(exit) ? exit.value : 1)
