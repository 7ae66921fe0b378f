/** The streams that an actor's handlers gave as answers. Each ends with its reader, or with the actor, and before the actor's scope does. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { ActorCrashed } from "../ActorError.ts"
import { ReplyStream } from "./replyStream.ts"
import type { AnyStream } from "./rpcSeam.ts"

/** What a stream needs of the actor it is of. */
export interface StreamOwner {
  readonly scope: Scope.Scope
  /** Why it takes no stream any more, once it does not. */
  crashOver(): ActorCrashed | undefined
  /** Runs in the actor's services and scope. */
  run<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E>
}

export class OpenStreams {
  // Made when first needed: most actors have none.
  #open: Set<ReplyStream> | undefined

  open(owner: StreamOwner, stream: AnyStream): Effect.Effect<ReplyStream> {
    return Effect.map(
      ReplyStream.open(stream, owner.scope, (effect) => owner.run(effect)),
      (opened) => {
        // Its actor ended when it had answered, and before this: nobody else would end it.
        const over = owner.crashOver()
        if (over !== undefined) opened.abort(Exit.fail(over))
        else (this.#open ??= new Set()).add(opened)
        return opened
      }
    )
  }

  close(stream: ReplyStream): Effect.Effect<void> {
    this.#open?.delete(stream)
    return stream.close()
  }

  endAll(why: ActorCrashed): void {
    for (const stream of this.#open ?? []) stream.abort(Exit.fail(why))
    this.#open = undefined
  }
}
