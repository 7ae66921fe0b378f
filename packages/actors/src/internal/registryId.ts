/**
 * The registry's own id: one key, written once. A registry that answers with another one has lost its store, and its
 * revisions count from 1 again.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { RegistryUnavailable } from "../ActorError.ts"
import { Id, makeIncarnation } from "../Address.ts"
import type { Bucket } from "../Registry.ts"
import { openRecord, recordCodec } from "./record.ts"

export const directoryBucket = "directory"
/** Has no dot, so it is no `<kind>.<id>`. */
export const registryKey = "registry"

const codec = recordCodec(openRecord({ v: Schema.Int, id: Id }))

export const readRegistryId: (directory: Bucket) => Effect.Effect<Id, RegistryUnavailable> =
  Effect.fnUntraced(function* (directory) {
    const known = yield* directory.get(registryKey)
    if (known === undefined) {
      const id = makeIncarnation()
      const created = yield* directory.create(registryKey, codec.encode({ v: 1, id })).pipe(
        Effect.as(true),
        // Somebody else was first.
        Effect.catchTag("KeyConflict", () => Effect.succeed(false))
      )
      return created ? id : yield* readRegistryId(directory)
    }
    const record = codec.decode(known.value)
    if (Option.isNone(record)) return yield* new RegistryUnavailable({ reason: "its id cannot be read" })
    return record.value.id
  })
