/**
 * The one alphabet of names in Ebb: what may be an id in a NATS subject may be a file name, and the other way round.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { InvalidName } from "../DeployError.ts"

const pattern = /^[A-Za-z0-9_-]{1,64}$/
export const nameRule = "1 to 64 letters, digits, _ or -"

export const nameSchema = Schema.String.check(Schema.isPattern(pattern, { message: `a name is ${nameRule}` }))

export const isName = (value: string): boolean => pattern.test(value)

/** Before a name becomes part of a path. */
export const checkName = (what: InvalidName["what"], value: string): Effect.Effect<void, InvalidName> =>
  isName(value) ? Effect.void : Effect.fail(new InvalidName({ what, value }))
