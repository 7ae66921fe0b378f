/**
 * Things made by the caller's id, once each. Asked for again with the same options, a thing is the same, also while it is
 * being made; with other options it is a conflict. The making belongs to nobody's fiber: an interrupted caller asks again
 * and finds it. What failed to be made leaves no trace.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

interface Entry<A, E> {
  /** Stands for everything that makes two askings the same: equal strings, equal options. */
  readonly options: string
  readonly made: Deferred.Deferred<A, E>
}

export class OnceById<A, E> {
  readonly #entries = new Map<string, Entry<A, E>>()

  /** `making` has to end by itself, in success or failure: nothing interrupts it. */
  make<C>(
    id: string,
    options: string,
    conflict: () => C,
    making: Effect.Effect<A, E>
  ): Effect.Effect<A, E | C> {
    // Nobody may be interrupted between noting an entry and starting to make it: it would never be made.
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | C> => {
      const existing = this.#entries.get(id)
      if (existing !== undefined) {
        return existing.options === options ? restore(Deferred.await(existing.made)) : Effect.fail(conflict())
      }
      const entry: Entry<A, E> = { options, made: Deferred.makeUnsafe() }
      this.#entries.set(id, entry)
      return making.pipe(
        Effect.onError(() => Effect.sync(() => this.#entries.delete(id))),
        Deferred.into(entry.made),
        Effect.forkDetach,
        Effect.andThen(restore(Deferred.await(entry.made)))
      )
    })
  }

  /** Waits while `id` is being made. */
  settled(id: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(id)
      return entry === undefined ? Effect.void : Effect.ignore(Deferred.await(entry.made))
    })
  }

  delete(id: string): void {
    this.#entries.delete(id)
  }
}
