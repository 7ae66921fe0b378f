/**
 * `given-up.json`: a person has given a part up. No node computes it by itself any more, or ends with 4 for it. Nothing else changes:
 * its journal stays, and it can be computed by hand. A receipt, once there, counts more than this file.
 *
 * A file of its own, because a part that lost its manifest, or has one of a later version, must be given up as well.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as path from "node:path"
import { readIfThere, replaceFile } from "./internal/disk.ts"
import { decodeJsonFile } from "./internal/storedSchema.ts"

export const givenUpFormat = 1

export const GivenUp = Schema.Struct({
  format: Schema.Finite,
  /** Who, in a person's words. */
  by: Schema.String,
  /** Wall clock, milliseconds since 1970. */
  at: Schema.Finite,
  reason: Schema.String
})
export interface GivenUp extends Schema.Schema.Type<typeof GivenUp> {}

const givenUpPath = (folder: string) => path.join(folder, "given-up.json")

const decode = decodeJsonFile(GivenUp, givenUpFormat)

/** Undefined: it was not given up. */
export const readGivenUp = Effect.fnUntraced(function* (folder: string) {
  const file = givenUpPath(folder)
  const bytes = yield* readIfThere(file)
  return bytes === undefined ? undefined : yield* decode(file, bytes.toString("utf8"))
})

export const writeGivenUp = (folder: string, givenUp: GivenUp) =>
  replaceFile(givenUpPath(folder), `${JSON.stringify(givenUp, null, 2)}\n`)
