/**
 * One stream of answers, on the side of the actor that gives them: runs in the actor's scope, and only as fast as it is asked for.
 *
 * Owns what was produced and not yet taken. Guarantees that nothing runs ahead of what is taken by more than one chunk, and that an answer
 * comes within the time it was asked for in, empty if need be.
 */
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyStream } from "./rpcSeam.ts"

/** `end` is there with the last batch: how the stream ended. */
export interface Batch {
  readonly items: ReadonlyArray<unknown>
  readonly end?: Exit.Exit<void, unknown>
}

type Chunk = Arr.NonEmptyReadonlyArray<unknown>

export class ReplyStream {
  readonly #pull: Pull.Pull<Chunk, unknown>
  readonly #scope: Scope.Closeable
  readonly #run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  #pulling: Fiber.Fiber<Chunk, unknown> | undefined
  #items: Array<unknown> = []
  #end: Exit.Exit<void, unknown> | undefined

  private constructor(
    pull: Pull.Pull<Chunk, unknown>,
    scope: Scope.Closeable,
    run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  ) {
    this.#pull = pull
    this.#scope = scope
    this.#run = run
  }

  /** Begins the stream in a scope inside `parent`; `run` runs in the actor's services. */
  static readonly open = (
    stream: AnyStream,
    parent: Scope.Scope,
    run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  ): Effect.Effect<ReplyStream> =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(parent)
      const pull = yield* Scope.provide(Stream.toPull(stream), scope)
      return new ReplyStream(pull, scope, run)
    })

  /** Up to `credit` items: at once if there are some, otherwise the first that come within `holdMs`, or none. */
  take(credit: number, holdMs: number): Effect.Effect<Batch> {
    return Effect.suspend(() => {
      if (this.#items.length > 0 || this.#end !== undefined) return Effect.succeed(this.#batch(credit))
      const next = this.#next()
      const now = next.pollUnsafe()
      if (now !== undefined) {
        this.#arrived(now, credit)
        return Effect.succeed(this.#batch(credit))
      }
      return Fiber.await(next).pipe(
        Effect.flatMap((exit) => Effect.sync(() => this.#arrived(exit, credit))),
        Effect.timeoutOrElse({ duration: holdMs, orElse: () => Effect.void }),
        Effect.map(() => this.#batch(credit))
      )
    })
  }

  /** Puts items back that did not fit into a frame. */
  putBack(items: ReadonlyArray<unknown>): void {
    this.#items = [...items, ...this.#items]
  }

  /** From now on it has ended so, for the taker too. Its scope is closed by `close`, or with the actor's. */
  abort(exit: Exit.Exit<void, unknown>): void {
    this.#end ??= exit
    this.#pulling?.interruptUnsafe()
  }

  /** Ends it, and awaits what it releases. */
  close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.abort(Exit.void)
      const pulling = this.#pulling
      const stopped = pulling === undefined ? Effect.void : Fiber.await(pulling)
      return Effect.andThen(stopped, Scope.close(this.#scope, Exit.void))
    })
  }

  #next(): Fiber.Fiber<Chunk, unknown> {
    return (this.#pulling ??= this.#run(this.#pull))
  }

  // Goes on for as long as more is there without waiting, so that what is produced one by one travels together.
  #arrived(first: Exit.Exit<Chunk, unknown>, credit: number): void {
    let exit: Exit.Exit<Chunk, unknown> | undefined = first
    while (exit !== undefined) {
      this.#pulling = undefined
      if (Exit.isFailure(exit)) {
        this.#end ??= Pull.isDoneCause(exit.cause) ? Exit.void : Exit.failCause(exit.cause)
        return
      }
      this.#items.push(...exit.value)
      exit = this.#items.length < credit ? this.#next().pollUnsafe() : undefined
    }
  }

  #batch(credit: number): Batch {
    const items = this.#items.splice(0, credit)
    return this.#items.length === 0 && this.#end !== undefined ? { items, end: this.#end } : { items }
  }
}
