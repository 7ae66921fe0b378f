/**
 * An actor's name in the cluster, for the life of its scope: claimed in the directory when it starts, verified each time its node
 * was cut off, given back when it ends. The claim's outcome decides who owns the name, never a read.
 *
 * From the moment at which its node may act again until the name is verified, nobody who knows the actor by an epoch is served: the name
 * may be another's by then.
 */
import type { Epoch, Self } from "@ebb/actors"
import { Directory } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
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
  let isDoubted = false
  const doubt = () => {
    isDoubted = true
    if (epoch !== undefined) self.setEpoch("unverified")
  }
  const hold = (held: Epoch) => {
    epoch = held
    self.setEpoch(isDoubted ? "unverified" : held)
  }
  // All of it before the claim: what happens meanwhile is verified after it; and a claim that is interrupted, or whose answer is lost, may
  // have been done all the same.
  const toVerify = yield* Queue.sliding<void>(1)
  yield* lease.onLapse(doubt)
  yield* Stream.merge(
    lease.resumed,
    Stream.tap(directory.registryLost, () => Effect.sync(doubt))
  ).pipe(
    Stream.runForEach(() => Queue.offer(toVerify, undefined)),
    Effect.forkScoped({ startImmediately: true })
  )
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

  const verify = Effect.suspend(() => {
    // A lapse while it is verified is another doubt, and has its own resumption.
    isDoubted = false
    return directory.verify(name, lease)
  }).pipe(
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
  yield* Queue.take(toVerify).pipe(Effect.andThen(verify), Effect.forever, Effect.forkScoped)
})
