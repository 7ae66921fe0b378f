/**
 * The releases file: which command line a version is.
 *
 *     { "versions": { "v1": { "command": ["ebb-node"], "env": {} } } }
 *
 * It is read anew each time, so a version added while a cluster runs can be rolled out. Commands run in the file's own
 * folder, so relative paths in them are relative to it.
 */
import { readFile } from "node:fs/promises"
import path from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ReleasesUnreadable, UnknownVersion } from "../DeployError.ts"
import { errorCode } from "../internal/stateFile.ts"
import { nameSchema } from "../internal/names.ts"

/** `command`: a program, by path or found on PATH, and its arguments. `env` is added to the starter's own. */
export const Release = Schema.Struct({
  command: Schema.NonEmptyArray(Schema.String),
  env: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})
export type Release = typeof Release.Type

export interface Releases {
  readonly file: string
  readonly versions: Readonly<Record<string, Release>>
}

const decode = Schema.decodeUnknownEffect(
  // Not a record keyed by nameSchema: that one drops the keys that do not fit, without a word.
  Schema.fromJsonString(
    Schema.Struct({
      versions: Schema.Record(Schema.String, Release).check(Schema.isPropertyNames(nameSchema))
    })
  )
)

export const readReleases = Effect.fnUntraced(function* (
  file: string
): Effect.fn.Return<Releases, ReleasesUnreadable> {
  const unreadable = (problem: string) => new ReleasesUnreadable({ file, problem })
  const text = yield* Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: (error) => unreadable(errorCode(error) === "ENOENT" ? "there is no such file" : String(error))
  })
  const { versions } = yield* decode(text).pipe(Effect.mapError((error) => unreadable(error.message)))
  return { file, versions }
})

/** The folder in which a release's command runs. */
export const releaseFolder = (releases: Releases): string => path.dirname(path.resolve(releases.file))

export const findRelease = (releases: Releases, version: string): Effect.Effect<Release, UnknownVersion> => {
  const known = Object.keys(releases.versions)
  const release = Object.hasOwn(releases.versions, version) ? releases.versions[version] : undefined
  return release === undefined
    ? Effect.fail(
        new UnknownVersion({ version, known, similar: similarTo(version, known), file: releases.file })
      )
    : Effect.succeed(release)
}

/** Those at most two edits away (one, for names of three letters and less), nearest first. */
const similarTo = (asked: string, known: ReadonlyArray<string>): ReadonlyArray<string> =>
  known
    .map((name) => ({ name, distance: editDistance(asked.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= (name.length <= 3 ? 1 : 2))
    .sort((a, b) => a.distance - b.distance)
    .map(({ name }) => name)

/** Levenshtein's, by rows. */
const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1]
    for (const [j, other] of Array.from(b).entries()) {
      const substituted = (row[j] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
