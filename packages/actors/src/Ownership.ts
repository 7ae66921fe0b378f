/**
 * An actor's name in the cluster, for the life of its scope: claimed in the directory when it starts, verified each time its process was cut
 * off, given back when it ends. The claim's outcome decides who owns the name, never a read.
 *
 * From the moment at which its process may act again until the name is verified, nobody who knows the actor by an epoch is served: the
 * name may be another's by then.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Self } from "./Actor.ts"
import type { AlreadyOwned, NodeIsolated, RegistryUnavailable } from "./ActorError.ts"
import type { Epoch } from "./Address.ts"
import { Directory } from "./Directory.ts"
import type { DirectoryEntry } from "./DirectoryEntry.ts"
import type { HeldLease } from "./Lease.ts"

/**
 * Called in an actor's behaviour, before it serves. `onSuperseded` is run when somebody else took the name while this process could not be
 * seen: this actor, alone, has to end.
 */
export const ownName = Effect.fnUntraced(function* (
  self: Self,
  lease: HeldLease,
  onSuperseded: (by: DirectoryEntry) => Effect.Effect<void>
): Effect.fn.Return<void, AlreadyOwned | NodeIsolated | RegistryUnavailable, Directory | Scope.Scope> {
  const directory = yield* Directory
  const { id, kind } = self.address
  const name = { kind, id }
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
  hold(yield* directory.claim(name, lease))

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
        return onSuperseded(verified.by)
      }
      return Effect.sync(() => hold(verified.epoch))
    }),
    Effect.catchTag("NodeIsolated", () => Effect.void)
  )
  yield* Queue.take(toVerify).pipe(Effect.andThen(verify), Effect.forever, Effect.forkScoped)
})
