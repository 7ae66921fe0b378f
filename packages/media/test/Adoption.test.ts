import { ActorSystem } from "@ebb/actors"
import { TestBus } from "@ebb/actors/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as fs from "node:fs"
import * as path from "node:path"
import type { AdoptionArgs } from "../src/Adoption.ts"
import { adoption } from "../src/Adoption.ts"
import type { Receipt } from "../src/recording/index.ts"
import { makeComputeQueue, RecordingStore } from "../src/recording/index.ts"
import { RecordingIndex } from "../src/RecordingIndex.ts"
import { temporaryFolder, writePart } from "./recording/fixtures.ts"

/** Adopts from a folder with the parts of a dead process, and gives what was said when the actor has ended. */
const adopt = Effect.fnUntraced(function* (
  recordingIds: ReadonlyArray<string>,
  options: {
    readonly publish: (receipt: Receipt) => Effect.Effect<void>
    readonly prepare?: (partOf: (recordingId: string) => string) => void
    readonly isDraining?: () => boolean
  }
) {
  const dataDir = yield* temporaryFolder
  const partOf = (recordingId: string) => path.join(dataDir, "incarnations", "dead", recordingId)
  for (const recordingId of recordingIds) {
    yield* writePart({ folder: partOf(recordingId), manifest: { recordingId }, tracks: {}, events: [] })
  }
  options.prepare?.(partOf)
  const said: Array<string> = []
  const bus = yield* TestBus.make()
  const services = yield* Layer.build(
    Layer.mergeAll(
      ActorSystem.layer({ cluster: "test", nodeId: "n" }).pipe(Layer.provide(bus.layer("n"))),
      RecordingStore.folder(path.join(dataDir, "results")),
      Layer.mock(RecordingIndex, {
        deletedBy: () => Effect.undefined,
        publish: options.publish,
        adopting: () => Effect.void,
        describe: () => assert.fail("not asked for")
      }),
      Logger.layer([
        Logger.make(
          ({ logLevel, message }) => void said.push(`${logLevel} ${[message].flat().map(String).join()}`)
        )
      ])
    )
  )
  const unfinished = new Map<string, string>()
  const args: AdoptionArgs = {
    dataDir,
    nodeId: "n",
    computing: yield* makeComputeQueue(1),
    isDraining: options.isDraining ?? (() => false),
    unfinished: (partFolder, problem) => unfinished.set(partFolder, problem)
  }
  const { detail } = yield* Effect.gen(function* () {
    const system = yield* ActorSystem
    const { ref } = yield* system.spawn(adoption, "n", args)
    return yield* ref.terminated
  }).pipe(Effect.provideContext(services))
  return { detail, partOf, said: said.join("\n"), unfinished }
})

/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

describe("adoption", () => {
  it.live(
    "ends though it died of a defect, and says so: a drain waits for it",
    () =>
      Effect.gen(function* () {
        const { detail, said } = yield* adopt(["one", "two"], { publish: () => Effect.die("a defect") })
        assert.strictEqual(detail, "nothing more is adopted")
        assert.match(said, /Error BUG: the adoption .* died/)
      }),
    patience
  )

  it.live(
    "names what it cannot finish, and goes on with the others",
    () =>
      Effect.gen(function* () {
        const published: Array<string> = []
        const { partOf, unfinished } = yield* adopt(["broken", "fine"], {
          prepare: (partOf) => fs.rmSync(path.join(partOf("broken"), "journal.ebbj")),
          publish: ({ recordingId }) => Effect.sync(() => void published.push(recordingId))
        })
        assert.deepStrictEqual([...unfinished.keys()], [partOf("broken")])
        assert.match(unfinished.get(partOf("broken")) ?? "", /journal of recording broken is gone/)
        assert.deepStrictEqual(published, ["fine"])
      }),
    patience
  )

  it.live(
    "finishes the part under way when the node drains, and leaves the rest as it is",
    () =>
      Effect.gen(function* () {
        const published: Array<string> = []
        const { partOf, said, unfinished } = yield* adopt(["one", "two", "zwei"], {
          isDraining: () => published.length > 0,
          publish: ({ recordingId }) => Effect.sync(() => void published.push(recordingId))
        })
        assert.deepStrictEqual(published, ["one"])
        for (const left of ["two", "zwei"]) {
          assert.include(said, `${partOf(left)} is left to a later start`)
          assert.isFalse(fs.existsSync(path.join(partOf(left), "receipt.json")))
        }
        assert.strictEqual(unfinished.size, 0)
      }),
    patience
  )
})
