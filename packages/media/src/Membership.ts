/** This process's lease on its node id, as a service: whoever claims names for the cluster needs it. */
import type { HeldLease, NodeLeaseBody } from "@ebb/actors"
import { ActorSystem, holdLease } from "@ebb/actors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export class Membership extends Context.Service<Membership, HeldLease>()("@ebb/media/Membership") {
  /** Takes the node id when it is built, and gives it back when its scope closes. */
  static readonly layer = (initial: NodeLeaseBody) =>
    Layer.effect(
      Membership,
      Effect.gen(function* () {
        const { incarnation, nodeId } = yield* ActorSystem
        return yield* holdLease({ nodeId, incarnation, initial })
      })
    )
}
