/** Schemas that stored files share: ids that are safe as file names, and literals that a newer version may extend. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { RecordingFileInvalid, UnsupportedFormat } from "../../MediaError.ts"

export const StoredId = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/))

/** A value that is none of `known` decodes to `Unknown`: files written by a newer version stay readable. */
export const openLiterals = <L extends string>(known: ReadonlyArray<L>) => {
  const literals: ReadonlyArray<L | "Unknown"> = [...known, "Unknown"]
  return Schema.String.pipe(
    Schema.decodeTo(Schema.Literals(literals), {
      decode: SchemaGetter.transform(
        (text: string) => literals.find((literal) => literal === text) ?? "Unknown"
      ),
      encode: SchemaGetter.transform((literal: L | "Unknown"): string => literal)
    })
  )
}

const Versioned = Schema.Struct({ format: Schema.Finite })

/** Decodes a JSON file: first its major `format`, refused when newer, then the rest; unknown fields are ignored. */
export const decodeJsonFile = <S extends Schema.Constraint & { readonly DecodingServices: never }>(
  schema: S,
  supported: number
) => {
  const decode = Schema.decodeUnknownEffect(schema)
  const version = Schema.decodeUnknownEffect(Versioned)
  return Effect.fnUntraced(function* (file: string, text: string) {
    const invalid = (cause: unknown) =>
      new RecordingFileInvalid({ path: file, detail: cause instanceof Error ? cause.message : String(cause) })
    const json = yield* Effect.try({ try: (): unknown => JSON.parse(text), catch: invalid })
    const { format } = yield* Effect.mapError(version(json), invalid)
    if (format > supported) return yield* new UnsupportedFormat({ path: file, version: format, supported })
    return yield* Effect.mapError(decode(json), invalid)
  })
}
