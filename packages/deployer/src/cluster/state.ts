/**
 * A local cluster's state folder: where it is, what it is called, and who runs it.
 *
 *     cluster.json   the cluster's name, and where its releases file and the nodes' data are
 *     lock           held by the one `ebb up` that runs it, with its pid
 *     nats/          the embedded server: see `embeddedNats`
 *     instances/     the nodes: see `orchestrators/local`
 *     data/          their journals and results, unless told otherwise
 *
 * `claim` is for `ebb up`, `open` for every other command, in any terminal, also while nobody holds the lock.
 */
import os from "node:os"
import path from "node:path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ClusterClaimed, ClusterMismatch, ClusterNotFound } from "../DeployError.ts"
import { acquireLock } from "../internal/folderLock.ts"
import { checkName, nameSchema } from "../internal/names.ts"
import { createFileOnce, ensureFolder, readJsonFile, replaceFile } from "../internal/stateFile.ts"

export interface Cluster {
  readonly folder: string
  readonly name: string
  /** The releases file; absolute. */
  readonly releases: string
  /** For `layerLocal`. */
  readonly instances: string
  /** Where the nodes keep journals and results; absolute. */
  readonly dataDir: string
}

declare const claimed: unique symbol
/** A cluster whose lock this process holds: the proof that `startNats` asks for. */
export interface ClaimedCluster extends Cluster {
  readonly [claimed]: true
}

export const defaultCluster = "local"

/**
 * The folder of a cluster: as said, or the environment's EBB_STATE, or `ebb/<cluster>` in XDG_STATE_HOME, which is
 * `~/.local/state` when unset. Absolute.
 */
export const stateFolder = Effect.fnUntraced(function* (options: {
  readonly state: Option.Option<string>
  readonly cluster: string
}) {
  yield* checkName("cluster", options.cluster)
  const fromEnvironment = yield* Config.option(Config.NonEmptyString("EBB_STATE"))
  const home = yield* Config.NonEmptyString("XDG_STATE_HOME").pipe(
    Config.withDefault(path.join(os.homedir(), ".local", "state"))
  )
  return path.resolve(
    Option.getOrElse(
      Option.orElse(options.state, () => fromEnvironment),
      () => path.join(home, "ebb", options.cluster)
    )
  )
})

const ClusterFile = Schema.Struct({
  cluster: nameSchema,
  releases: Schema.String,
  dataDir: Schema.optionalKey(Schema.String)
})
const readClusterFile = readJsonFile(ClusterFile)
const clusterFile = (folder: string) => path.join(folder, "cluster.json")

const toCluster = (folder: string, file: typeof ClusterFile.Type): Cluster => ({
  folder,
  name: file.cluster,
  releases: file.releases,
  instances: path.join(folder, "instances"),
  dataDir: file.dataDir ?? path.join(folder, "data")
})

/** The cluster that was started in this folder, whether or not it runs now. */
export const openCluster = Effect.fnUntraced(function* (folder: string) {
  const file = yield* readClusterFile(clusterFile(folder))
  return Option.isSome(file) ? toCluster(folder, file.value) : yield* new ClusterNotFound({ folder })
})

/**
 * Makes this process the one that runs the cluster, until the scope closes or the process ends. Makes the folder when it
 * is missing. A releases file or data folder that is named here is remembered; otherwise it is the one of before, or within.
 */
export const claimCluster = Effect.fnUntraced(function* (options: {
  readonly folder: string
  readonly name: string
  readonly releases?: string
  readonly dataDir?: string
}) {
  const { folder, name } = options
  yield* checkName("cluster", name)
  yield* ensureFolder(folder)
  const lock = yield* acquireLock(path.join(folder, "lock"))
  if (Result.isFailure(lock)) {
    const pid = Option.match(lock.failure.holder, { onNone: () => ({}), onSome: (pid) => ({ pid }) })
    return yield* new ClusterClaimed({ folder, ...pid })
  }
  const asked = {
    ...(options.releases === undefined ? {} : { releases: path.resolve(options.releases) }),
    ...(options.dataDir === undefined ? {} : { dataDir: path.resolve(options.dataDir) })
  }
  const initial = { cluster: name, releases: path.join(folder, "releases.json"), ...asked }
  yield* createFileOnce(clusterFile(folder), JSON.stringify(initial))
  const existing = yield* openCluster(folder)
  if (existing.name !== name)
    return yield* new ClusterMismatch({ folder, existing: existing.name, asked: name })
  const { dataDir, releases } = { ...existing, ...asked }
  if (releases !== existing.releases || dataDir !== existing.dataDir) {
    yield* replaceFile(clusterFile(folder), JSON.stringify({ cluster: name, releases, dataDir }))
  }
  return { ...existing, releases, dataDir } as ClaimedCluster
})
