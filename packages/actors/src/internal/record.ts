/**
 * Stored records: a MessagePack map per value, read by other versions than the one that wrote it. A reader keeps the fields it
 * does not know and reads a literal it does not know as `Unknown`.
 */
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { pack, unpack } from "../Envelope.ts"

/** One of `known`, or `Unknown` for what a later version wrote. */
export const literalOrUnknown = <const Known extends string>(known: ReadonlyArray<Known>) => {
  const literal: Schema.Codec<Known | "Unknown"> = Schema.Literals([...known, "Unknown"])
  return Schema.String.pipe(
    Schema.decodeTo(literal, {
      decode: SchemaGetter.transform(
        (text: string): Known | "Unknown" => known.find((it) => it === text) ?? "Unknown"
      ),
      encode: SchemaGetter.transform((it: Known | "Unknown"): string => it)
    })
  )
}

/** A struct whose unknown fields are kept. */
export const openRecord = <const Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)])

export const recordCodec = <S extends Schema.ConstraintCodec<unknown, unknown>>(schema: S) => {
  const encode = Schema.encodeSync(schema)
  const decode = Schema.decodeUnknownOption(schema)
  return {
    encode: (record: S["Type"]): Uint8Array => pack(encode(record)),
    /** None when the bytes are no such record. */
    decode: (bytes: Uint8Array): Option.Option<S["Type"]> => {
      const value = unpack(bytes)
      return Exit.isSuccess(value) ? decode(value.value) : Option.none()
    }
  }
}
