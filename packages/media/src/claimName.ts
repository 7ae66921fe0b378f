/**
 * An actor's name in the cluster, for the life of its scope: claimed in the directory when it starts, verified each time its node
 * was cut off, given back when it ends. The claim's outcome decides who owns the name, never a read.
 */
import type { Epoch, Self } from "@ebb/actors"
import { Directory } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Membership } from "./Membership.ts"
import { Elsewhere } from "./protocol/Common.ts"

/** `onSuperseded` is run when somebody else took the name while this node could not be seen: this actor, alone, has to end. */
export const claimName = Effect.fnUntraced(function* (
  self: Self,
  kind: string,
  onSuperseded: (detail: string) => Effect.Effect<void>
) {
  const directory = yield* Directory
  const lease = yield* Membership
  const name = { kind, id: self.address.id }
  let epoch: Epoch | undefined
  const hold = (held: Epoch) => {
    epoch = held
    self.setEpoch(held)
  }
  // Before the claim: one that is interrupted, or whose answer is lost, may have been done all the same.
  yield* Effect.addFinalizer(() =>
    epoch === undefined ? Effect.void : directory.release(name, epoch, lease)
  )
  yield* directory.claim(name, lease).pipe(
    Effect.map(hold),
    Effect.catchTag(
      "AlreadyOwned",
      ({ owner }) => new Elsewhere({ nodeId: owner.node, incarnation: owner.incarnation })
    )
  )

  const verify = directory.verify(name, lease).pipe(
    // Cut off again, perhaps: the next resumption asks anew, and until then the name is not judged.
    Effect.retry({
      schedule: Schedule.spaced("1 second"),
      while: (error) => error._tag === "RegistryUnavailable"
    }),
    Effect.flatMap((verified) => {
      if (verified._tag === "Superseded") {
        epoch = undefined
        return onSuperseded(`superseded: node '${verified.by.node}' has the name now`)
      }
      return Effect.sync(() => hold(verified.epoch))
    }),
    Effect.catchTag("NodeIsolated", () => Effect.void)
  )
  yield* Stream.merge(lease.resumed, directory.registryLost).pipe(
    Stream.runForEach(() => verify),
    Effect.forkScoped
  )
})
