/** The modules that write and read what is golden: of this build's sources, or of a packed release. */
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import { type PackageName, unpackedRelease } from "../../support/release.ts"

const packages = join(import.meta.dirname, "../../../packages")

export interface Build {
  /** Undefined: this one. */
  readonly release: string | undefined
  readonly actors: typeof import("@ebb/actors")
  readonly envelope: typeof import("../../../packages/actors/src/Envelope.ts")
  /** Absent in 0.1.0. */
  readonly sharedFrames: typeof import("../../../packages/actors/src/nats/sharedFrames.ts") | undefined
  readonly lease: typeof import("../../../packages/actors/src/NodeLease.ts")
  readonly directoryEntry: typeof import("../../../packages/actors/src/DirectoryEntry.ts")
  readonly registryId: typeof import("../../../packages/actors/src/internal/registryId.ts")
  readonly media: typeof import("@ebb/media/protocol")
  readonly recordingIndex: typeof import("../../../packages/media/src/RecordingIndex.ts")
  readonly recordingStore: typeof import("../../../packages/media/src/recording/RecordingStore.ts")
  readonly manifest: typeof import("../../../packages/media/src/recording/Manifest.ts")
  readonly receipt: typeof import("../../../packages/media/src/recording/Receipt.ts")
  /** Absent in 0.1.0. */
  readonly givenUp: typeof import("../../../packages/media/src/recording/GivenUp.ts") | undefined
  readonly deletion: typeof import("../../../packages/media/src/recording/Deletion.ts") | undefined
  readonly journal: typeof import("../../../packages/media/src/recording/JournalFormat.ts")
  readonly journalParser: typeof import("../../../packages/media/src/recording/JournalParser.ts")
  readonly local: typeof import("@ebb/deployer")
  readonly deployer: typeof import("../../../packages/deployer/src/Deployer.ts")
  readonly rolloutEvent: typeof import("../../../packages/deployer/src/RolloutEvent.ts")
}

const modules = {
  actors: ["actors", "index"],
  envelope: ["actors", "Envelope"],
  sharedFrames: ["actors", "nats/sharedFrames"],
  lease: ["actors", "NodeLease"],
  directoryEntry: ["actors", "DirectoryEntry"],
  registryId: ["actors", "internal/registryId"],
  media: ["media", "protocol/index"],
  recordingIndex: ["media", "RecordingIndex"],
  recordingStore: ["media", "recording/RecordingStore"],
  manifest: ["media", "recording/Manifest"],
  receipt: ["media", "recording/Receipt"],
  givenUp: ["media", "recording/GivenUp"],
  deletion: ["media", "recording/Deletion"],
  journal: ["media", "recording/JournalFormat"],
  journalParser: ["media", "recording/JournalParser"],
  local: ["deployer", "index"],
  deployer: ["deployer", "Deployer"],
  rolloutEvent: ["deployer", "RolloutEvent"]
} as const satisfies Record<string, readonly [PackageName, string]>

const loaded = Effect.fnUntraced(function* (
  release: string | undefined,
  load: (name: PackageName, module: string) => Effect.Effect<unknown>
) {
  const each = yield* Effect.forEach(Object.entries(modules), ([key, [name, module]]) =>
    // A module that a release does not have is one it has nothing of.
    Effect.map(Effect.exit(load(name, module)), (exit) => [
      key,
      exit._tag === "Success" ? exit.value : undefined
    ])
  )
  return { release, ...Object.fromEntries(each) } as Build
})

export const thisBuild = loaded(undefined, (name, module) =>
  Effect.promise(() => import(pathToFileURL(join(packages, name, "src", `${module}.ts`)).href))
)

export const releasedBuild = (version: string) =>
  Effect.flatMap(unpackedRelease(version), ({ load }) => loaded(version, load))
