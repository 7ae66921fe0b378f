/**
 * Who is told of producers that come and go. Joining and telling are each one turn over (producers, watchers), so that a
 * watcher hears of each producer exactly once, whichever came first.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { AnyProducerInfo, ProducerWatcher } from "../RoomMedia.ts"

export class ProducerWatchers {
  readonly #watchers = new Set<ProducerWatcher>()
  readonly #timeout: Duration.Duration

  constructor(timeout: Duration.Duration) {
    this.#timeout = timeout
  }

  watch(
    watcher: ProducerWatcher,
    present: () => ReadonlyArray<AnyProducerInfo>
  ): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.#watchers.add(watcher)
        return present()
      }),
      () => Effect.sync(() => this.#watchers.delete(watcher))
    ).pipe(Effect.flatMap(Effect.forEach(watcher.opened, { concurrency: "unbounded", discard: true })))
  }

  /** To be called in the turn in which the producer becomes present. */
  opened(producer: AnyProducerInfo): Effect.Effect<void> {
    const watchers = [...this.#watchers]
    return Effect.forEach(watchers, (watcher) => this.#bounded(watcher.opened(producer), producer), {
      concurrency: "unbounded",
      discard: true
    })
  }

  closed(producer: AnyProducerInfo): Effect.Effect<void> {
    const watchers = [...this.#watchers]
    return Effect.forEach(watchers, (watcher) => this.#bounded(watcher.closed(producer), producer), {
      concurrency: "unbounded",
      discard: true
    })
  }

  /** A watcher that breaks or hangs must not keep a peer out. */
  #bounded(told: Effect.Effect<void>, producer: AnyProducerInfo): Effect.Effect<void> {
    return told.pipe(
      Effect.catchCause((cause) => Effect.logError("BUG: a producer watcher failed", cause)),
      Effect.forkDetach,
      Effect.flatMap((fiber) =>
        Effect.timeoutOrElse(Fiber.await(fiber), {
          duration: this.#timeout,
          orElse: () =>
            Effect.logWarning(
              `producer ${producer.producerId}: a watcher takes more than ${Duration.toMillis(this.#timeout)} ms; not waited for`
            )
        })
      )
    )
  }
}
