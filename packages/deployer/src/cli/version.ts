/** This package's version. */
import { readFileSync } from "node:fs"
import * as Schema from "effect/Schema"

const decode = Schema.decodeSync(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))

export const { version } = decode(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
