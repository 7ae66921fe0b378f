/** A client that asks for new rooms all through the rollout, as a busy backend would, and closes each a little later. */
import type { ControlClient } from "@ebb/media/protocol"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

export interface Asked {
  asked: number
  failed: number
  /** Rooms that were gone when the client came to close them. */
  cut: number
  slowestMs: number
  readonly problems: Array<string>
}

/** One room each `everyMs`, alive for `lifeMs`. Runs until interrupted; rooms that are open then are closed by `finish`. */
export const askForRooms = Effect.fnUntraced(function* (
  control: ControlClient,
  options: { readonly everyMs: number; readonly lifeMs: number }
) {
  const asked: Asked = { asked: 0, failed: 0, cut: 0, slowestMs: 0, problems: [] }
  const open = new Set<string>()

  const close = (roomId: string) =>
    control.call("room.close", { roomId }).pipe(
      Effect.catch((error) =>
        Effect.sync(() => {
          asked.cut++
          asked.problems.push(`${roomId}: ${error.message}`)
        })
      ),
      Effect.ensuring(Effect.sync(() => open.delete(roomId)))
    )

  const one = Effect.fnUntraced(function* (roomId: string) {
    const began = performance.now()
    const created = yield* Effect.result(control.call("room.create", { roomId }))
    asked.slowestMs = Math.max(asked.slowestMs, performance.now() - began)
    if (created._tag === "Failure") {
      asked.failed++
      asked.problems.push(`${roomId}: ${created.failure.message}`)
      return
    }
    open.add(roomId)
    yield* Effect.sleep(options.lifeMs)
    yield* close(roomId)
  })

  let stopped = false
  const inWork = yield* Effect.forkScoped(
    Effect.gen(function* () {
      const fibers = []
      while (!stopped) {
        fibers.push(yield* Effect.forkChild(one(`short-${++asked.asked}`)))
        yield* Effect.sleep(options.everyMs)
      }
      return fibers
    }).pipe(Effect.flatMap((fibers) => Effect.forEach(fibers, (fiber) => Fiber.await(fiber))))
  )
  return {
    asked,
    /** No more asking; waits until every room it opened is closed. */
    finish: Effect.suspend(() => {
      stopped = true
      return Effect.asVoid(Fiber.await(inWork))
    })
  }
})
