/**
 * Golden bytes: what this version and those before it have on the wire and on disk. A row is a sample, in the plain form it has there, and
 * the two functions of a build that write and read it. The bytes of a row are committed once, in `fixtures`, and may never change; a
 * message, error or record that grows gets another row.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { Build } from "./Build.ts"

export type Plain =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<Plain>
  | { readonly [key: string]: Plain }

/** A sample with what was not there yet in that release: its bytes are not asked of it, but it must read them. */
export interface Later {
  readonly after: string
  readonly value: Plain
}
export const after = (release: string, value: Plain): Later => ({ after: release, value })

export type Sample = Plain | Later
export const isLater = (sample: Sample): sample is Later =>
  typeof sample === "object" && sample !== null && "after" in sample && "value" in sample

export interface Row {
  /** The fixture's file, without `.json`. */
  readonly fixture: string
  readonly name: string
  readonly plain: Plain
  /** Releases up to this one do not know all that is in it. They read the rest, or refuse it if it is of a kind that they do not know. */
  readonly after?: string
  readonly isNewKind?: boolean
  /** Asked, not told: a word that is not known is refused there, by a typed error. */
  readonly isClosed?: boolean
  /** By a build that does not know it at all: undefined. */
  readonly encode: (build: Build) => Effect.Effect<Uint8Array | undefined, unknown>
  /** What a reader makes of bytes. Fails, and never dies, where it refuses them; undefined as in `encode`. */
  readonly decode: (build: Build, bytes: Uint8Array) => Effect.Effect<unknown, unknown>
  /** The plain form as bytes: of what a later version might write. */
  readonly write: (plain: Plain) => Uint8Array
  /** It is a text, and kept as one in its fixture. */
  readonly isText?: boolean
  /** Maps with keys of their own, where an unknown one would be no field. */
  readonly openMaps?: ReadonlyArray<string>
}

/** Of rows that belong to one name: `Watch answer`, `Watch answer 2`. */
export const rowsOf = (
  samples: ReadonlyArray<Sample>,
  row: (plain: Plain) => Omit<Row, "plain" | "after">
): ReadonlyArray<Row> =>
  samples.map((sample, index) => {
    const plain = isLater(sample) ? sample.value : sample
    const made = row(plain)
    return {
      ...made,
      plain,
      name: index === 0 ? made.name : `${made.name} ${index + 1}`,
      ...(isLater(sample) ? { after: sample.after } : {})
    }
  })

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const fixtureFile = (fixture: string) => join(import.meta.dirname, "fixtures", `${fixture}.json`)

/** Bytes by the row's name, in hexadecimal; files that people read as they are, after `text:`. */
export const readFixture = (fixture: string): Record<string, string> =>
  JSON.parse(readFileSync(fixtureFile(fixture), "utf8")) as Record<string, string>

const textMark = "text:"
export const shown = (bytes: Uint8Array, { isText = false }: Pick<Row, "isText">): string =>
  isText ? `${textMark}${Buffer.from(bytes).toString("utf8")}` : hex(bytes)
export const bytesOf = (golden: string): Uint8Array =>
  golden.startsWith(textMark)
    ? new TextEncoder().encode(golden.slice(textMark.length))
    : new Uint8Array(Buffer.from(golden, "hex"))

const isMap = (plain: Plain): plain is { readonly [key: string]: Plain } =>
  typeof plain === "object" && plain !== null && !Array.isArray(plain)

/** The same with a field that nobody knows, in every map. */
export const withLaterFields = (plain: Plain, openMaps: ReadonlyArray<string> = []): Plain => {
  if (Array.isArray(plain)) return plain.map((each: Plain) => withLaterFields(each, openMaps))
  if (!isMap(plain)) return plain
  const fields = Object.entries(plain).map(([key, value]): [string, Plain] => [
    key,
    openMaps.includes(key) ? value : withLaterFields(value, openMaps)
  ])
  return { ...Object.fromEntries(fields), zzLater: { of: ["a", 2] } }
}

/** The same, once for each word in it, with that word replaced by one that nobody knows. */
export const withLaterWords = (plain: Plain): ReadonlyArray<Plain> => {
  if (typeof plain === "string") return ["Later"]
  if (Array.isArray(plain)) {
    return plain.flatMap((each: Plain, at) =>
      withLaterWords(each).map((changed) => plain.with(at, changed) as Plain)
    )
  }
  if (!isMap(plain)) return []
  return Object.entries(plain).flatMap(([key, value]) =>
    key === "_tag" ? [] : withLaterWords(value).map((changed): Plain => ({ ...plain, [key]: changed }))
  )
}
