/** `ownName` of the runtime, by this process's lease and in words of the protocol. */
import { ownName, type Self } from "@ebb/actors"
import * as Effect from "effect/Effect"
import { Membership } from "./Membership.ts"
import { Elsewhere } from "./protocol/Common.ts"

/** `onSuperseded` is run when somebody else took the name while this node could not be seen: this actor, alone, has to end. */
export const claimName = Effect.fnUntraced(function* (
  self: Self,
  onSuperseded: (detail: string) => Effect.Effect<void>
) {
  const lease = yield* Membership
  return yield* ownName(self, lease, (by) =>
    onSuperseded(`superseded: node '${by.node}' has the name now`)
  ).pipe(
    Effect.catchTag(
      "AlreadyOwned",
      ({ owner }) => new Elsewhere({ nodeId: owner.node, incarnation: owner.incarnation })
    )
  )
})
